"""A support bundle has what helps and no secret, wherever secrets stand on the machine."""

from __future__ import annotations

import json
import os
import stat
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from edge_energy import client
from edge_energy.upkeep import bundle, evidence
from edge_energy.upkeep.errors import NotDone
from edge_energy.upkeep.scrub import Scrubber
from tests.unit.upkeep.appliance import furnish, make_places

if TYPE_CHECKING:
    from pathlib import Path

    from edge_energy.upkeep.places import Places

SECRETS = {
    "in a comment": "Kommentar-9b1f",
    "in the configuration": "Brücke-77aa!",
    "unknown setting": "Unbekannt-3f2d",
    "in a URL": "Adresse-52c0",
    "in the environment": "Umgebung-8a01",
    "under an old name": "AlterName-11ff",
    "credential of systemd": "Beglaubigung-c3d4",
    "credential of the unit": "Einheit-e5f6",
    "generated": "Erzeugt-0a0b",
    "of the HTTP server": "ee_0123abcd_" + "A1b2C3d4E5" * 4 + "xyz",
    "of the cloud": "Wolke-4b4b4b4b",
    "key": "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
}
CONFIG = """
# my password is {in a comment}
[appliance]
id = "house-7"
state_dir = "STATE"
[[mqtt]]
host = "127.0.0.1"
username = "edge"
password = "{in the configuration}"
[influxdb]
url = "http://127.0.0.1:8086"
org = "home"
bucket = "energy"
[pubsub]
project = "my-project-1"
credentials = '{{"type": "service_account", "private_key": "{of the cloud}"}}'
"""
LOG = """
2026-11-21 connected to mqtt://edge:{in the configuration}@127.0.0.1 after {credential of the unit}
2026-11-21 {of the cloud}
2026-11-21 {{"event": "refused", "reason": "token {of the HTTP server} is unknown", "password": "{generated}"}}
2026-11-21 GET /webhook?token={of the HTTP server}&power=5 {in a URL} {under an old name} {in the environment}
-----BEGIN PRIVATE KEY-----
{key}
-----END PRIVATE KEY-----
"""


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """Put a secret wherever one can be, and let every program tell all of them."""
    places = furnish(make_places(tmp_path))
    places.config.write_text(CONFIG.format(**SECRETS).replace("STATE", str(places.state)))
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "influxdb.token").write_text(f"{SECRETS['credential of systemd']}\n")
    (places.credstore / "edge-energy.kafka.password").write_text(SECRETS["credential of the unit"])
    (places.etc / "secrets" / "grafana.password").write_text(SECRETS["generated"])
    (places.etc / "tls" / "server.key").write_text(f"-----BEGIN PRIVATE KEY-----\n{SECRETS['key']}\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    monkeypatch.setenv("GRAFANA_PASSWORD", SECRETS["in the environment"])
    monkeypatch.setenv("MQTT_URL", f"mqtt://edge:{SECRETS['in a URL']}@127.0.0.1")
    monkeypatch.setenv("SOME_OLD_TOKEN", SECRETS["under an old name"])
    said = LOG.format(**SECRETS)
    monkeypatch.setattr(evidence, "_output", lambda *command: f"{' '.join(command)}\n{said}")
    answer = {"values": {"power": 5.4321}, "device": "shelly-ec62608ab9a4", "last_error": said, said[:80]: [said]}
    monkeypatch.setattr(client, "ask", lambda *_: {**answer, "inner": [answer]})
    return places


def read(file: Path) -> dict[str, str]:
    with tarfile.open(file) as packed:
        return {info.name: packed.extractfile(info).read().decode() for info in packed}  # type: ignore[union-attr]


@pytest.mark.parametrize("valid", [True, False])
def test_no_secret_is_in_it(where: Places, tmp_path: Path, *, valid: bool) -> None:
    """Neither with a configuration that is valid, nor with one that is not."""
    if not valid:
        with where.config.open("a") as config:
            config.write(
                f'passwort = "{SECRETS["unknown setting"]}"\n[mqtt2]\ntoken = "{SECRETS["unknown setting"]}"\n'
            )
    target = tmp_path / "support.tar.gz"
    names = bundle.make(where, tmp_path / "socket", target, readings=True)
    found = read(target)
    assert set(found) == {f"edge-energy-support/{name}" for name in names}
    everything = "".join(found.values())
    assert not [where for where, secret in SECRETS.items() if secret in everything]
    assert "Kommentar" not in everything
    configuration = json.loads(found["edge-energy-support/configuration.json"])
    if valid:
        assert configuration["settings"]["mqtt"][0]["username"] == "edge"
        assert configuration["settings"]["mqtt"][0]["password"] == "***"
    else:
        assert "no such" in configuration["problems"][0]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_readings_are_in_it_only_if_asked_for(where: Places, tmp_path: Path) -> None:
    """Ids and names always are."""
    target = tmp_path / "support.tar.gz"
    names = bundle.make(where, tmp_path / "socket", target)
    assert "readings.json" not in names
    everything = "".join(read(target).values())
    assert "shelly-ec62608ab9a4" in everything
    assert "5.4321" not in everything
    assert "readings.json" in bundle.make(where, tmp_path / "socket", target, readings=True)
    assert '"power": 5.4321' in read(target)["edge-energy-support/readings.json"]


def test_what_cannot_be_had_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No daemon, no systemd, no configuration: there is a bundle all the same."""
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    places = make_places(tmp_path / "one")
    places.config.write_text("not [ TOML")
    target = tmp_path / "support.tar.gz"
    bundle.make(places, tmp_path / "socket", target)
    found: dict[str, Any] = read(target)
    assert "not valid TOML" in found["edge-energy-support/configuration.json"]
    assert "No daemon listens" in found["edge-energy-support/status.json"]
    assert "journalctl" in found["edge-energy-support/log.txt"]
    with pytest.raises(NotDone, match="cannot be written"):
        bundle.make(places, tmp_path / "socket", tmp_path / "absent" / "support.tar.gz")


def test_the_key_of_the_zigbee_network_is_a_secret(where: Places) -> None:
    """However a program prints it; the other lines of the files are none."""
    key = bytes(range(101, 117))
    zigbee = where.zigbee2mqtt[0]
    (zigbee / "coordinator_backup.json").write_text(
        json.dumps({"network_key": {"key": key.hex(), "sequence_number": 0, "frame_counter": 5}, "channel": 15})
    )
    listed = "".join(f"\n    - {number}" for number in key)
    (zigbee / "configuration.yaml").write_text(
        f"mqtt:\n  user: zigbee2mqtt\n  password: geheim-4711\nadvanced:\n  channel: 15\n  network_key:{listed}\n"
    )
    scrubber = Scrubber(bundle.known_secrets(where, {}))
    for form in (key.hex(), key.hex().upper(), list(key), "geheim-4711"):
        assert scrubber.text(f"<{form}>".replace("[", "").replace("]", "")) == "<***>"
    kept = "user zigbee2mqtt, channel: 15, 0 frames, 5 lost"
    assert scrubber.text(kept) == kept


def test_secrets_of_a_configuration_that_is_no_toml_are_known(where: Places) -> None:
    """That it is none may be why somebody asks for help."""
    where.config.write_text('[[mqtt]]\nusername = "u"\npassword = "hunter2hunter"\nport = = 1\n')
    assert "hunter2" not in Scrubber(bundle.known_secrets(where, {})).text("logged in with hunter2hunter")


def test_a_configuration_that_cannot_be_read_is_no_reason_to_know_no_secrets(where: Places) -> None:
    """It is refused, for its passwords may be in the log."""
    where.config.unlink()
    where.config.mkdir()
    with pytest.raises(NotDone, match=r"root \(sudo\)"):
        list(bundle.known_secrets(where, {}))


def test_credentials_that_are_gone_are_no_traceback(where: Places, tmp_path: Path) -> None:
    """As in a shell that has the environment of a unit."""
    list(bundle.known_secrets(where, {"CREDENTIALS_DIRECTORY": str(tmp_path / "gone")}))
