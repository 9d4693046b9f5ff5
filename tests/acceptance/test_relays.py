"""Relays as their users meet them: every command ends in the right outcome, soon, and nothing untrue is shown."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from edge_energy import client
from edge_energy.devices.shelly_rpc import device_id
from tests.acceptance.conftest import LONG
from tests.conftest import skipped_if_missing
from tests.servers.base import HOST, accepts, free_port, wait_until
from tests.servers.daemon import Daemon
from tests.servers.shelly import SimulatedShelly
from tests.servers.small_disk import fill, small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.shelly import SimulatedDevice

SOON = 12.0  # seconds within which every command has ended
AWAY = 15.0  # seconds; a command is given up after two where there is no connection


class Home(NamedTuple):
    """A daemon with a token for its HTTP server, and the one device that it switches."""

    daemon: Daemon
    device: SimulatedDevice
    relay: str
    port: int
    token: str

    def switch(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `edge-energy switch`."""
        command = self.daemon.command("switch", self.relay, *arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def send(self, query: str = "", token: str | None = "", **body: Any) -> tuple[int, dict[str, Any]]:
        """POST /send."""
        request = urllib.request.Request(f"http://{HOST}:{self.port}/send{query}", json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        if token is not None:
            request.add_header("Authorization", f"Bearer {token or self.token}")
        try:
            with urllib.request.urlopen(request, timeout=40) as answer:  # noqa: S310
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def report(self) -> dict[str, Any]:
        """Return what `status` says of the relay."""
        found: dict[str, Any] = self.daemon.status()["relays"][0]
        return found

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """Return what the journal has of a kind."""
        return [entry["body"] for entry in self.daemon.ask("/journal/tail?count=10000") if entry["kind"] == kind]


@contextmanager
def home(
    directory: Path, product: str = "pro1pm", more: str = "", lease: str = "1m", state: Path | None = None
) -> Iterator[Home]:
    """Run a daemon for one device; what must hold in every test is checked at the end."""
    port = free_port()
    with SimulatedShelly(directory, product) as shelly:
        device = shelly[product]
        relay = device_id(device.id) or ""
        found = (
            f'[http]\nhost = "{HOST}"\nport = {port}\n'
            f'[[shelly]]\nhost = "{HOST}"\nport = {device.port}\npoll = "5s"\n'
            f'[[relay]]\ndevice = "{relay}"\nsafe_state = "off"\nlease = "{lease}"\n{more}\n'
        )
        with Daemon(directory / "daemon", found, state=state) as daemon:
            daemon.wait_connected()
            wait_until(lambda: not device.state()["output"], 20, "the safe state at the start")
            wanted = {"role": "operator", "name": "test"}
            token = client.ask(daemon.socket, "POST", "/tokens", wanted)["token"]
            yield Home(daemon, device, relay, port, token)
        assert "Traceback" not in daemon.log.read_text(errors="replace")


def test_the_command_line_switches_and_says_so(tmp_path: Path) -> None:
    """Exit 0 only when the device confirmed; on, off, toggle, and for a time."""
    with home(tmp_path) as house:
        for wanted, output in (("on", True), ("toggle", False), ("toggle", True), ("off", False)):
            done = house.switch(wanted)
            assert (done.returncode, house.device.state()["output"]) == (0, output), done
        assert house.switch("on", "--for", "1s").returncode == 0
        wait_until(lambda: not house.device.state()["output"], 5, "switched back")
        assert house.switch("on", "--no-wait").returncode == 0
        wait_until(lambda: house.device.state()["output"], 5, "switched")


def test_send_switches_for_operators_only(tmp_path: Path) -> None:
    """The interface of the house's other programs: strict, with a command id, and with the outcome if they wait."""
    with home(tmp_path) as house:
        status, answer = house.send(device_id=house.relay, switch=True)
        assert (status, answer["status"]) == (200, "command sent")
        wait_until(lambda: house.device.state()["output"], 5, "switched")
        status, answer = house.send("?wait=5", device_id=house.relay, switch=False)
        assert (status, answer["outcome"]) == (200, "confirmed")
        assert not house.device.state()["output"]
        assert house.send(device_id="nobody", switch=True)[0] == 404
        assert house.send(device_id=house.relay, switch="true")[0] == 400
        assert house.send(token=None, device_id=house.relay, switch=True)[0] == 401
        assert not house.device.state()["output"]


def test_the_same_command_twice_is_one(tmp_path: Path) -> None:
    """Whoever gets no answer sends again; a SIGKILL between both changes nothing."""
    with home(tmp_path) as house:
        again: dict[str, Any] = {"device_id": house.relay, "switch": True, "command_id": "order-7"}
        assert house.send("?wait=5", **again)[1]["outcome"] == "confirmed"
        assert house.switch("off").returncode == 0
        edges = house.device.state()["edges"]
        assert house.send("?wait=5", **again)[1]["outcome"] == "confirmed"  # as it was then
        wait_until(lambda: len([b for b in house.entries("command") if b["event"] == "outcome"]) >= 3, 5)
        house.daemon.kill()
        house.daemon.start()
        house.daemon.wait_connected()
        assert house.send("?wait=5", **again)[1]["outcome"] == "confirmed"
        assert (house.device.state()["output"], house.device.state()["edges"]) == (False, edges)


def fails_soon(house: Home) -> int:
    """Switch on what cannot be reached; return the edges of its relay."""
    began = time.monotonic()
    done = house.switch("on")
    assert time.monotonic() - began < SOON
    assert done.returncode == 1
    assert "Failed" in done.stderr
    edges: int = house.device.state()["edges"]
    return edges


def comes_back(house: Home, edges: int) -> None:
    """Wait until it is reached again, and find that its relay has not moved, and that nobody wants it to."""
    wait_until(lambda: accepts(house.device.port), 40, "the device is back")
    house.daemon.wait_connected(60)
    assert house.report()["wish"]["on"] is False
    wait_until(lambda: house.switch("off").returncode == 0, 60, "it is reached again")
    assert house.device.state()["edges"] == edges
    assert house.switch("on").returncode == 0


def test_a_device_that_is_away_fails_the_command_in_time(tmp_path: Path) -> None:
    """With words for who must act; and what failed is not done later. Both generations at once: it takes a while."""
    with home(tmp_path / "gen2", "pro1pm") as gen2, home(tmp_path / "gen1", "gen1") as gen1:
        houses = (gen2, gen1)
        for house in houses:
            house.device.wifi(AWAY)
        with ThreadPoolExecutor(len(houses)) as both:
            edges = list(both.map(fails_soon, houses))
        for house, before in zip(houses, edges, strict=True):
            comes_back(house, before)


@pytest.mark.parametrize("product", ["pro1pm", "gen1"])
def test_a_device_that_says_yes_and_does_nothing_is_found_out(tmp_path: Path, product: str) -> None:
    with home(tmp_path, product) as house:
        house.device.deaf(True)
        began = time.monotonic()
        done = house.switch("on")
        assert time.monotonic() - began < SOON
        assert done.returncode == 1
        house.device.deaf(False)
        assert house.switch("on").returncode == 0


@pytest.mark.skipif(not LONG, reason="two minutes; the short version is in tests/unit/relays/test_controller.py")
def test_a_welded_contact_is_never_called_off(tmp_path: Path) -> None:
    """The relay opens, current flows on: an incident, and no `OFF` anywhere."""
    with home(tmp_path) as house:
        assert house.switch("on").returncode == 0
        house.device.load(1230.0)
        wait_until(lambda: house.report()["power"] == 1230, 10, "the load is measured")
        house.device.weld(True)
        house.switch("off")

        def noticed() -> bool:
            house.device.load(1200.0 + time.time() % 60)  # as every real load wanders
            return bool(house.report()["draws"])

        wait_until(noticed, 200, "the incident")
        assert house.report()["state"] == "None"
        status = subprocess.run(house.daemon.command("status"), capture_output=True, text=True, check=True).stdout
        assert re.search(r"still draws 1,2\d\d W", status), status
        assert [body["event"] for body in house.entries("incident")] == ["opened"]
        house.device.weld(False)
        house.device.load(0.0)
        wait_until(lambda: house.report()["state"] == "OFF", 30, "it is off")
        assert [body["event"] for body in house.entries("incident")] == ["opened", "resolved"]


def test_a_hand_at_the_switch_is_told_and_not_undone(tmp_path: Path) -> None:
    """In `status` and as an incident; no renewal of the lease turns it back."""
    with home(tmp_path, lease="3s") as house:
        assert house.switch("on").returncode == 0
        edges = house.device.press()["edges"]
        wait_until(lambda: house.report()["wish"]["origin"] == "device", 10, "the hand is noticed")
        assert house.report()["state"] == "OFF"
        requests = house.device.state()["requests"]
        wait_until(lambda: house.device.state()["requests"] > requests + 2, 30, "renewals and polls")
        assert house.device.state()["edges"] == edges


def test_on_a_full_disk_off_still_switches(tmp_path: Path) -> None:
    """What cannot be recorded is not switched on; what is on can always be switched off."""
    with skipped_if_missing(), small_disk(24) as disk, home(tmp_path, state=disk / "state") as house:
        assert house.switch("on").returncode == 0
        filler = fill(disk)
        house.device.load(50.0)
        wait_until(lambda: house.daemon.status()["journal"]["full"], 30, "the disk is full")
        assert house.device.state()["output"]
        assert house.switch("off").returncode == 0
        assert not house.device.state()["output"]
        refused = house.switch("on")
        assert refused.returncode == 1
        assert "disk is full" in refused.stderr + refused.stdout
        assert not house.device.state()["output"]
        filler.unlink()
        wait_until(lambda: not house.daemon.status()["journal"]["full"], 30, "there is space again")
        assert house.switch("on").returncode == 0


def test_an_overload_is_cut_out(tmp_path: Path) -> None:
    """And stays so until somebody switches it on; `why` has the figures."""
    with home(tmp_path, more="max_power = 2000") as house:
        assert house.switch("on").returncode == 0
        house.device.load(2300.0)
        wait_until(lambda: not house.device.state()["output"], 10, "the cut-out")
        why = subprocess.run(
            house.daemon.command("why", house.relay), capture_output=True, text=True, check=True
        ).stdout
        assert "overload: 2300 W" in why
        house.device.load(100.0)
        assert house.switch("on").returncode == 0


def test_an_unknown_device_is_told_what_to_do(tmp_path: Path) -> None:
    with home(tmp_path) as house:
        with pytest.raises(client.Refused, match="edge-energy devices"):
            client.ask(house.daemon.socket, "POST", "/relays/switch", {"device": "nobody", "state": "on"})
        done = subprocess.run(
            house.daemon.command("switch", "nobody", "on"), capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert "no device is called nobody" in done.stderr
