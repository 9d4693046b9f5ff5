"""The tables of relays: what each may do, which may not be on together, and what is switched without being asked."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import ValidationInfo, field_validator, model_validator

from edge_energy.config import kinds
from edge_energy.config.table import Table

SHORTEST_LEASE = 2.0  # seconds: it is renewed several times within it
_LIKE = 'like ["shelly-ec62608ab9a4", "shelly-ec62608ab9a4_1"], each once'


class Relay(Table):
    """A relay that may be switched, and what keeps it safe."""

    device: kinds.DeviceId = kinds.text(..., "the id of a device as `edge-energy devices` shows it")
    channel: kinds.Channel = kinds.text("", 'the name of an output, like "1" or "l2"; "" for the only or first one')
    safe_state: Literal["off", "on", "leave"] = kinds.text(
        ..., 'the state without us: "off" or "on", or "leave" to leave it as it is'
    )
    lease: kinds.Duration = kinds.text(
        120.0, 'a duration from 2s to 1h, like "2m", or 0s for none', ge=0, le=3600, validate_default=True
    )
    timer: bool = kinds.switch(default=False)
    power: kinds.Real | None = kinds.watts()
    always_draws: bool = kinds.switch(default=False)
    min_on: kinds.Duration = kinds.span("0s", "0s", "1d")
    min_off: kinds.Duration = kinds.span("0s", "0s", "1d")
    max_on: kinds.Duration | None = kinds.no_span("12h", "1s", "365d")
    max_power: kinds.Real | None = kinds.watts()
    max_power_delay: kinds.Duration = kinds.span("0s", "0s", "1h")
    meter: kinds.Text | None = kinds.text(None, "the id of a device as `edge-energy devices` shows it")
    meter_timeout: kinds.Duration | None = kinds.no_span("5m", "1s", "7d")
    temperature: kinds.Text | None = kinds.text(None, "the id of a device as `edge-energy devices` shows it")
    max_temperature: kinds.Real | None = kinds.real(None, -50, 500, "°C")
    frost: kinds.Real | None = kinds.real(None, -50, 500, "°C")
    temperature_timeout: kinds.Duration = kinds.span("1h", "10s", "7d")

    @property
    def id(self) -> str:
        """Its name in the configuration, in topics and in commands: the device, and its channel if it has one."""
        return f"{self.device}_{self.channel}" if self.channel else self.device

    @property
    def output(self) -> str:
        """The name of its state in the device's readings."""
        return f"output_{self.channel}" if self.channel else "output"

    @property
    def metered_by(self) -> str:
        """The device whose readings say what the load draws."""
        return self.meter or self.device

    @property
    def power_name(self) -> str:
        """The name of the load's power in the readings of that device."""
        return f"power_{self.channel}" if self.channel and self.meter is None else "power"

    @field_validator("lease")
    @classmethod
    def _long_enough(cls, value: float, info: ValidationInfo) -> float:
        if 0 < value < SHORTEST_LEASE:
            raise ValueError
        # Where no state is safer there is nothing to go back to; checks.py refuses a lease that is written there.
        return value if info.data.get("safe_state") != "leave" else 0.0

    @field_validator("timer")
    @classmethod
    def _zigbee_only(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - a value
        if value and not info.data.get("device", "zigbee-").startswith("zigbee-"):
            raise ValueError("expected only with a Zigbee device: of others it is known")
        return value

    @field_validator("max_on")
    @classmethod
    def _not_below_min_on(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and value < info.data.get("min_on", 0):
            raise ValueError("expected at least min_on")
        return value

    @field_validator("max_power")
    @classmethod
    def _not_below_power(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and value < (info.data.get("power") or 0):
            raise ValueError("expected at least power: what it draws when all is well")
        return value

    @field_validator("max_temperature", "frost")
    @classmethod
    def _thermometer(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is None:
            return value
        if info.data.get("temperature", "") is None:
            raise ValueError("expected temperature with it: the device whose temperature counts")
        hottest = info.data.get("max_temperature")
        if info.field_name == "frost" and hottest is not None and value >= hottest:
            raise ValueError("expected less than max_temperature")
        return value


def _each_once(value: tuple[str, ...], least: int) -> tuple[str, ...]:
    if len(value) < least or len(set(value)) < len(value):
        raise ValueError
    return value


class Interlock(Table):
    """Relays of which never two are on at once."""

    relays: tuple[kinds.Text, ...] = kinds.text(..., f"a list of two or more relays, {_LIKE}")

    @field_validator("relays")
    @classmethod
    def _two(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _each_once(value, 2)


class Budget(Table):
    """Relays that share what the house may draw."""

    limit: kinds.Real = kinds.watts(...)
    meter: kinds.Text | None = kinds.text(None, "the id of a device as `edge-energy devices` shows it")
    relays: tuple[kinds.Text, ...] = kinds.text(..., f"a list of relays, {_LIKE}, highest priority first")
    delay: kinds.Duration = kinds.span("5s", "0s", "1h")
    margin: kinds.Real = kinds.watts(200.0, 0)
    restore_after: kinds.Duration = kinds.span("2m", "1s", "1d")
    meter_timeout: kinds.Duration = kinds.span("1m", "1s", "1d")

    @field_validator("relays")
    @classmethod
    def _one(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _each_once(value, 1)


class Schedule(Table):
    """When a relay is on by itself: at times of the day, or while the house exports power."""

    relay: kinds.Text = kinds.text(..., "a relay that a [[relay]] block describes")
    start: kinds.TimeOfDay | None = kinds.text(None, 'a local time from "00:00" to "23:59"')
    end: kinds.TimeOfDay | None = kinds.text(None, 'a local time from "00:00" to "23:59"')
    days: tuple[kinds.Weekday, ...] = kinds.text(
        tuple(range(7)), 'a list of "mon", "tue", "wed", "thu", "fri", "sat", "sun", each once'
    )
    surplus: kinds.Real | None = kinds.watts()
    meter: kinds.Text | None = kinds.text(None, "the id of a device as `edge-energy devices` shows it")
    margin: kinds.Real = kinds.watts(300.0, 0)
    delay: kinds.Duration = kinds.span("2m", "0s", "1d")

    @field_validator("days")
    @classmethod
    def _each_day_once(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError
        return tuple(sorted(value))

    @model_validator(mode="after")
    def _either_or(self) -> Self:
        if (self.start is None) == (self.surplus is None) or (self.start is None) != (self.end is None):
            raise ValueError("expected either start and end, or surplus and meter")
        if (self.surplus is None) != (self.meter is None):
            raise ValueError("expected surplus and meter together: the device whose power is negative at export")
        if self.start is not None and self.start == self.end:
            raise ValueError("expected an end that is not the start; nothing is switched on for ever by a schedule")
        useless = {"days"} if self.start is None else {"margin", "delay"}
        if found := sorted(useless & self.model_fields_set):
            raise ValueError(
                f"expected no {found[0]}: it belongs to {'start and end' if self.surplus else 'surplus'}"
            )
        return self


class Homeassistant(Table):
    """What Home Assistant is told of devices and relays, by every broker."""

    discovery: bool = kinds.switch(default=True)
    prefix: kinds.Topic = kinds.text("homeassistant", "a topic without + and # and without / at its ends")
