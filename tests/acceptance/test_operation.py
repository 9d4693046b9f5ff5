"""The daemon as its operator and systemd know it: commands, signals, exit codes, readiness, secrets, simulation."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from tests.conftest import skipped_if_missing
from tests.servers.base import HOST, wait_until
from tests.servers.daemon import ROOT, Daemon, influxdb_section, mqtt_section
from tests.servers.proxy import FaultProxy
from tests.servers.small_disk import small_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers.influxdb import InfluxDB
    from tests.servers.mosquitto import Mosquitto


FAST = 'commit_interval = "100ms"\n'
AWAY = influxdb_section("http://127.0.0.1:1", "energy", "token")
CHANGED = 'why="configuration changed"'


def sensor(name: str) -> str:
    return f'[[mqtt.sensors]]\ntopic = "{name}/data"\ndevice = "{name}"\n'


def edge_energy(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "edge_energy", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def ask(daemon: Daemon, *arguments: str) -> str:
    done = edge_energy(*arguments, "--socket", daemon.socket)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# -- configuration --------------------------------------------------------------------------------------------------

BROKEN = """
[appliance]
id = "two words"
log_levle = "info"
[journal]
max_size = "1 apple"
[[mqtt]]
port = 99999
password = "mqtt-secret"
[influxdb]
url = "not an address"
token = "influx secret"
tokn = "typo-secret"
"""


@pytest.mark.parametrize("command", ["check", "run"])
def test_an_invalid_configuration_is_explained_at_once(tmp_path: Path, command: str) -> None:
    """Every mistake is reported in one go, with file, key, value and what was expected; nothing starts: exit 78."""
    file = tmp_path / "edge-energy.toml"
    file.write_text(BROKEN)
    done = edge_energy(command, "--config", file)
    assert done.returncode == 78
    problems = done.stderr.splitlines()
    keys = ("appliance.id", "appliance.log_levle", "journal.max_size", "mqtt[0].port", "mqtt[0].password")
    for key in (*keys, "influxdb.url", "influxdb.token", "influxdb.tokn"):
        (line,) = [problem for problem in problems if f": {key}" in problem and f": {key}n" not in problem]
        assert line.startswith(f"{file}: ")
    assert "did you mean log_level?" in done.stderr
    assert "secret" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_valid_configuration_is_said_to_be_valid(tmp_path: Path) -> None:
    """An operator who changed the file learns that it can be loaded."""
    file = tmp_path / "edge-energy.toml"
    file.write_text(mqtt_section(1883) + AWAY)
    done = edge_energy("check", "--config", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert "The configuration is valid" in done.stdout


def test_a_new_configuration_is_taken_only_if_it_is_valid(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    """SIGHUP with an invalid file changes nothing and says so; with a valid one, a new sensor is recorded."""
    broker = mosquitto()
    old = mqtt_section(broker.port, FAST + sensor("old"))
    with Daemon(tmp_path, old) as daemon:
        daemon.wait_connected()
        daemon.configure(old + '[influxdb]\nurl = "nonsense"\ntoken = "t"\n')
        daemon._send(signal.SIGHUP)
        wait_until(lambda: "nothing was changed" in daemon.log.read_text(), 20, "the refusal")
        assert "influxdb.url" in daemon.log.read_text()
        broker.publish("old/data", '{"seq": 1}')
        daemon.wait_for(lambda status: status["sources"][0]["recorded"] == 1)
        daemon.configure(mqtt_section(broker.port, FAST + sensor("old") + sensor("new")))
        daemon._send(signal.SIGHUP)
        wait_until(lambda: CHANGED in daemon.log.read_text() and daemon._answers(), 20, "the reload")
        daemon.wait_connected()
        broker.publish("new/data", '{"seq": 2}')
        daemon.wait_for(lambda status: status["sources"][0]["recorded"] == 1)
        daemon.wait_for(lambda status: status["journal"]["newest_position"] >= 5)
        events = [entry["body"].get("event") for entry in daemon.ask("/journal/tail") if entry["kind"] == "appliance"]
        assert events == ["start", "stop", "configuration changed"]
        assert [entry["device"] for entry in daemon.ask("/journal/tail") if entry["kind"] == "reading"] == [
            "old",
            "new",
        ]
        daemon.stop()
        assert daemon.returncode == 0


SECRETS = ("Mqtt-Pa55word", "Influx-T0ken")


def test_secrets_are_never_shown(mosquitto: Callable[..., Mosquitto], influxdb: InfluxDB, tmp_path: Path) -> None:
    """Neither password nor token is in log (debug, with refusals and a traceback), status, output or journal."""
    broker = mosquitto(user="edge", password="another")
    password, token = SECRETS
    login = f'{FAST}username = "edge"\npassword = "{password}"\n{sensor("a")}'
    configuration = mqtt_section(broker.port, login) + influxdb_section(influxdb.url, influxdb.bucket, token)
    nowhere = {"NOTIFY_SOCKET": str(tmp_path / "nowhere"), "EDGE_ENERGY_APPLIANCE__LOG_LEVEL": "debug"}
    with Daemon(tmp_path / "daemon", configuration, environment=nowhere) as daemon:
        daemon.wait_for(lambda status: "username and password" in str(status["sources"][0]["last_error"]))
        daemon.wait_for(lambda status: "[influxdb] token" in str(status["sinks"][0]["last_error"]))
        wait_until(lambda: "Traceback" in daemon.log.read_text(), 20, "a traceback")
        shown = [ask(daemon, *command.split()) for command in ("status", "status --json", "journal tail", "devices")]
        daemon.configure(configuration.replace(password, f"{password} \\u0000").replace(token, f"{token} "))
        daemon._send(signal.SIGHUP)
        wait_until(lambda: "nothing was changed" in daemon.log.read_text(), 20, "the refusal")
        checked = edge_energy("check", "--config", daemon.config)
        assert checked.returncode == 78
        daemon.stop()
        shown += [daemon.log.read_text(), checked.stdout, checked.stderr]
    shown += [file.read_bytes().decode("latin-1") for file in daemon.state.iterdir()]
    for secret in SECRETS:
        assert not [text for text in shown if secret in text]


# -- systemd --------------------------------------------------------------------------------------------------------


class Systemd:
    """The receiving end of sd_notify(3)."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="notify-")
        self.address = str(Path(self._directory.name, "socket"))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._directory.cleanup()

    def receive(self, timeout: float = 20) -> dict[str, str]:
        """Return the next message."""
        assert select.select([self._socket], [], [], timeout)[0], f"nothing was said for {timeout} s"
        text = self._socket.recv(4096).decode()
        return dict(line.split("=", 1) for line in text.splitlines())

    def wait_for(self, name: str, value: str = "", timeout: float = 20) -> dict[str, str]:
        """Return the next message that says this."""
        deadline = time.monotonic() + timeout
        while True:
            message = self.receive(deadline - time.monotonic())
            if value in message.get(name, "\0"):
                return message


