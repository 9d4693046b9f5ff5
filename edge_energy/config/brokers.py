"""The tables of MQTT brokers, and of the sensors that publish to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path  # noqa: TC003 - pydantic reads the annotations
from typing import Literal

from pydantic import SecretStr, ValidationInfo, field_validator

from edge_energy.config import kinds, values
from edge_energy.config.sources import DEFAULT_ID
from edge_energy.config.table import Table, pem_file


class Sensor(Table):
    """Devices that publish plain JSON."""

    topic: kinds.TopicFilter = kinds.text(..., "an MQTT topic, or a filter with + or #")
    device: str = kinds.text(..., "the id of the device, with {1}, {2}… for the + in the topic")
    keys: Mapping[kinds.Text, kinds.Quantity] = kinds.text(
        {}, 'a table like { "outdoor.temp" = "temperature" }, with letters, digits and _ on the right'
    )
    time: kinds.Text | None = kinds.text(None, "the payload key that has the time of the reading")
    energy_unit: kinds.EnergyUnit = kinds.choice("Wh", "kWh", "mWh", "Wmin")
    energy_kind: Literal["counter", "increment"] = kinds.choice("counter", "increment")
    qos: kinds.Number = kinds.number(1, 0, 1)

    @field_validator("device")
    @classmethod
    def _device(cls, value: str, info: ValidationInfo) -> str:
        # With a topic that is wrong itself, nobody knows how many + were meant.
        return values.device_template(value, info.data["topic"]) if "topic" in info.data else value

    @field_validator("keys")
    @classmethod
    def _one_key_each(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        if len(set(value.values())) < len(value):
            raise ValueError("expected every quantity once")
        return value


class Mqtt(Table):
    """A broker, and what to read from it."""

    host: kinds.Host = kinds.text("127.0.0.1", "a host name or address, without mqtt:// and port")
    port: kinds.Number = kinds.number(1883, 1, 65535)
    client_id: kinds.Text = kinds.text(f"edge-energy-{DEFAULT_ID}")
    username: kinds.Text | None = kinds.text(None)
    password: SecretStr | None = kinds.text(None, "a text in quotes")
    protocol: Literal["auto", "5", "3.1.1"] = kinds.choice("auto", "5", "3.1.1")
    tls: bool = kinds.switch(default=False)
    ca_file: kinds.AbsolutePath | None = kinds.pem()
    cert_file: kinds.AbsolutePath | None = kinds.pem()
    key_file: kinds.AbsolutePath | None = kinds.pem(validate_default=True)
    commit_interval: kinds.Duration = kinds.span("5s", "0s", "60s")
    keepalive: kinds.Duration = kinds.span("30s", "5s", "1h")
    session_expiry: kinds.Duration = kinds.span("7d", "1s", "3650d")
    receive_maximum: kinds.Number = kinds.number(4096, 1, 65535)
    zigbee2mqtt: str = kinds.text("zigbee2mqtt", 'a topic without + and # and without / at its ends, or "" for none')
    zigbee2mqtt_qos: kinds.Number = kinds.number(1, 0, 1)
    shelly: tuple[kinds.TopicPrefix, ...] = kinds.text(
        ("+",), 'a list of topic prefixes, like ["+", "house/+"]; [] for none'
    )
    relays: bool = kinds.switch(default=True)
    sensors: tuple[Sensor, ...] = kinds.text(
        (), "a list: [[mqtt.sensors]] in the file, EDGE_ENERGY_MQTT__0__SENSORS__0__TOPIC in the environment"
    )

    @field_validator("zigbee2mqtt", mode="before")
    @classmethod
    def _no_zigbee2mqtt(cls, value: object) -> object:
        return "" if value in (False, "false") else value

    @field_validator("zigbee2mqtt")
    @classmethod
    def _base_topic(cls, value: str) -> str:
        return value and values.topic(value)

    @field_validator("password")
    @classmethod
    def _user(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None and info.data.get("username", "") is None:
            raise ValueError("expected a username with it")
        return value

    @field_validator("ca_file", "cert_file", "key_file")
    @classmethod
    def _tls_file(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and not info.data.get("tls", True):
            raise ValueError("expected only with tls = true; without it nothing is encrypted")
        return pem_file(value, info)
