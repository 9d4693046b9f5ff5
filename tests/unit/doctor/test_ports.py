"""Who has the ports."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from edge_energy.doctor import ports, processes
from edge_energy.doctor.finding import Verdict
from tests.unit.doctor.tree import case, holds, listening, machine, process

if TYPE_CHECKING:
    from pathlib import Path

    from edge_energy.doctor.finding import Finding

LOCAL, ANY = "0100007F", "00000000"
HTTP = "[http]\nport = 8000\n"
DAEMON = ("python", "python -m edge_energy run")
SERVING: dict[str, Any] = {"servers": [{"kind": "http", "connected": True, "last_error": None}]}
FAILED: dict[str, Any] = {"servers": [{"kind": "http", "connected": False, "last_error": "address in use"}]}


def look(
    root: Path,
    holder: tuple[str, str] | None,
    status: dict[str, Any] | None = None,
    *,
    seen: bool = True,
    at: str = ANY,
) -> Finding:
    files = {"/proc/net/tcp": listening((at, 8000, 55)) if holder else listening()}
    files |= process(7, *holder) if holder else {}
    here = machine(root, files)
    if holder and seen:
        holds(root, 7, "socket:[55]")
    return ports.http_port(case(here, HTTP, status=status), 8000)


def test_the_daemon_has_its_port(tmp_path: Path) -> None:
    found = look(tmp_path, DAEMON)
    assert (found.verdict, found.found) == (Verdict.OK, "the daemon (process 7) on all addresses")


def test_another_program_has_it(tmp_path: Path) -> None:
    """It is named, with what ends it; whether or not the daemon runs."""
    for number, status in enumerate((None, FAILED)):
        found = look(tmp_path / str(number), ("nginx", "nginx: worker"), status)
        assert found.verdict is Verdict.FAILURE
        assert found.found == "nginx (process 7) on all addresses"
        assert "sudo kill 7" in found.remedy
        assert "[http] port" in found.remedy


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(None, Verdict.NOT_PERMITTED), (SERVING, Verdict.OK), (FAILED, Verdict.FAILURE)],
)
def test_who_may_not_see_the_holder_is_told_what_the_daemon_says(
    tmp_path: Path, status: dict[str, Any] | None, verdict: Verdict
) -> None:
    assert look(tmp_path, ("nginx", "nginx"), status, seen=False).verdict is verdict


def test_nobody_has_it(tmp_path: Path) -> None:
    """That is wrong only while the daemon runs."""
    assert look(tmp_path / "a", None).verdict is Verdict.NOT_APPLICABLE
    found = look(tmp_path / "b", None, FAILED)
    assert (found.verdict, found.cause) == (Verdict.FAILURE, "address in use")


def test_zigbee2mqtts_page_on_the_network_is_a_door(tmp_path: Path) -> None:
    node = process(7, "node", "node /opt/zigbee2mqtt/index.js")
    for address, verdict in ((ANY, Verdict.WARNING), (LOCAL, Verdict.OK)):
        here = machine(tmp_path / address, node | {"/proc/net/tcp": listening((address, 8080, 5))})
        holds(tmp_path / address, 7, "socket:[5]")
        assert ports.any_port(case(here), 8080).verdict is verdict


def test_the_ports_of_the_configuration_are_looked_at(tmp_path: Path) -> None:
    known = case(
        machine(tmp_path), '[[mqtt]]\nport = 1999\n[[mqtt]]\nhost = "10.0.0.1"\nport = 2000\n[http]\nport = 81\n'
    )
    names = [check.name for check in ports.checks(known)][1:]
    assert [name.split(",")[0] for name in names] == [
        f"port {port}" for port in (1883, 8883, 8086, 3000, 8080, 1999, 81)
    ]


def test_a_machine_in_the_internet(tmp_path: Path) -> None:
    """Its own public address, and a port that is open there, belong together; by IPv6 there is a router mostly."""
    anywhere, local = (listening((address, 1883, 5)) for address in (ANY, LOCAL))
    anywhere6 = listening(("0" * 32, 1883, 5))
    for number, (addresses, table, table6, verdict, words) in enumerate(
        [
            ("192.168.1.5 fd00::5 ", anywhere, anywhere6, Verdict.OK, "no public address"),
            ("192.168.1.5 2a01::5 ", anywhere, "", Verdict.OK, "none of the ports below is open on 2a01::5"),
            ("192.168.1.5 2a01::5 ", anywhere, anywhere6, Verdict.OK, "only a firewall, as most routers have"),
            ("8.8.8.8 192.168.1.5 ", anywhere, "", Verdict.WARNING, "8.8.8.8"),
            ("8.8.8.8 2a01::5 ", "", anywhere6, Verdict.WARNING, "8.8.8.8, 2a01::5"),
            ("8.8.8.8 192.168.1.5 ", local, "", Verdict.OK, "none of the ports below is open on 8.8.8.8"),
        ]
    ):
        files = {"/proc/net/tcp": table, "/proc/net/tcp6": table6}
        found = ports.reachable(machine(tmp_path / str(number), files, {"hostname -I": addresses}), [1883, 8000])
        assert found.verdict is verdict
        assert words in found.found


def test_addresses_that_nothing_tells_are_not_private_ones(tmp_path: Path) -> None:
    assert ports.reachable(machine(tmp_path), [1883]).verdict is Verdict.NOT_APPLICABLE


def test_open_files_are_looked_for_once_however_many_ports_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And however many checks want to know at the same time."""
    look = Mock(side_effect=processes.processes)
    monkeypatch.setattr(processes, "processes", look)
    table = listening(*((ANY, port, port) for port in (1883, 8883, 8000, 8086, 3000, 8080)))
    known = case(machine(tmp_path, {"/proc/net/tcp": table} | process(7, "nginx", "nginx")), HTTP)
    holds(tmp_path, 7, "socket:[1883]")
    with ThreadPoolExecutor() as threads:
        found = list(threads.map(lambda check: check.look(), ports.checks(known)))
    assert "nginx (process 7) on all addresses" in [each.found for each in found]
    look.assert_called_once()


def test_public_addresses() -> None:
    for address, public in (("8.8.8.8", True), ("192.168.1.2", False), ("::1", False), ("not one", False)):
        assert ports.public(address) is public
