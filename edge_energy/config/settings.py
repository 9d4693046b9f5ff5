"""Every setting that an operator may change; config/edge-energy.toml explains them to the operator.

The description of a setting is what a problem says that was expected.
"""

from __future__ import annotations

import os
from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from edge_energy.config import kinds, values
from edge_energy.config.checks import conflicts
from edge_energy.config.problems import explain, line, where
from edge_energy.config.sources import DEFAULT_ID, DEFAULT_PATH, config_path, gather
from edge_energy.errors import ConfigError

__all__ = ["DEFAULT_PATH", "Settings", "config_path", "load"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _pem_file(value: Path | None, info: ValidationInfo) -> Path | None:
    """Check a file of keys or certificates; a key_file comes after its cert_file."""
    if info.field_name == "key_file" and "cert_file" in info.data:
        certificate = info.data["cert_file"]
        if (certificate is None) != (value is None):
            raise ValueError("expected cert_file and key_file together")
    if value is None:
        return value
    try:
        value.open("rb").close()
    except OSError as error:
        raise ValueError(f"expected a file that the daemon can read ({error.strerror})") from None
    return value


class Appliance(_Table):
    """The appliance itself."""

    id: str = Field(DEFAULT_ID, pattern=r"^[A-Za-z0-9._-]{1,64}$", description="1 to 64 letters, digits, . _ -")
    state_dir: kinds.AbsolutePath = kinds.text(Path("/var/lib/edge-energy"), "a path that begins with /")
    runtime_dir: kinds.AbsolutePath = kinds.text(Path("/run/edge-energy"), "a path that begins with /")
    timezone: kinds.Timezone = kinds.text("UTC", "the name of a time zone")
    log_level: Literal["debug", "info", "warning", "error"] = kinds.choice("info", "debug", "warning", "error")


class Journal(_Table):
    """The buffer on disk."""

    max_size: kinds.Size = kinds.amount("1GiB", "16MiB", "16TiB")
    keep: kinds.Duration = kinds.span("7d", "0s", "3650d")


class Sensor(_Table):
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


class Mqtt(_Table):
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
        return _pem_file(value, info)


class Sender(_Table):
    """A device that sends to /webhook."""

    device: kinds.DeviceId = kinds.text(..., "1 to 64 letters, digits and . _ : -")
    address: kinds.Address | None = kinds.text(None, "an IP address")
    energy_unit: kinds.EnergyUnit = kinds.choice("Wh", "kWh", "mWh", "Wmin")
    energy_kind: Literal["counter", "increment"] = kinds.choice("counter", "increment")


class Http(_Table):
    """The local HTTP server."""

    host: kinds.Host = kinds.text("0.0.0.0", "a host name or address to listen on")
    port: kinds.Number = kinds.number(8000, 1, 65535)
    cert_file: kinds.AbsolutePath | None = kinds.pem()
    key_file: kinds.AbsolutePath | None = kinds.pem(validate_default=True)
    allowed_hosts: tuple[kinds.Host, ...] = kinds.text((), 'a list of host names, like ["pi.example.org"]')
    max_body: kinds.Size = kinds.amount("64KiB", "1KiB", "1MiB")
    rate_limit: kinds.Number = kinds.number(1000, 1, 100_000)
    timeout: kinds.Duration = kinds.span("10s", "1s", "5m")
    webhook_auth: bool = kinds.switch(default=False)
    devices: tuple[Sender, ...] = kinds.text(
        (), "a list: [[http.devices]] in the file, EDGE_ENERGY_HTTP__DEVICES__0__DEVICE in the environment"
    )

    @field_validator("cert_file", "key_file")
    @classmethod
    def _tls_file(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        return _pem_file(value, info)

    @field_validator("devices")
    @classmethod
    def _one_block_each(cls, value: tuple[Sender, ...]) -> tuple[Sender, ...]:
        addresses = [sender.address for sender in value if sender.address is not None]
        if len({sender.device for sender in value}) < len(value) or len(set(addresses)) < len(addresses):
            raise ValueError("expected every device and every address once")
        return value


class Shelly(_Table):
    """A Shelly device that is read over the network."""

    host: kinds.Host = kinds.text(..., "a host name or address, without http://")
    port: kinds.Number = kinds.number(80, 1, 65535)
    username: kinds.Text = Field("admin", pattern="^[^:]*$", description="a text without line breaks and :")
    password: SecretStr | None = kinds.text(None, "a text in quotes")
    poll: kinds.Duration = kinds.span("60s", "5s", "1h")


class TuyaCode(_Table):
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


class Tuya(_Table):
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


class Influxdb(_Table):
    """The InfluxDB 2 server that gets every reading."""

    url: kinds.Url = kinds.text(
        "http://127.0.0.1:8086", 'an address like "http://127.0.0.1:8086", without user name, ? and #'
    )
    org: kinds.Text = kinds.text("home")
    bucket: kinds.Text = kinds.text("energy")
    token: SecretStr = kinds.text(..., "the API token, printable characters without spaces")
    gzip: bool | None = kinds.switch(default=None)
    batch_size: kinds.Number = kinds.number(1000, 1, 50000)
    batch_age: kinds.Duration = kinds.span("250ms", "0s", "1h")
    timeout: kinds.Duration = kinds.span("10s", "100ms", "5m")

    @field_validator("token")
    @classmethod
    def _header(cls, value: SecretStr) -> SecretStr:
        # It becomes part of an HTTP header.
        if not value.get_secret_value() or not all("!" <= c <= "~" for c in value.get_secret_value()):
            raise ValueError
        return value

    @property
    def use_gzip(self) -> bool:
        """Whether to compress: it costs time, and saves nothing on the way to the same machine."""
        return not values.loopback(urlsplit(self.url).hostname or "") if self.gzip is None else self.gzip


class Settings(_Table):
    """All settings."""

    appliance: Appliance = kinds.text(Appliance(), "a table: [appliance]")
    journal: Journal = kinds.text(Journal(), "a table: [journal]")
    mqtt: tuple[Mqtt, ...] = kinds.text(
        (), "a list: [[mqtt]] in the file, EDGE_ENERGY_MQTT__0__HOST in the environment"
    )
    http: Http | None = kinds.text(None, "a table: [http]")
    shelly: tuple[Shelly, ...] = kinds.text(
        (), "a list: [[shelly]] in the file, EDGE_ENERGY_SHELLY__0__HOST in the environment"
    )
    tuya: tuple[Tuya, ...] = kinds.text(
        (), "a list: [[tuya]] in the file, EDGE_ENERGY_TUYA__0__PRODUCT in the environment"
    )
    influxdb: Influxdb | None = kinds.text(None, "a table: [influxdb]")


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read all sources of settings. Raises `ConfigError` with every problem there is."""
    sources = gather(Settings, path, environ)
    problems = list(sources.problems)
    settings = None
    try:
        settings = Settings.model_validate(sources.tree)
    except ValidationError as error:
        problems += [
            explain(Settings, e, sources.origin(where(e)), sources.get(where(e)))
            for e in error.errors(include_url=False, include_input=False)
        ]
    problems += [line(sources.origin(place), place, text) for place, text in conflicts(sources)]
    if problems or settings is None:
        raise ConfigError(problems)
    return settings
