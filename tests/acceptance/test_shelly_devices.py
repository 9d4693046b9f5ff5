"""The daemon and simulated Shelly devices at their addresses: true readings, each once, through every fault."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from edge_energy.devices.shelly_rpc import device_id
from tests.servers.base import free_port, wait_until
from tests.servers.daemon import Daemon, influxdb_section, mqtt_section
from tests.servers.shelly import SimulatedShelly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.servers.influxdb import InfluxDB
    from tests.servers.mosquitto import Mosquitto
    from tests.servers.shelly import SimulatedDevice

ALL = ("pro1pm", "plus1pm", "pro3em", "gen1")
PASSWORD = "open sesame"
TOGETHER = 5.0  # seconds within which two ways tell of the same change
SLOWEST = 0.7  # seconds in which a way that tells of a change says the rest of it
MOST_CONNECTIONS = 2


class Reading(NamedTuple):
    """One reading of the journal; `time` in UTC s."""

    time: float
    values: dict[str, Any]


class Rig:
    """Simulated devices and the daemon that reads them."""

    def __init__(self, shelly: SimulatedShelly, daemon: Daemon) -> None:
        self.shelly = shelly
        self.daemon = daemon
        self.began = time.time()

    def readings(self, device: SimulatedDevice) -> list[Reading]:
        """Return what the journal has of a device, in the order in which it came."""
        entries = self.daemon.ask("/journal/tail?count=10000")
        mine = [e for e in entries if (e["kind"], e["device"]) == ("reading", device_id(device.id))]
        return [Reading(entry["time"] / 1e9, entry["body"]) for entry in mine]

    def newest(self, device: SimulatedDevice, name: str) -> Any:
        """Return the newest value of a quantity, or None."""
        return next((r.values[name] for r in reversed(self.readings(device)) if name in r.values), None)

    def source(self, device: SimulatedDevice) -> dict[str, Any]:
        """Return what `status` says of a configured device."""
        sources = self.daemon.status()["sources"]
        found: dict[str, Any] = next(s for s in sources if s["name"] == f"shelly 127.0.0.1:{device.port}")
        return found

    def available(self, device: SimulatedDevice) -> Any:
        """Return whether the daemon holds a device for reachable."""
        return next(
            (d["available"] for d in self.daemon.ask("/devices") if d["device"] == device_id(device.id)), None
        )

    def wait_read(self, timeout: float = 20) -> None:
        """Wait until every device answers."""
        self.daemon.wait_connected(timeout)

    def draw(self, device: SimulatedDevice, watts: float, name: str = "power") -> None:
        """Let a device draw so much, and wait until that is recorded."""
        device.load(watts)
        wait_until(lambda: self.newest(device, name) == watts, 20, f"{watts} W of {device.name}")

    def log(self, *words: str) -> list[str]:
        """Return the lines of the daemon's log with all of these words."""
        lines = self.daemon.log.read_text(errors="replace").splitlines()
        return [line for line in lines if all(word in line for word in words)]


@contextmanager
def rig(
    directory: Path,
    *devices: str,
    password: str | None = None,
    guess: str | None = None,
    firmware: int = 1,
    poll: str = "5s",
    options: Sequence[str] = (),
    more: str = "",
) -> Iterator[Rig]:
    """Run devices and the daemon, which reads all; at the end, what must hold in every test is checked."""
    with SimulatedShelly(directory, *devices, password=password, firmware=firmware, options=options) as shelly:
        blocks = [f'[[shelly]]\nhost = "127.0.0.1"\nport = {d.port}\npoll = "{poll}"' for d in shelly]
        secret = guess or password
        blocks = [f"{block}\npassword = {json.dumps(secret)}" if secret else block for block in blocks]
        with Daemon(directory / "daemon", "\n".join([*blocks, more])) as daemon:
            found = Rig(shelly, daemon)
            yield found
            connections = {device.name: device.state()["most_connections"] for device in shelly}
            journal = {device.name: found.readings(device) for device in shelly}
        log = daemon.log.read_text(errors="replace")
    assert "Traceback" not in log, log
    assert not secret or secret not in log
    assert max(connections.values()) <= MOST_CONNECTIONS, connections
    for name, readings in journal.items():
        strange = [r for r in readings if not found.began - 60 <= r.time <= time.time() + 1]
        assert not strange, (name, strange)


def call(device: SimulatedDevice, method: str, **params: Any) -> Any:
    """Call a method as anybody in the house can, where there is no password."""
    request = urllib.request.Request(f"{device.url}/rpc/{method}", json.dumps(params).encode())  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - http on loopback
        return json.load(answer)


