"""Who can read secrets, and who owns the journal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_energy.doctor import permissions
from edge_energy.doctor.finding import Verdict
from tests.unit.doctor.tree import case, machine


@pytest.mark.parametrize(
    ("text", "mode", "verdict"),
    [
        ('[influxdb]\ntoken = "x"\n', 0o644, Verdict.FAILURE),
        ('[influxdb]\ntoken = "x"\n', 0o640, Verdict.OK),
        ('[[mqtt]]\npassword = "x"\n', 0o644, Verdict.FAILURE),
        ("[[mqtt]]\nport = 1883\n", 0o644, Verdict.OK),
        ("[[mqtt]]\nport = 1883\n", 0o646, Verdict.FAILURE),
        ("not TOML", 0o600, Verdict.NOT_APPLICABLE),
    ],
)
def test_secrets_in_the_configuration(tmp_path: Path, text: str, mode: int, verdict: Verdict) -> None:
    file = tmp_path / "edge-energy.toml"
    file.write_text(text)
    file.chmod(mode)
    found = permissions.configuration_file(file)
    assert found.verdict is verdict
    if verdict is Verdict.FAILURE:
        assert f"sudo chmod o-rwx {file}" in found.remedy


def test_the_state_directory(tmp_path: Path) -> None:
    known = case(machine(tmp_path, {"/var/lib/edge-energy/journal.db": ""}))
    directory = known.settings.appliance.state_dir  # type: ignore[union-attr]
    assert permissions.state_directory(known, directory).verdict is Verdict.OK
    known.machine.path(directory / "journal.db").chmod(0o666)
    found = permissions.state_directory(known, directory)
    assert (found.verdict, "journal.db" in found.cause) == (Verdict.FAILURE, True)
    assert permissions.state_directory(case(machine(tmp_path / "other")), directory).verdict is Verdict.NOT_APPLICABLE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away: run this test as root")
def test_a_journal_of_two_owners(tmp_path: Path) -> None:
    """Somebody ran the daemon as root once, and now its user cannot write."""
    known = case(machine(tmp_path, {"/var/lib/edge-energy/journal.db": ""}))
    directory = known.settings.appliance.state_dir  # type: ignore[union-attr]
    os.chown(known.machine.path(directory / "journal.db"), 65534, 65534)
    found = permissions.state_directory(known, directory)
    assert (found.verdict, "chown -R" in found.remedy) == (Verdict.WARNING, True)


def test_an_interrupted_restore_is_not_made_impossible_to_resume(tmp_path: Path) -> None:
    """What it is in the middle of is root's: given to the daemon's user, the next restore would not believe it."""
    known = case(machine(tmp_path, {"/var/lib/edge-energy/restoring/plan.json": "{}"}))
    found = permissions.state_directory(known, Path("/var/lib/edge-energy"))
    assert (found.verdict, found.found) == (Verdict.FAILURE, "a restore was interrupted")
    assert "sudo edge-energy restore FILE" in found.remedy
    assert "chown" not in found.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away: run this test as root")
def test_what_backup_and_restore_keep_may_be_of_another_owner(tmp_path: Path) -> None:
    kept = ("journal.db", "backups/x.tar.gz", "replaced-20261121T120000/journal.db")
    known = case(machine(tmp_path, {f"/var/lib/edge-energy/{name}": "" for name in kept}))
    directory = Path("/var/lib/edge-energy")
    for name in ("backups", "replaced-20261121T120000"):
        os.chown(known.machine.path(directory / name), 65534, 65534)
    assert permissions.state_directory(known, directory).verdict is Verdict.OK


def test_generated_secrets_are_for_root_alone(tmp_path: Path) -> None:
    assert permissions.secrets(machine(tmp_path)).verdict is Verdict.NOT_APPLICABLE
    secret, loaded = "/etc/edge-energy/secrets/influxdb-admin.password", "/etc/credstore/edge-energy.influxdb.token"
    here = machine(tmp_path, {secret: "x", loaded: "y", "/etc/credstore/other": "z"})
    for name in (secret, loaded):
        here.path(name).chmod(0o600)
    here.path("/etc/edge-energy/secrets").chmod(0o700)
    found = permissions.secrets(here)
    assert (found.verdict, found.found) == (Verdict.OK, "2 files, for root alone")
    here.path(loaded).chmod(0o644)
    found = permissions.secrets(here)
    assert (found.verdict, "chmod go-rwx" in found.remedy) == (Verdict.FAILURE, True)
