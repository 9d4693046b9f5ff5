"""When an upgrade is a success: decided by what the daemon says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_energy.setup import health

if TYPE_CHECKING:
    from pathlib import Path

BROKER = "mqtt 127.0.0.1:1883"
SERVER = {"name": "http 0.0.0.0:8000", "connected": True, "last_error": None}


def report(**changes: Any) -> dict[str, Any]:
    source = {"name": BROKER, "connected": True, "last_error": None}
    return {"version": "1.0", "sources": [source], "servers": [SERVER], "up_seconds": 9.0, "defects": {}, **changes}


def wrong(**changes: Any) -> str:
    return "; ".join(health.problems(report(**changes), "1.0", [BROKER]))


def test_a_daemon_that_works_is_healthy() -> None:
    assert not wrong()


def test_another_release_is_not_the_one_that_was_started() -> None:
    assert "0.9 answers" in wrong(version="0.9")


def test_a_defect_is_a_reason_to_go_back() -> None:
    assert "KeyError" in wrong(defects={"http": "KeyError: 'x'"})


def test_the_broker_on_this_machine_must_be_connected() -> None:
    away = {"name": BROKER, "connected": False, "last_error": "not authorised"}
    assert "not authorised" in wrong(sources=[away])


def test_its_own_http_server_must_listen() -> None:
    """Where the port is not to be had, Shellys and the page are without a daemon."""
    assert "may not listen" in wrong(servers=[SERVER | {"connected": False, "last_error": "may not listen on it"}])


def test_what_is_elsewhere_may_be_away() -> None:
    """A broker, a cloud or a database elsewhere may have been away before the upgrade."""
    far = {"name": "mqtt broker.example.org:8883", "connected": False, "last_error": "no route"}
    assert not wrong(sources=[*report()["sources"], far])


def test_a_daemon_that_just_started_is_not_yet_healthy() -> None:
    """What its first messages kill must not pass."""
    assert wrong(up_seconds=1.0)


def test_no_daemon_is_told(tmp_path: Path) -> None:
    assert "No daemon" in health.wait(tmp_path / "api.sock", "1.0", [], within=0.0)[0]
