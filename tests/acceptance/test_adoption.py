"""`edge-energy shelly`: the daemon finds simulated devices, sets them up by each way, and proves it by a reading."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from edge_energy.devices.shelly_rpc import device_id
from tests.servers.base import free_port, wait_until
from tests.servers.daemon import Daemon, mqtt_section
from tests.servers.shelly import SimulatedShelly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers.mosquitto import Mosquitto
    from tests.servers.shelly import SimulatedDevice

PASSWORD = "correct horse"


@contextmanager
def daemon(directory: Path, more: str = "", http: str = "") -> Iterator[Daemon]:
    """Run the daemon with an HTTP server on loopback; at the end its log has neither tracebacks nor passwords."""
    section = f'[http]\nhost = "127.0.0.1"\nport = {free_port()}\n{http}\n'
    with Daemon(directory / "daemon", more + section) as running:
        yield running
    log = running.log.read_text(errors="replace")
    assert "Traceback" not in log, log
    assert PASSWORD not in log


def run(daemon: Daemon, *arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Run `edge-energy shelly …`; return its exit code and all that it printed."""
    command = daemon.command("shelly", *arguments)
    surroundings = {**os.environ, **daemon.environment, **(environment or {})}
    done = subprocess.run(command, capture_output=True, text=True, env=surroundings, timeout=120, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def adopt(daemon: Daemon, device: SimulatedDevice, *options: str, **environment: str) -> dict[str, Any]:
    """Adopt a device; return the report."""
    code, printed = run(daemon, "adopt", address(device), "--json", *options, environment=environment)
    assert code == 0, printed
    report: dict[str, Any] = json.loads(printed)
    return report


def address(device: SimulatedDevice) -> str:
    return f"{device.host}:{device.port}"


def ask(device: SimulatedDevice, method: str) -> dict[str, Any]:
    """Ask a device that has no password, as anybody can."""
    with urllib.request.urlopen(f"{device.url}/rpc/{method}", timeout=10) as answer:  # noqa: S310 - http on loopback
        result: dict[str, Any] = json.load(answer)
        return result


def configure(device: SimulatedDevice, method: str, config: dict[str, Any]) -> None:
    """Set a device up as somebody else would."""
    body = json.dumps({"config": config}).encode()
    request = urllib.request.Request(f"{device.url}/rpc/{method}", body)  # noqa: S310 - http on loopback
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310


def settings(device: SimulatedDevice) -> list[dict[str, Any]]:
    """Return all that adoption could change, with the device's secrets."""
    return [ask(device, method) for method in ("Ws.GetConfig", "Mqtt.GetConfig", "Webhook.List")]


def recorded(daemon: Daemon, device: SimulatedDevice) -> list[dict[str, Any]]:
    """Return the readings of a device in the journal."""
    entries = daemon.ask("/journal/tail?count=1000")
    return [entry for entry in entries if (entry["kind"], entry["device"]) == ("reading", device_id(device.id))]


def test_an_announced_device_is_found_and_then_known(tmp_path: Path) -> None:
    """`shelly discover` says who is there and who is adopted; `shelly list` who was heard, and when."""
    with (
        SimulatedShelly(tmp_path, "plus1pm", "gen1", options=["--mdns"]) as shelly,
        daemon(tmp_path) as edge,
    ):
        search = ("discover", "--interface", "127.0.0.1", "--seconds", "3")
        _, printed = run(edge, *search, "--json")
        found = {each["id"]: each for each in json.loads(printed)}
        plus = shelly["plus1pm"]
        assert found[plus.id] == {
            "id": plus.id,
            "device": device_id(plus.id),
            "address": "127.0.0.1",
            "port": plus.port,
            "generation": 2,
            "model": "Plus1PM",
            "version": found[plus.id]["version"],
            "ways": {},
        }
        assert found[shelly["gen1"].id]["generation"] == 1
        assert "No Shelly was heard yet" in run(edge, "list")[1]

        adopt(edge, plus)
        assert any(plus.id in line and "outbound websocket" in line for line in run(edge, *search)[1].splitlines())
        (known,) = json.loads(run(edge, "list", "--json")[1])
        assert known["device"] == device_id(plus.id)
        assert known["available"] is True
        assert known["ways"]["outbound websocket"] < 60
        assert "outbound websocket" in run(edge, "list")[1]


@pytest.mark.parametrize("via", ["websocket", "webhook", "mqtt"])
def test_each_way_leads_to_readings_and_is_set_up_once(
    via: str, tmp_path: Path, mosquitto: Callable[..., Mosquitto]
) -> None:
    """A dry run changes nothing, adopting does, adopting again changes nothing; no secret is printed or logged."""
    broker = mqtt_section(mosquitto().port) if via == "mqtt" else ""
    with (
        # House time passes so fast that the webhook of each minute comes each second.
        SimulatedShelly(tmp_path, "pro1pm", options=["--speed", "60"]) as shelly,
        daemon(tmp_path, broker, "webhook_auth = true") as edge,
    ):
        device = shelly["pro1pm"]
        untouched = settings(device)
        dry = adopt(edge, device, "--via", via, "--dry-run")
        assert dry["changes"]
        assert (dry["rebooted"], dry["verified_seconds"]) == (False, None)
        assert settings(device) == untouched
        assert device.state()["boots"] == 1
        assert not recorded(edge, device)

        report = adopt(edge, device, "--via", via)
        assert report["changes"] == dry["changes"]
        # With a token and both counters of energy there is no room for everything.
        assert report["problems"] == (["webhooks of this device cannot tell current"] if via == "webhook" else [])
        assert report["verified_seconds"] < 60
        wait_until(lambda: recorded(edge, device), what="a reading in the journal")
        assert "power" in recorded(edge, device)[0]["body"]

        changed, boots = settings(device), device.state()["boots"]
        assert boots == (1 if via == "webhook" else 2)
        again = adopt(edge, device, "--via", via)
        assert (again["changes"], again["problems"]) == ([], report["problems"])
        assert (settings(device), device.state()["boots"]) == (changed, boots)

        tokens = set(re.findall(r"ee_[0-9a-f]{8}_[\w-]{43}", json.dumps(changed)))
        assert len(tokens) == (0 if via == "mqtt" else 1)
        printed = json.dumps([dry, report, again]) + run(edge, "adopt", address(device), "--via", via)[1]
        assert not any(token in printed + edge.log.read_text() for token in tokens)


@pytest.mark.parametrize("firmware", [1, 2])
@pytest.mark.parametrize("via", ["websocket", "webhook"])
def test_a_device_with_a_password_is_adopted(via: str, firmware: int, tmp_path: Path) -> None:
    """By the environment or the configuration; without it, or with a wrong one, nothing is changed."""
    speed = ["--speed", "60"]
    with SimulatedShelly(tmp_path, "plus1pm", password=PASSWORD, firmware=firmware, options=speed) as shelly:
        device = shelly["plus1pm"]
        configured = f'[[shelly]]\nhost = "127.0.0.1"\nport = {device.port}\npassword = "{PASSWORD}"\n'
        with daemon(tmp_path / "first") as edge:
            adopting = ("adopt", address(device), "--via", via)
            code, printed = run(edge, *adopting)
            assert (code, "asks for its password" in printed) == (1, True)
            code, printed = run(edge, *adopting, environment={"SHELLY_PASSWORD": "wrong"})
            assert (code, "refuses the password" in printed) == (1, True), printed
            report = adopt(edge, device, "--via", via, SHELLY_PASSWORD=PASSWORD)
            assert report["changes"]
            assert report["verified_seconds"] is not None
            assert PASSWORD not in json.dumps(report)
        with daemon(tmp_path / "second", configured) as edge:
            assert adopt(edge, device, "--via", via, "--dry-run", "--replace")["device"] == device_id(device.id)


def test_what_serves_somebody_else_is_left_alone_unless_asked_for(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto]
) -> None:
    """Home Assistant's WebSocket and broker: refused with a reason, then taken with --replace."""
    elsewhere = f"ws://127.0.0.1:{free_port()}/api/shelly/ws"
    with (
        SimulatedShelly(tmp_path, "plus1pm") as shelly,
        daemon(tmp_path, mqtt_section(mosquitto().port)) as edge,
    ):
        device = shelly["plus1pm"]
        configure(device, "Ws.SetConfig", {"enable": True, "server": elsewhere})
        configure(device, "Mqtt.SetConfig", {"enable": True, "server": "127.0.0.1:1"})
        before = settings(device)
        for via, other in (("websocket", elsewhere), ("mqtt", "127.0.0.1:1")):
            code, printed = run(edge, "adopt", address(device), "--via", via)
            assert code == 1
            assert other in printed
            assert "--replace" in printed
            assert settings(device) == before
            report = adopt(edge, device, "--via", via, "--replace")
            assert report["changes"][0]["before"].startswith(other)
            assert report["verified_seconds"] is not None
            before = settings(device)