@pytest.mark.parametrize(
    ("password", "firmware"), [(None, 1), (None, 2), (PASSWORD, 1), (PASSWORD, 2)], ids=["1", "2", "1-auth", "2-auth"]
)
def test_what_is_recorded_is_what_the_devices_measure(tmp_path: Path, password: str | None, firmware: int) -> None:
    """All generations, with and without a password: power as it changes, counters as they are."""
    with rig(tmp_path, *ALL, password=password, firmware=firmware) as house:
        house.wait_read()
        before = {name: house.shelly[name].state() for name in ALL}
        for name in ALL:
            house.draw(house.shelly[name], 1500.0, "power_a" if name == "pro3em" else "power")
        for name in ("pro1pm", "plus1pm", "pro3em"):
            house.shelly[name].minute()
        for name in ALL:
            check_counters(house, house.shelly[name], before[name])
            assert house.newest(house.shelly[name], "output") is (None if name == "pro3em" else True)
        ways = {name: house.source(house.shelly[name])["way"] for name in ALL}
        assert ways == {"pro1pm": "websocket", "plus1pm": "websocket", "pro3em": "websocket", "gen1": "gen1"}
        states = {name: house.shelly[name].state() for name in ALL}
        assert {name: state["throttled"] for name, state in states.items()} == dict.fromkeys(ALL, 0)
        refused = 1 if password else 0  # the challenge; Gen1 gets the password unasked
        assert {name: states[name]["unauthorized"] for name in ALL if name != "gen1"} == dict.fromkeys(
            ("pro1pm", "plus1pm", "pro3em"), refused
        )


def check_counters(house: Rig, device: SimulatedDevice, before: dict[str, Any]) -> None:
    """Wait until the counters are as they truly were after `before`."""
    for name in ("energy", "energy_returned") if device.name in ("pro1pm", "pro3em") else ("energy",):
        step = 1 / 60 if device.gen == 1 else 0.01  # Wh; Gen1 counts whole Watt-minutes

        def told(name: str = name, step: float = step) -> bool:
            value = house.newest(device, name)
            return value is not None and before[name] - step <= value <= device.state()[name] + step

        wait_until(told, 20, f"{name} of {device.name}")


def test_what_a_device_returns_is_not_counted_as_bought(tmp_path: Path) -> None:
    """A relay adds what it returns to its counter too; the import must stand still meanwhile."""
    with rig(tmp_path, "pro1pm", options=("--speed", "60")) as house:
        device = house.shelly["pro1pm"]
        house.wait_read()
        house.draw(device, -2000.0)
        device.minute()
        before = device.state()
        wait_until(lambda: (house.newest(device, "energy_returned") or 0) > before["energy_returned"], 20)
        during = [r.values for r in house.readings(device) if r.values.get("energy_returned", 0) > 1]
        assert during
        truth = device.state()["energy"]
        assert all(abs(values["energy"] - truth) < 0.1 for values in during if "energy" in values)


def test_a_wrong_password_is_said_once_and_hardly_tried(tmp_path: Path) -> None:
    """The log names the setting; the device does not lock everybody out."""
    with rig(tmp_path, "pro1pm", "gen1", password=PASSWORD, guess="wrong", firmware=2) as house:
        wait_until(lambda: len(house.log("unavailable", "[[shelly]] password")) == 2, 20)
        before = {d.name: d.state()["unauthorized"] for d in house.shelly}
        assert max(before.values()) <= 2
        time.sleep(8)  # nothing may happen: there is no condition to wait for
        assert {d.name: d.state()["unauthorized"] for d in house.shelly} == before
        assert len(house.log("unavailable")) == 2
        assert not any(house.readings(device) for device in house.shelly)


