"""Every setting that an operator may change; config/edge-energy.toml explains them to the operator."""

from __future__ import annotations

import os
from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from edge_energy.config import kinds
from edge_energy.config.brokers import Mqtt
from edge_energy.config.checks import conflicts
from edge_energy.config.extras import lacking
from edge_energy.config.forwarding import Cloud, Influxdb, Kafka, Pubsub
from edge_energy.config.network import Http, Shelly
from edge_energy.config.problems import explain, line, where
from edge_energy.config.relays import Budget, Homeassistant, Interlock, Relay, Schedule
from edge_energy.config.sources import DEFAULT_ID, gather
from edge_energy.config.table import Table
from edge_energy.config.tuya import Tuya
from edge_energy.errors import ConfigError


class Appliance(Table):
    """The appliance itself."""

    id: str = Field(DEFAULT_ID, pattern=r"^[A-Za-z0-9._-]{1,64}$", description="1 to 64 letters, digits, . _ -")
    state_dir: kinds.AbsolutePath = kinds.text(Path("/var/lib/edge-energy"), "a path that begins with /")
    runtime_dir: kinds.AbsolutePath = kinds.text(Path("/run/edge-energy"), "a path that begins with /")
    timezone: kinds.Timezone = kinds.text("UTC", "the name of a time zone")
    log_level: Literal["debug", "info", "warning", "error"] = kinds.choice("info", "debug", "warning", "error")


class Journal(Table):
    """The buffer on disk."""

    max_size: kinds.Size = kinds.amount("1GiB", "16MiB", "16TiB")
    keep: kinds.Duration = kinds.span("7d", "0s", "3650d")


class Settings(Table):
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
    relay: tuple[Relay, ...] = kinds.text(
        (), "a list: [[relay]] in the file, EDGE_ENERGY_RELAY__0__DEVICE in the environment"
    )
    interlock: tuple[Interlock, ...] = kinds.text(
        (), "a list: [[interlock]] in the file, EDGE_ENERGY_INTERLOCK__0__RELAYS__0 in the environment"
    )
    budget: tuple[Budget, ...] = kinds.text(
        (), "a list: [[budget]] in the file, EDGE_ENERGY_BUDGET__0__LIMIT in the environment"
    )
    schedule: tuple[Schedule, ...] = kinds.text(
        (), "a list: [[schedule]] in the file, EDGE_ENERGY_SCHEDULE__0__RELAY in the environment"
    )
    homeassistant: Homeassistant | None = kinds.text(None, "a table: [homeassistant]")
    influxdb: Influxdb | None = kinds.text(None, "a table: [influxdb]")
    kafka: Kafka | None = kinds.text(None, "a table: [kafka]")
    pubsub: Pubsub | None = kinds.text(None, "a table: [pubsub]")
    cloud: Cloud = kinds.text(Cloud(), "a table: [cloud]")


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
    wrong = [*conflicts(sources), *lacking(sources)]
    problems += [line(sources.origin(place), place, text) for place, text in wrong]
    if problems or settings is None:
        raise ConfigError(problems)
    return settings