def test_webhooks_of_others_stay(tmp_path: Path) -> None:
    with (
        SimulatedShelly(tmp_path, "plus1pm", options=["--speed", "60"]) as shelly,
        daemon(tmp_path) as edge,
    ):
        device = shelly["plus1pm"]
        theirs = {"cid": 0, "enable": True, "event": "switch.on", "name": "door", "urls": ["http://127.0.0.1:1/x"]}
        body = json.dumps(theirs).encode()
        request = urllib.request.Request(f"{device.url}/rpc/Webhook.Create", body)  # noqa: S310 - http on loopback
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
        (before,) = ask(device, "Webhook.List")["hooks"]
        adopt(edge, device, "--via", "webhook")
        hooks = ask(device, "Webhook.List")["hooks"]
        assert hooks[0] == before
        assert len(hooks) == 5


def test_a_device_with_too_many_requests_is_waited_for(tmp_path: Path) -> None:
    """Firmware 2 answers 429 to whoever asks fast."""
    options = ["--speed", "60", "--rate-limit", "2"]
    with (
        SimulatedShelly(tmp_path, "plus1pm", firmware=2, options=options) as shelly,
        daemon(tmp_path) as edge,
    ):
        device = shelly["plus1pm"]
        assert adopt(edge, device, "--via", "webhook")["verified_seconds"] is not None
        assert device.state()["throttled"] > 0
        wait_until(lambda: recorded(edge, device), what="a reading in the journal")


