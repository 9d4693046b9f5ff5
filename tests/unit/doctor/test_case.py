"""Where the doctor has the daemon's secrets from, and what it does where it may not read them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_energy.doctor.case import UNKNOWN, open_case
from tests.unit.doctor.tree import as_nobody, machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_energy.doctor.case import Case

FILE, STORE = "/etc/edge-energy/edge-energy.toml", "/etc/credstore/edge-energy."
TABLES = '[[mqtt]]\nusername = "edge-energy"\n[influxdb]\n[kafka]\nbrokers = "k:9092"\nusername = "edge"\n'
SECRETS = {"mqtt.password": "of-mqtt", "influxdb.token": "of-influxdb", "kafka.password": "of-kafka"}


@pytest.fixture
def root() -> Iterator[Path]:
    """Give a directory that everybody may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="doctor-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def opened(root: Path, text: str = TABLES, secrets: dict[str, str] = SECRETS) -> Case:
    stored = {f"{STORE}{name}": f"{secret}\n" for name, secret in secrets.items()}
    here = machine(root, {FILE: text, "/etc/credstore/other.secret": "not ours"} | stored)
    return open_case(here, here.path(FILE), root / "no.sock")


def values(case: Case) -> list[str | None]:
    settings = case.settings
    assert settings is not None, case.problems
    assert settings.influxdb is not None
    assert settings.kafka is not None
    found = (settings.mqtt[0].password, settings.influxdb.token, settings.kafka.password)
    return [secret.get_secret_value() if secret else None for secret in found]


def test_root_reads_what_the_unit_loads(root: Path) -> None:
    """The same names, the same meaning as in systemd's directory of credentials."""
    case = opened(root)
    assert values(case) == list(SECRETS.values())
    assert case.secrets


def test_a_mistake_in_a_secret_is_told_of_the_file_that_people_know(root: Path) -> None:
    case = opened(root, secrets=SECRETS | {"influxdb.token": "two words"})
    assert case.settings is None
    known = f"{root}{STORE}influxdb.token: influxdb.token: expected"
    assert any(problem.startswith(known) for problem in case.problems)
    assert "two words" not in "".join(case.problems)


def test_without_rights_the_settings_are_known_and_the_secrets_are_not(root: Path) -> None:
    opened(root)
    here = machine(root)
    here.path("/etc/credstore").chmod(0)
    try:
        with as_nobody():
            case = open_case(here, here.path(FILE), root / "no.sock")
    finally:
        here.path("/etc/credstore").chmod(0o700)
    assert not case.secrets
    assert values(case) == [None, UNKNOWN, UNKNOWN]


def test_a_configuration_that_may_not_be_read(root: Path) -> None:
    opened(root)
    here = machine(root)
    here.path(FILE).chmod(0)
    with as_nobody():
        case = open_case(here, here.path(FILE), root / "no.sock")
    assert case.settings is None
    assert case.forbidden


def test_another_configuration_has_secrets_of_its_own(root: Path) -> None:
    """Those of the appliance belong to its own file only."""
    opened(root)
    other = root / "other.toml"
    other.write_text('[[mqtt]]\nusername = "edge"\npassword = "of-its-own"\n')
    case = open_case(machine(root), other, root / "no.sock")
    assert case.settings is not None
    password = case.settings.mqtt[0].password
    assert password is not None
    assert password.get_secret_value() == "of-its-own"
    assert "No daemon listens" in case.silence
