"""The tables of the HTTP server, of who sends to it, and of Shelly devices that are asked over the network."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads the annotations
from typing import Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from edge_energy.config import kinds
from edge_energy.config.table import Table, pem_file


class Sender(Table):
    """A device that sends to /webhook."""

    device: kinds.DeviceId = kinds.text(..., "1 to 64 letters, digits and . _ : -")
    address: kinds.Address | None = kinds.text(None, "an IP address")
    energy_unit: kinds.EnergyUnit = kinds.choice("Wh", "kWh", "mWh", "Wmin")
    energy_kind: Literal["counter", "increment"] = kinds.choice("counter", "increment")


class Http(Table):
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
        return pem_file(value, info)

    @field_validator("devices")
    @classmethod
    def _one_block_each(cls, value: tuple[Sender, ...]) -> tuple[Sender, ...]:
        addresses = [sender.address for sender in value if sender.address is not None]
        if len({sender.device for sender in value}) < len(value) or len(set(addresses)) < len(addresses):
            raise ValueError("expected every device and every address once")
        return value


class Shelly(Table):
    """A Shelly device that is read over the network."""

    host: kinds.Host = kinds.text(..., "a host name or address, without http://")
    port: kinds.Number = kinds.number(80, 1, 65535)
    username: kinds.Text = Field("admin", pattern="^[^:]*$", description="a text without line breaks and :")
    password: SecretStr | None = kinds.text(None, "a text in quotes")
    poll: kinds.Duration = kinds.span("60s", "5s", "1h")