def test_no_reading_is_a_failure_that_says_why(tmp_path: Path) -> None:
    """The device is told a place where nobody listens."""
    with SimulatedShelly(tmp_path, "plus1pm") as shelly, daemon(tmp_path) as edge:
        device = shelly["plus1pm"]
        code, printed = run(edge, "adopt", address(device), "--server", f"127.0.0.1:{free_port()}", "--wait", "5")
        assert code == 1
        assert "NO READING CAME" in printed
        assert "cannot connect" in printed


def test_what_cannot_be_adopted_is_refused_in_words(tmp_path: Path) -> None:
    """Nobody there, the internet, the first generation, a daemon without a server."""
    with SimulatedShelly(tmp_path, "gen1", "pro3em") as shelly, daemon(tmp_path) as edge:
        gen1, meter = shelly["gen1"], shelly["pro3em"]
        for arguments, reason in (
            ((f"127.0.0.1:{free_port()}",), "does not answer"),
            (("192.0.2.1",), "outside of the local network"),
            (("http://127.0.0.1",), "is no address"),
            ((address(gen1),), "[[shelly]]"),
            ((address(meter), "--via", "webhook"), "--via websocket"),
            ((address(meter), "--via", "mqtt"), "[[mqtt]]"),
        ):
            code, printed = run(edge, "adopt", *arguments)
            assert (code, reason in printed) == (1, True), printed
        assert adopt(edge, meter)["verified_seconds"] is not None
        wait_until(lambda: recorded(edge, meter), what="a reading of the meter")
