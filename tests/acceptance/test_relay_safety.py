"""A leased load is in its safe state within the lease whenever the daemon dies, and never flickers while it lives."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import pytest

from edge_energy import client
from edge_energy.devices.shelly_rpc import device_id
from tests.acceptance.conftest import LONG
from tests.servers.base import wait_until
from tests.servers.daemon import Daemon
from tests.servers.shelly import SimulatedShelly

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers.shelly import SimulatedDevice

pytestmark = pytest.mark.alone

LEASE = 2.0
LATE = 0.5  # seconds: the device looks at its timer every tenth, and so do we
HOUSES = 8
KILLS = 200 if LONG else 16


class Kill(NamedTuple):
    """One SIGKILL: seconds after ON was asked for, seconds until the load was safe, and what else happened."""

    instant: float
    safe_after: float
    flickered: bool
    confirmed: bool


def configuration(device: SimulatedDevice) -> str:
    return (
        f'[[shelly]]\nhost = "127.0.0.1"\nport = {device.port}\n'
        f'[[relay]]\ndevice = "{device_id(device.id)}"\nsafe_state = "off"\nlease = "{LEASE:g}s"\n'
    )


def kill_again_and_again(device: SimulatedDevice, directory: Path, seed: int, count: int) -> list[Kill]:
    """Start, switch on, kill at a random instant; return what became of the load each time."""
    chance, kills = random.Random(seed), []
    with Daemon(directory, configuration(device)) as daemon:
        for _ in range(count):
            if not daemon.running:
                daemon.start()
            daemon.wait_connected()
            wait_until(lambda: not device.state()["output"], 20, "the safe state at the start")
            # Every third in the middle of the command itself, which takes a few milliseconds.
            longest = 0.01 if chance.random() < 1 / 3 else 1.6 * LEASE
            kills.append(kill_once(device, daemon, chance.uniform(0, longest)))
    return kills


def kill_once(device: SimulatedDevice, daemon: Daemon, instant: float) -> Kill:
    before, relay = device.state()["edges"], device_id(device.id)
    body = {"device": relay, "state": "on", "wait": True}
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        asked = pool.submit(client.ask, daemon.socket, "POST", "/relays/switch", body)
        time.sleep(instant)  # the instant is what is tried here
        edges = device.state()["edges"] - before
        daemon.kill()
        killed = time.monotonic()
        confirmed = False
        with suppress(client.NoDaemon, client.Refused):
            confirmed = asked.result()["outcome"] == "confirmed"
    wait_until(lambda: not device.state()["output"], LEASE + 5, "the load is off")
    safe_after = time.monotonic() - killed
    # On once, off once: anything else was a click that nobody wanted.
    flickered = edges > 1 or device.state()["edges"] - before > 2
    return Kill(round(killed - began, 3), safe_after, flickered, confirmed)


def test_a_leased_load_is_safe_within_the_lease_whenever_the_daemon_is_killed(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    """Whatever becomes of the Pi; also when it dies in the middle of the command."""
    with SimulatedShelly(tmp_path, *["pro1pm"] * HOUSES) as shelly, ThreadPoolExecutor(HOUSES) as pool:
        jobs = [
            pool.submit(kill_again_and_again, device, tmp_path / device.name, seed, KILLS // HOUSES)
            for seed, device in enumerate(shelly)
        ]
        kills = [kill for job in jobs for kill in job.result()]
    assert len(kills) == KILLS
    longest = max(kill.safe_after for kill in kills)
    confirmed = sum(kill.confirmed for kill in kills)
    tell(f"{len(kills)} kills, {confirmed} after the confirmation: safe after {longest:.2f} s at most")
    assert not [kill for kill in kills if kill.safe_after > LEASE + LATE]
    assert not [kill for kill in kills if kill.flickered]
    assert confirmed > KILLS / 3


def test_a_healthy_house_does_not_flicker(tmp_path: Path) -> None:
    """A dozen renewals are no edge, also while the Wi-Fi goes away for less than the lease."""
    with (
        SimulatedShelly(tmp_path, "pro1pm") as shelly,
        Daemon(tmp_path / "d", configuration(shelly["pro1pm"])) as daemon,
    ):
        device = shelly["pro1pm"]
        relay = device_id(device.id)
        daemon.wait_connected()
        wait_until(lambda: not device.state()["output"], 20, "the safe state at the start")
        client.ask(daemon.socket, "POST", "/relays/switch", {"device": relay, "state": "on"})
        before = device.state()["edges"]
        wait_until(lambda: device.state()["requests"] > 36, 60, "renewals")
        assert device.state()["edges"] == before
        device.wifi(LEASE / 4)
        daemon.wait_connected()
        end = time.monotonic() + 2 * LEASE
        wait_until(lambda: time.monotonic() > end or device.state()["edges"] != before, 30)
        assert (device.state()["edges"], device.state()["output"]) == (before, True)


def test_a_stop_brings_loads_to_their_safe_state_at_once(tmp_path: Path) -> None:
    """And not only when the lease is over: systemctl stop, a reload, a shutdown."""
    with SimulatedShelly(tmp_path, "pro1pm") as shelly:
        device = shelly["pro1pm"]
        with Daemon(tmp_path / "d", configuration(device).replace('"2s"', '"1h"')) as daemon:
            daemon.wait_connected()
            client.ask(daemon.socket, "POST", "/relays/switch", {"device": device_id(device.id), "state": "on"})
            assert device.state()["output"]
            daemon.stop()
            assert not device.state()["output"]
            daemon.start()
            bodies = [entry["body"] for entry in daemon.ask("/journal/tail?count=1000") if entry["kind"] == "command"]
            assert [b["outcome"] for b in bodies if b.get("reason", "") == "" and b["event"] == "outcome"][-1:]
            assert any(b["event"] == "intent" and b["reason"] == "safe state at the stop" for b in bodies)