@pytest.fixture
def silent_broker() -> Iterator[int]:
    """Yield a port where connections are neither made nor refused, as behind a firewall."""
    with socket.create_server((HOST, 0), backlog=0) as server, contextlib.ExitStack() as stack:
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(server.getsockname())
        yield server.getsockname()[1]


@pytest.mark.alone
def test_ready_at_once_whoever_is_away(silent_broker: int, tmp_path: Path) -> None:
    """READY comes within 1.5 s though neither broker nor database is there; then watchdog and status are fed."""
    seconds = []
    for attempt in range(8):  # until it was once: others may work on this machine too
        with Systemd() as systemd:
            environment = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "600000"}
            configuration = mqtt_section(silent_broker) + AWAY
            began = time.monotonic()
            with Daemon(tmp_path / str(attempt), configuration, environment=environment) as daemon:
                ready = systemd.receive()
                seconds.append(time.monotonic() - began)
                assert ready["READY"] == "1"
                assert ready["STATUS"] == "0/1 sources connected, 0 devices, 0 entries to deliver"
                for _ in range(3):
                    assert systemd.receive(timeout=5)["WATCHDOG"] == "1"
                daemon.stop()
                systemd.wait_for("STOPPING", "1")
        if seconds[-1] <= 1.5:
            return
    raise AssertionError(f"READY after {seconds} s")


@pytest.mark.alone
def test_a_full_disk_is_no_hang(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    """On a full disk the watchdog is fed on, and the status says what is wrong."""
    broker = mosquitto()
    with skipped_if_missing(), small_disk(16) as disk, Systemd() as systemd:
        environment = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "300000"}
        configuration = mqtt_section(broker.port, FAST + sensor("a")) + AWAY
        with Daemon(tmp_path, configuration, state=disk / "state", environment=environment) as daemon:
            systemd.wait_for("READY", "1")
            daemon.wait_connected()
            for seq in range(40):
                with (disk / "filler").open("ab", buffering=0) as filler, contextlib.suppress(OSError):
                    while filler.write(bytes(4096)):
                        pass
                broker.publish("a/data", *(json.dumps({"seq": seq, "x": number}) for number in range(100)))
                with contextlib.suppress(TimeoutError):
                    daemon.wait_for(lambda status: status["journal"]["full"], 0.3)
                    break
            assert "WATCHDOG" in systemd.wait_for("STATUS", "journal FULL")
            for _ in range(3):
                assert systemd.receive(timeout=5)["WATCHDOG"] == "1"
            began = time.monotonic()
            daemon.stop()
            assert time.monotonic() - began < 2
            assert daemon.returncode == 0