def test_four_ways_into_one_device_record_each_change_once(
    mosquitto: Callable[..., Mosquitto], influxdb: InfluxDB, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    """Both WebSockets, webhooks and MQTT tell the same: one device, one series, no change missing or doubled."""
    broker = mosquitto()
    http = f'[http]\nhost = "127.0.0.1"\nport = {free_port()}\n'
    database = influxdb_section(influxdb.url, influxdb.bucket, influxdb.token, 'batch_age = "100ms"')
    options = ("--mqtt-port", str(broker.port), "--status-ntf")
    more = http + mqtt_section(broker.port, 'commit_interval = "200ms"') + database
    with rig(tmp_path, "pro1pm", poll="1h", options=options, more=more) as house:
        device = house.shelly["pro1pm"]
        house.wait_read()
        adopt(house, device, "websocket")
        adopt(house, device, "webhook")
        wait_until(lambda: (state := device.state())["outbound_connected"] and state["mqtt_connected"], 20)
        house.wait_read()
        powers = [500.0, 1000.0, 1500.0, 2000.0]
        for watts in (100.0, *powers):
            told_since = partial(told_by_all, house, time.monotonic())
            house.draw(device, watts)
            wait_until(told_since, 20, f"{watts} W by every way")
            time.sleep(SLOWEST)
        told_since = partial(told_by_all, house, time.monotonic())
        call(device, "Switch.Set", id=0, on=False)
        wait_until(lambda: house.newest(device, "output") is False, 20)
        wait_until(told_since, 20, "off by every way")
        time.sleep(SLOWEST)
        told_since = partial(told_by_all, house, time.monotonic())
        device.load(2500.0)
        call(device, "Switch.Set", id=0, on=True)
        wait_until(lambda: house.newest(device, "power") == 2500.0, 20)
        wait_until(told_since, 20, "on by every way")
        time.sleep(SLOWEST)
        ways = house.daemon.ask("/shelly/devices")["devices"][0]["ways"]
        tell(f"heard by {', '.join(sorted(ways))}; collected: {house.daemon.status()['collected']}")
        assert {"websocket", "outbound websocket", "webhook"} <= set(ways)
        assert any(way.startswith("mqtt") for way in ways)
        house.daemon.wait_delivered()
        readings = house.readings(device)
        told = [reading.values["power"] for reading in readings if "power" in reading.values]
        assert {watts: told.count(watts) for watts in (*powers, 2500.0)} == dict.fromkeys((*powers, 2500.0), 1)
        assert [reading.values["output"] for reading in readings if "output" in reading.values][-2:] == [False, True]
        for name in ("power", "output"):
            assert not _repeated(readings, name)
        points = influxdb.points()
        assert {point["device"] for point in points} == {device_id(device.id)}
        assert sorted(p["power"] for p in points if p.get("power") in powers) == powers


def told_by_all(house: Rig, since: float) -> bool:
    """Tell whether all four ways told something since then, which the ages know to a tenth of a second."""
    ages = house.daemon.ask("/shelly/devices")["devices"][0]["ways"]
    return len(ages) >= 4 and max(ages.values()) <= time.monotonic() - since + 0.1


def adopt(house: Rig, device: SimulatedDevice, way: str) -> None:
    """Let the device send by one more way, as an operator would."""
    command = house.daemon.command("shelly", "adopt", f"127.0.0.1:{device.port}", "--via", way)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **house.daemon.environment}
    ) as adopting:
        for watts in itertools.cycle((300.0, 600.0)):  # a webhook comes when the power changes
            if adopting.poll() is not None:
                break
            device.load(watts)
            time.sleep(0.5)
        assert adopting.returncode == 0, adopting.stdout and adopting.stdout.read()


def _repeated(readings: Sequence[Reading], name: str) -> list[tuple[Reading, Reading]]:
    """Return neighbours that say the same of a quantity within the time of one change."""
    having = [reading for reading in readings if name in reading.values]
    return [
        (one, other)
        for one, other in itertools.pairwise(having)
        if one.values[name] == other.values[name] and abs(other.time - one.time) < TOGETHER
    ]


def test_a_device_that_dials_us_and_never_learns_the_time(tmp_path: Path) -> None:
    """Full and changed status over its own socket, dated by us; after our restart it dials again."""
    port, began = free_port(), time.time()
    with Daemon(tmp_path / "daemon", f'[http]\nhost = "127.0.0.1"\nport = {port}\n') as daemon:
        command = daemon.command("token", "create", "--role", "device")
        made = subprocess.run(
            command, capture_output=True, text=True, check=True, env={**os.environ, **daemon.environment}
        )
        token = re.search(r"ee_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", made.stdout)
        assert token is not None
        server = {"SHELLY_SERVER": f"ws://127.0.0.1:{port}/shelly/ws/{token[0]}"}
        with SimulatedShelly(tmp_path, "plus1pm", options=("--ntp-delay", "-1"), environment=server) as shelly:
            house, device = Rig(shelly, daemon), shelly["plus1pm"]
            wait_until(lambda: house.newest(device, "energy") is not None, 20, "the full status")
            house.draw(device, 1200.0)
            daemon.restart()
            wait_until(
                lambda: daemon.status()["outbound"]["connected"] == [device_id(device.id)], 30, "it dials again"
            )
            house.draw(device, 600.0)
            assert not device.state()["clock_set"]
            times = [reading.time for reading in house.readings(device)]
            assert began <= min(times) <= max(times) <= time.time()
            assert not device.state()["throttled"]
        wait_until(lambda: house.available(device) is False, 20)
    log = daemon.log.read_text()
    assert "Traceback" not in log, log
    assert token[0] not in log


