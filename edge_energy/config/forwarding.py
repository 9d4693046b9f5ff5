"""The tables of the far sides that get entries, and of the commands that come back."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - pydantic reads the annotations
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from edge_energy.config import kinds, values
from edge_energy.config.sources import DEFAULT_ID
from edge_energy.config.table import Table, pem_file
from edge_energy.interfaces import APPLIANCE, COMMAND, INCIDENT, READING

SEND_COMMAND = "send_command"
_SETTINGS = {READING: "readings_topic", COMMAND: "commands_topic", INCIDENT: "incidents_topic"}
"""The settings that name the topics of kinds of entries; those of all others go where those of the appliance go."""
_ORDER = "live_first"
_TOPIC = r"^[A-Za-z0-9._-]{1,249}$"
_TOPIC_WORDS = "1 to 249 letters, digits, . _ -"
_RESOURCE = r"^[A-Za-z][A-Za-z0-9._~%+-]{2,254}$"
_RESOURCE_WORDS = "3 to 255 letters, digits, - . _ ~ % +, beginning with a letter"
_MOST_PER_SECOND = 1_000_000.0


class Forwarding(Table):
    """What every far side has: in which order it gets entries, and how fast it gets those of an outage."""

    order: Literal["live_first", "strict"] = kinds.choice(_ORDER, "strict")
    replay_rate: kinds.Real = kinds.real(0.0, 0, _MOST_PER_SECOND, "entries a second")


class Influxdb(Forwarding):
    """The InfluxDB 2 server that gets every reading, in its order unless something else is set.

    InfluxDB 2.7 returns points twice, until it has compacted its files, where older ones came after newer ones.
    """

    order: Literal["strict", "live_first"] = kinds.choice("strict", _ORDER)
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


class Topics(Forwarding):
    """A far side with a topic for each kind of entry, and one by which commands come; each says what names may be."""

    readings_topic: str = "shelly_data"
    commands_topic: str = "commands"
    incidents_topic: str = "incidents"
    appliance_topic: str = "appliance"
    send_command_topic: str = SEND_COMMAND

    def topic(self, kind: str) -> str:
        """Return where entries of a kind go."""
        name: str = getattr(self, _SETTINGS.get(kind, "appliance_topic"))
        return name

    def topics(self, *, commands: bool = False) -> list[str]:
        """Return where entries go, each topic once, and where commands come from if they are wanted."""
        found = [self.topic(kind) for kind in (READING, COMMAND, INCIDENT, APPLIANCE)]
        return list(dict.fromkeys([*found, self.send_command_topic] if commands else found))

    def topic_setting(self, topic: str | None) -> str:
        """Return the name of the setting that names a topic."""
        names = (*_SETTINGS.values(), "appliance_topic", "send_command_topic")
        return next((name for name in names if getattr(self, name) == topic), "readings_topic")


class Kafka(Topics):
    """The Kafka cluster that gets every entry."""

    brokers: kinds.Brokers = kinds.text(..., 'host names with ports, like "kafka1:9092, kafka2:9092"')
    readings_topic: str = Field("shelly_data", pattern=_TOPIC, description=_TOPIC_WORDS)
    commands_topic: str = Field("commands", pattern=_TOPIC, description=_TOPIC_WORDS)
    incidents_topic: str = Field("incidents", pattern=_TOPIC, description=_TOPIC_WORDS)
    appliance_topic: str = Field("appliance", pattern=_TOPIC, description=_TOPIC_WORDS)
    send_command_topic: str = Field(SEND_COMMAND, pattern=_TOPIC, description=_TOPIC_WORDS)
    group: kinds.Text = kinds.text(f"edge-energy-{DEFAULT_ID}")
    tls: bool = kinds.switch(default=False)
    ca_file: kinds.AbsolutePath | None = kinds.pem()
    cert_file: kinds.AbsolutePath | None = kinds.pem()
    key_file: kinds.AbsolutePath | None = kinds.pem(validate_default=True)
    mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = kinds.choice(
        "SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"
    )
    username: kinds.Text | None = kinds.text(None)
    password: SecretStr | None = kinds.text(None, "a text in quotes, if there is a username", validate_default=True)
    compression: Literal["zstd", "lz4", "gzip", "snappy", "none"] = kinds.choice(
        "zstd", "lz4", "gzip", "snappy", "none"
    )
    batch_size: kinds.Number = kinds.number(2000, 1, 50000)
    batch_age: kinds.Duration = kinds.span("1s", "0s", "1h")
    timeout: kinds.Duration = kinds.span("30s", "1s", "5m")
    replay_rate: kinds.Real = kinds.real(7.0, 0, _MOST_PER_SECOND, "entries a second")

    @field_validator("ca_file", "cert_file", "key_file")
    @classmethod
    def _tls_file(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        return pem_file(value, info)

    @field_validator("password")
    @classmethod
    def _both(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if "username" in info.data and (info.data["username"] is None) != (value is None):
            raise ValueError("expected username and password together")
        return value


class Pubsub(Topics):
    """The Google Cloud project whose Pub/Sub topics get every entry."""

    project: str = Field(
        ..., pattern=r"^[a-z][a-z0-9.:-]{4,98}[a-z0-9]$", description="the id of a Google Cloud project"
    )
    readings_topic: str = Field("shelly_data", pattern=_RESOURCE, description=_RESOURCE_WORDS)
    commands_topic: str = Field("commands", pattern=_RESOURCE, description=_RESOURCE_WORDS)
    incidents_topic: str = Field("incidents", pattern=_RESOURCE, description=_RESOURCE_WORDS)
    appliance_topic: str = Field("appliance", pattern=_RESOURCE, description=_RESOURCE_WORDS)
    send_command_topic: str = Field(SEND_COMMAND, pattern=_RESOURCE, description=_RESOURCE_WORDS)
    send_command_subscription: str = Field(
        f"{SEND_COMMAND}-{DEFAULT_ID}", pattern=_RESOURCE, description=_RESOURCE_WORDS
    )
    credentials_file: kinds.AbsolutePath | None = kinds.text(None, "the path of a service account's JSON key")
    credentials: SecretStr | None = kinds.text(None, "the JSON key of a service account")
    batch_size: kinds.Number = kinds.number(500, 1, 1000)
    batch_age: kinds.Duration = kinds.span("1s", "0s", "1h")
    timeout: kinds.Duration = kinds.span("30s", "1s", "5m")
    replay_rate: kinds.Real = kinds.real(7.0, 0, _MOST_PER_SECOND, "entries a second")

    @field_validator("credentials_file")
    @classmethod
    def _key_file(cls, value: Path | None) -> Path | None:
        if value is not None:
            try:
                _service_account(value.read_text("utf-8"))
            except OSError as error:
                raise ValueError(f"expected a file that the daemon can read ({error.strerror})") from None
        return value

    @field_validator("credentials")
    @classmethod
    def _key(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None:
            _service_account(value.get_secret_value())
            if info.data.get("credentials_file") is not None:
                raise ValueError("expected credentials or credentials_file, not both")
        return value

    def service_account(self) -> dict[str, Any] | None:
        """Return the key that is set here, or in a file that is; it is secret. Raises OSError and ValueError."""
        if self.credentials_file is not None:
            return _service_account(self.credentials_file.read_text("utf-8"))
        return None if self.credentials is None else _service_account(self.credentials.get_secret_value())


def _service_account(text: str) -> dict[str, Any]:
    """Return the key in a JSON text. Raises a ValueError that says nothing, as anything it said might be secret."""
    try:
        key = json.loads(text)
    except ValueError:
        key = None
    if not isinstance(key, dict) or key.get("type") != "service_account":
        raise ValueError
    return key


class Cloud(Table):
    """What the cloud may do here, and what we ask of it."""

    allow_commands: bool = kinds.switch(default=False)
    publish_commands: bool = kinds.switch(default=False)
