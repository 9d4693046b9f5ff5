"""The tables of what to record of Tuya devices."""

from __future__ import annotations

from typing import Literal

from pydantic import ValidationInfo, field_validator

from edge_energy.config import kinds
from edge_energy.config.table import Table


class TuyaCode(Table):
    """A property of a Tuya device that is recorded."""

    code: kinds.Text = kinds.text(...)
    quantity: kinds.Quantity = kinds.text(..., "the name of a quantity: letters, digits and _")
    scale: kinds.Number = kinds.number(0, 0, 9)
    unit: Literal["", "kW", "mW", "kV", "mV", "mA", "kWh", "MWh", "mWh", "°F"] = kinds.choice(
        "", "kW", "mW", "kV", "mV", "mA", "kWh", "MWh", "mWh", "°F"
    )
    increment: bool = kinds.switch(default=False)

    @field_validator("increment")
    @classmethod
    def _summed(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - a value
        if value and info.data.get("quantity", "energy") not in ("energy", "energy_returned"):
            raise ValueError("expected only with quantity = energy or energy_returned: nothing else is summed")
        return value


class Tuya(Table):
    """What to record of one product, or of one device, beyond its power and temperature."""

    product: kinds.Text | None = kinds.text(None)
    device: kinds.Text | None = kinds.text(None, validate_default=True)
    codes: tuple[TuyaCode, ...] = kinds.text(
        (), "a list: [[tuya.codes]] in the file, EDGE_ENERGY_TUYA__0__CODES__0__CODE in the environment"
    )

    @field_validator("device")
    @classmethod
    def _one_of_two(cls, value: str | None, info: ValidationInfo) -> str | None:
        if "product" in info.data and (value is None) == (info.data["product"] is None):
            raise ValueError("expected either product or device")
        return value

    @field_validator("codes")
    @classmethod
    def _one_line_each(cls, value: tuple[TuyaCode, ...]) -> tuple[TuyaCode, ...]:
        if len({each.code for each in value}) < len(value):
            raise ValueError("expected every code once")
        return value