def test_a_reboot_that_resets_the_counters(tmp_path: Path) -> None:
    """The reading after it says what the device says; before it has the date, we give it ours."""
    with rig(tmp_path, "pro1pm", "gen1", options=("--ntp-delay", "-1")) as house:
        for each in house.shelly:
            each.clock(True)  # until the reboot
        house.wait_read()
        device = house.shelly["pro1pm"]
        wait_until(lambda: (house.newest(device, "energy") or 0) > 1000, 20)
        began = time.time()
        for each in house.shelly:
            each.reboot(reset_counters=True)
        wait_until(lambda: (energy := house.newest(device, "energy")) is not None and energy < 100, 30)
        assert device.state()["clock_set"] is False
        after = [r for r in house.readings(device) if r.values.get("energy", 1e9) < 100]
        assert began <= after[0].time <= time.time()
        house.draw(device, 800.0)
        house.draw(house.shelly["gen1"], 800.0)


def test_an_outage_of_the_wifi_is_two_lines_of_log(tmp_path: Path, tell: Callable[[str], None]) -> None:
    """One when it begins, one when it ends; nobody must act, and pushes come again."""
    with rig(tmp_path, *ALL) as house:
        house.wait_read()
        for device in house.shelly:
            device.wifi(15)
        wait_until(lambda: all(house.available(device) is False for device in house.shelly), 30)
        house.wait_read(60)
        for device in house.shelly:
            lines = house.log(f"127.0.0.1:{device.port}")
            assert [("unavailable" in line, "available again" in line) for line in lines] == [
                (True, False),
                (False, True),
            ], lines
            assert house.available(device) is True
            house.draw(device, 700.0, "power_a" if device.name == "pro3em" else "power")
        tell("; ".join(line.split("after_seconds=")[1] + " s" for line in house.log("available again")))


def test_garbage_does_no_harm(tmp_path: Path) -> None:
    """It is counted, once a minute logged, never recorded; afterwards everything is as before."""
    with rig(tmp_path, *ALL) as house:
        house.wait_read()
        for device in house.shelly:
            device.garbage(True)
        for watts in range(1000, 1600, 100):
            for device in house.shelly:
                device.load(watts)
            time.sleep(0.5)  # while it lasts
        wait_until(lambda: all(house.source(device)["garbage"] for device in house.shelly), 30)
        for device in house.shelly:
            device.garbage(False)
        for device in house.shelly:
            house.draw(device, 700.0, "power_a" if device.name == "pro3em" else "power")
        for device in house.shelly:
            assert len(house.log(f"127.0.0.1:{device.port}", "unreadable message")) <= 1
            assert len(house.log(f"127.0.0.1:{device.port}")) <= 3, house.log(f"127.0.0.1:{device.port}")
            powers = {r.values.get("power", 0) for r in house.readings(device)}
            assert all(abs(power) < 10_000 for power in powers)


def test_slow_answers_are_waited_for(tmp_path: Path) -> None:
    """A device at the edge of the Wi-Fi is slow, not away."""
    with rig(tmp_path, *ALL) as house:
        for device in house.shelly:
            device.slow(2.5)
        house.wait_read(30)
        for device in house.shelly:
            house.draw(device, 700.0, "power_a" if device.name == "pro3em" else "power")
        assert not house.log("unavailable")


def test_a_device_that_says_429_is_left_alone(tmp_path: Path, tell: Callable[[str], None]) -> None:
    """It is asked more and more rarely, stays connected, and what it pushes is recorded all the while."""
    options = ("--rate-limit", "0.6")  # two requests at once, then one every 1.7 s
    with rig(tmp_path, "pro1pm", firmware=2, options=options) as house:
        device = house.shelly["pro1pm"]
        house.wait_read()
        until = time.monotonic() + 20
        while time.monotonic() < until:  # somebody else takes all that it can answer
            for _ in range(3):
                try:
                    call(device, "Shelly.GetStatus")
                except urllib.error.HTTPError as error:
                    assert error.code == 429  # noqa: PT017
            time.sleep(0.3)
        refused = house.source(device)["throttled"]
        tell(f"asked {refused} times in vain within 20 s")
        assert 1 <= refused <= 3  # after 5, 10 and 20 s instead of every 5
        house.draw(device, 900.0)
        wait_until(lambda: house.source(device)["connected"], 20)
        assert not house.log("unavailable")