@pytest.mark.alone
def test_sigterm_ends_it_at_once_whatever_hangs(
    mosquitto: Callable[..., Mosquitto], influxdb: InfluxDB, silent_broker: int, tmp_path: Path
) -> None:
    """A stop takes less than 2 s and is a success, with a database and a broker that do not answer."""
    broker = mosquitto()
    with FaultProxy(influxdb.port) as proxy:
        brokers = mqtt_section(broker.port, FAST + sensor("a")) + mqtt_section(silent_broker, 'client_id = "other"')
        database = influxdb_section(proxy.url, influxdb.bucket, influxdb.token)
        with Daemon(tmp_path, brokers + database) as daemon:
            proxy.hang()
            daemon.wait_for(lambda status: status["sources"][0]["connected"])
            broker.publish("a/data", '{"seq": 1}')
            wait_until(lambda: proxy.requests > 0, 20, "a request that hangs")
            began = time.monotonic()
            daemon.stop()
            assert time.monotonic() - began < 2
            assert daemon.returncode == 0
            assert "Traceback" not in daemon.log.read_text()


@pytest.mark.alone
def test_a_stop_is_not_forgotten_when_the_broker_goes_away_at_that_moment(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    """A machine that shuts down stops both at once: the lost connection must not hide that the daemon is to end."""
    broker = mosquitto()
    for attempt in range(5):  # it is a race
        with Daemon(tmp_path / str(attempt), mqtt_section(broker.port)) as daemon:
            daemon.wait_connected()
            daemon.pause()  # for both to be news when it goes on
            broker.kill()
            began = time.monotonic()
            daemon.stop(timeout=5)
            assert time.monotonic() - began < 2
            assert daemon.returncode == 0
        broker.start()


# -- commands -------------------------------------------------------------------------------------------------------


def test_the_commands_show_what_the_daemon_does(
    mosquitto: Callable[..., Mosquitto], influxdb: InfluxDB, tmp_path: Path
) -> None:
    """Each command prints what an operator wants to know, for people and for programs."""
    broker = mosquitto()
    database = influxdb_section(influxdb.url, influxdb.bucket, influxdb.token, 'batch_age = "100ms"')
    with Daemon(tmp_path, mqtt_section(broker.port, FAST + sensor("dht11")) + database) as daemon:
        daemon.wait_connected()
        daemon.wait_for(lambda status: not status["sources"][0]["in_backlog"])
        broker.publish("dht11/data", '{"temperature": 25.5, "humidity": 60}', "rubbish")
        wait_until(lambda: influxdb.count("temperature") == 1, 20, "the reading in InfluxDB")
        daemon.wait_delivered()
        status = ask(daemon, "status")
        for words in ("house-1: edge-energy", f"mqtt {HOST}:{broker.port}", "connected", "at QoS 1", "influxdb"):
            assert words in status
        assert "1 unreadable on dht11/data" in status
        report = json.loads(ask(daemon, "status", "--json"))
        (source,), (sink,) = report["sources"], report["sinks"]
        assert (source["recorded"], source["unreadable"], source["received_qos"]["0"]) == (1, 1, 0)
        assert (sink["lag_entries"], sink["connected"], report["journal"]["dropped"]) == (0, True, 0)
        assert "25.5 °C" in ask(daemon, "devices")
        assert json.loads(ask(daemon, "devices", "--json"))[0]["values"] == {"temperature": 25.5, "humidity": 60}
        assert '"temperature": 25.5' in ask(daemon, "journal", "tail", "-n", "5")
        assert "commits since the start" in ask(daemon, "journal", "stats")
        assert "rubbish" in ask(daemon, "journal", "rejections")
        assert ask(daemon, "journal", "retry").startswith("0 entries")
        unknown = edge_energy("journal", "retry", "--sink", "kafka", "--socket", daemon.socket)
        assert unknown.returncode == 1
        assert "influxdb" in unknown.stderr


def test_without_a_daemon_the_commands_say_so(tmp_path: Path) -> None:
    """Exit code 69, and a sentence that says what to do."""
    file = tmp_path / "edge-energy.toml"
    file.write_text(f'[appliance]\nruntime_dir = "{tmp_path}"\n')
    for command in (["status"], ["status", "--json"], ["devices"], ["journal", "tail"], ["journal", "retry"]):
        done = edge_energy(*command, "--config", file)
        assert done.returncode == 69
        assert f"No daemon listens on {tmp_path}/api.sock" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_second_daemon_leaves_the_journal_alone(tmp_path: Path) -> None:
    """Two daemons on one state directory would destroy it: the second explains and exits with 78."""
    with Daemon(tmp_path / "one", "") as one:
        socket_of_another = tmp_path / "s"
        second = edge_energy("run", "--config", one.config, "--socket", socket_of_another)
        assert second.returncode == 78
        assert f"'{one.state}': another daemon is using it" in second.stderr
        assert "Traceback" not in second.stderr
        assert one.status()["journal"]["full"] is False


# -- simulation -----------------------------------------------------------------------------------------------------


class Household:
    """`edge-energy simulate` with a temporary directory of its own, and a mark by which its processes are known."""

    def __init__(self, *arguments: str, program: str = "") -> None:
        self._mark = uuid.uuid4().hex
        self.directory = Path(tempfile.mkdtemp(prefix="sim-"))
        run = ["-c", program] if program else ["-m", "edge_energy"]
        self.process = subprocess.Popen(
            [sys.executable, *run, "simulate", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.directory), "MARK": self._mark},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes():
            os.kill(process, signal.SIGKILL)
        self.process.wait()

    def processes(self) -> list[int]:
        """Return the id of every process that belongs to it."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self._mark.encode() in (process / "environ").read_bytes():
                    found.append(int(process.name))
        return found

    def wait_for_line(self, words: str) -> str:
        """Read lines until one has these words; return it."""
        assert self.process.stdout is not None
        while words not in (line := self.process.stdout.readline()):
            assert line, "it has ended"
        return line

    def end(self, timeout: float = 40) -> tuple[str, str]:
        """Wait for the end, which must be a success that leaves nothing behind; return what was printed."""
        output, errors = self.process.communicate(timeout=timeout)
        assert (self.process.returncode, errors) == (0, "")
        assert self.processes() == []
        assert list(self.directory.iterdir()) == []
        return output, errors


def shows_readings(output: str) -> bool:
    return "°C" in output and " W " in output and "0 unreadable messages" in output


WITHOUT_MOSQUITTO = "import shutil; shutil.which = lambda *_, **__: None; from edge_energy.cli import main; main()"


def test_the_simulation_runs_anywhere_and_leaves_nothing_behind(influxdb: InfluxDB) -> None:
    """On a plain pipe it prints readings, fills a database, ends by itself; without mosquitto it brings a broker."""
    where = ["--influxdb", influxdb.url, "--token", influxdb.token, "--bucket", influxdb.bucket]
    with (
        Household("--duration", "25", *where) as one,
        Household("--duration", "25", program=WITHOUT_MOSQUITTO) as other,
    ):
        output, _ = one.end(timeout=90)
        output_of_other, _ = other.end(timeout=90)
    assert shows_readings(output)
    assert "mosquitto on 127.0.0.1" in output
    assert f"writing to {influxdb.url}" in output
    assert influxdb.token not in output
    points = influxdb.points()
    assert len(points) >= 20
    assert {point["appliance"] for point in points} == {"simulation"}
    assert any(point.get("power") for point in points)
    assert any(point.get("temperature") for point in points)
    assert shows_readings(output_of_other)
    assert "embedded broker on 127.0.0.1" in output_of_other


@pytest.mark.usefixtures("curl")
def test_the_simulation_takes_the_webhook_that_it_prints_and_has_a_charging_post() -> None:
    """What a newcomer copies from the screen works as it is; the charging post is read and switched."""
    with Household("--duration", "150") as household:
        switch = shlex.split(household.wait_for_line("edge-energy switch "))
        switch[0] = str(Path(sys.executable).with_name(switch[0]))
        switched = partial(subprocess.run, switch, check=False, capture_output=True, text=True)
        wait_until(lambda: "confirmed" in switched().stdout, 60, "a confirmed switching")
        command = shlex.split(household.wait_for_line("curl "))
        ask = partial(subprocess.run, [*command, "--silent"], check=False, stdout=subprocess.PIPE)
        answer = wait_until(lambda: ask().stdout, 10, "an answer")
        assert json.loads(answer) == {"status": "ok", "recorded": 1}
        assert "120.5 W" in household.wait_for_line("http-127.0.0.1")
        assert " V " in household.wait_for_line("borne de recharge")
        household.process.send_signal(signal.SIGINT)
        household.end()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_simulation_leaves_nothing_behind(number: signal.Signals) -> None:
    """Ctrl-C (twice, by the impatient), a kill or a closed terminal: no process and no file is left."""
    with Household() as household:
        household.wait_for_line("readings in the journal")
        assert len(household.processes()) >= 4
        household.process.send_signal(number)
        household.process.send_signal(number)
        household.end()


def test_a_simulation_whose_broker_does_not_start_says_so() -> None:
    """Such as where another program has just taken its port: its own last words, and nothing left behind."""
    program = "import shutil; shutil.which = lambda *_, **__: '/bin/false'; from edge_energy.cli import main; main()"
    with Household(program=program) as household:
        _, errors = household.process.communicate(timeout=40)
        assert household.process.returncode == 1
        assert "the broker ended with code 1" in errors
        assert "Traceback" not in errors
        assert household.processes() == []
        assert list(household.directory.iterdir()) == []
