"""What the answers of an InfluxDB mean: those that a real one gives are in the acceptance tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edge_energy.doctor import database
from edge_energy.doctor.case import UNKNOWN, Case
from edge_energy.doctor.finding import Verdict
from tests.servers.base import free_port
from tests.servers.proxy import FaultProxy
from tests.unit.doctor.tree import machine, settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_energy.config import Influxdb
    from edge_energy.doctor.finding import Finding


@pytest.fixture
def server() -> Iterator[FaultProxy]:
    with FaultProxy(free_port()) as proxy:
        yield proxy


def configured(root: Path, url: str, token: str) -> Influxdb:
    found = settings(root, f'[influxdb]\nurl = "{url}"\ntoken = "{token}"\n').influxdb
    assert found is not None
    return found


def health(root: Path, server: FaultProxy, body: str) -> Finding:
    server.answer(200, body)
    return database.health(configured(root, server.url, "x"))


def test_only_version_2_that_is_ready_will_do(tmp_path: Path, server: FaultProxy) -> None:
    def said(**change: str) -> str:
        return json.dumps({"name": "influxdb", "status": "pass", "version": "v2.7.12"} | change)

    assert health(tmp_path, server, said()) == (Verdict.OK, "InfluxDB 2.7.12", "", "")
    assert health(tmp_path, server, said(version="1.8.10")).verdict is Verdict.FAILURE
    assert health(tmp_path, server, said(status="fail", message="disk")).verdict is Verdict.WARNING
    for body in ("<html>a captive portal</html>", "[]", "{}", '"influxdb"'):
        found = health(tmp_path, server, body)
        assert (found.verdict, "something else" in found.cause) == (Verdict.FAILURE, True), body


def test_refusals_name_what_to_correct(tmp_path: Path, server: FaultProxy) -> None:
    known = Case(machine(tmp_path), tmp_path / "x")
    for status, verdict, remedy in (
        (204, Verdict.OK, ""),
        (401, Verdict.FAILURE, "edge-energy.influxdb.token"),
        (403, Verdict.FAILURE, "--write-bucket ID"),
        (404, Verdict.FAILURE, "influx bucket create"),
        (503, Verdict.WARNING, "journalctl"),
    ):
        server.answer(status, json.dumps({"message": "said so"}))
        found = database.writable(known, configured(tmp_path, server.url, "x"))
        assert found.verdict is verdict, status
        assert remedy in found.remedy


def test_the_token_of_our_own_influxdb_is_made_by_install_sh(tmp_path: Path, server: FaultProxy) -> None:
    known = Case(machine(tmp_path, {database._OURS: ""}), tmp_path / "x")
    for status in (401, 403):
        server.answer(status, json.dumps({"message": "said so"}))
        found = database.writable(known, configured(tmp_path, server.url, "x"))
        assert (found.verdict, "install.sh --with-influxdb" in found.remedy) == (Verdict.FAILURE, True)
        assert "influx auth" not in found.remedy


def test_nobody_answers(tmp_path: Path) -> None:
    """One check tells, the other keeps quiet."""
    known = configured(tmp_path, f"http://127.0.0.1:{free_port()}", "x")
    found = database.health(known)
    assert (found.verdict, "systemctl restart influxdb" in found.remedy) == (Verdict.FAILURE, True)
    assert database.writable(Case(machine(tmp_path), tmp_path), known).verdict is Verdict.NOT_APPLICABLE


def test_a_token_that_may_not_be_read_is_not_a_wrong_one(tmp_path: Path) -> None:
    known = Case(machine(tmp_path), tmp_path / "x", secrets=False)
    found = database.writable(known, configured(tmp_path, "http://127.0.0.1:1", UNKNOWN))
    assert found.verdict is Verdict.NOT_PERMITTED
