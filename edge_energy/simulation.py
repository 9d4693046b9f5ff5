"""`edge-energy simulate`: a broker, a simulated house and the daemon, in one command."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_energy import client, reports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

START_TIMEOUT = 20.0
REFRESH = 1.0
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LINE_EVERY = 5.0  # seconds between lines where there is no terminal
HTTP_PORT = 8000  # as an appliance has it, unless something else listens there
CHARGING_POST = "shelly-ec6260515763"  # the simulated house has the same devices every time
WEBHOOK = "power=120.5&voltage=230.1&current=0.52&energy=10.2"


class Simulation:
    """Owns the processes and their temporary directory; leaves nothing behind."""

    def __init__(  # noqa: PLR0913 - the command's options
        self,
        *,
        url: str | None,
        token: str | None,
        org: str,
        bucket: str,
        speed: float,
        seed: int,
        duration: float | None,
    ) -> None:
        self._influxdb = None if url is None else {"url": url, "org": org, "bucket": bucket}
        self._token = token
        self._speed = speed
        self._seed = seed
        self._ends = None if duration is None else time.monotonic() + duration
        self._stopping = False
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def run(self) -> int:
        """Run until Ctrl-C, SIGTERM, a closed terminal or the end of the duration; return the exit code."""
        for number in _ENDING:
            signal.signal(number, self._stop)
        with tempfile.TemporaryDirectory(prefix="edge-energy-") as directory:
            try:
                with self._all(Path(directory)) as api:
                    self._show(api)
                    if self._stopping:
                        click.echo("\nStopping.")
            except _Ended as ended:
                click.echo(f"{ended}:\n{_last_lines(Path(directory) / f'{ended.name}.log')}", err=True)
                return 1
        return 0

    def _stop(self, *_: object) -> None:
        # Raises nothing: an exception between the start of a process and its being noted would leave it behind,
        # and a second Ctrl-C would interrupt the clearing up after the first.
        self._stopping = True

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))

    # -- processes

    @contextlib.contextmanager
    def _all(self, directory: Path) -> Iterator[Path]:
        port, shelly, api = _free_port(), _free_port(), directory / "api.sock"
        http = HTTP_PORT if not _accepts(HTTP_PORT) else _free_port()
        try:
            broker = self._start_broker(directory, port)
            protocol = "auto" if broker == "mosquitto" else "3.1.1"
            self._start_daemon(directory, api, _configuration(directory, port, protocol, http, shelly))
            simulator = [
                "-m",
                "simulator",
                "--port",
                str(port),
                "--speed",
                str(self._speed),
                "--seed",
                str(self._seed),
                "--shelly-port",
                str(shelly),
            ]
            self._start("simulator", [sys.executable, *simulator, "--qos", "1"], directory)
            click.echo(
                f"House {self._seed}, {self._speed:g} times as fast; {broker} on 127.0.0.1:{port}; "
                + (
                    f"writing to {self._influxdb['url']}"
                    if self._influxdb
                    else "no database: --influxdb URL --token T"
                )
            )
            click.echo(f"Another terminal: edge-energy status --socket {api}")
            click.echo(f'                  edge-energy switch "borne de recharge" toggle --socket {api}')
            click.echo(f'                  curl "http://localhost:{http}/webhook/?{WEBHOOK}"\nCtrl-C ends it.')
            yield api
        finally:
            for process in reversed(self._processes.values()):
                process.terminate()
            for process in self._processes.values():
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _start_broker(self, directory: Path, port: int) -> str:
        mosquitto = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/opt/homebrew/sbin")
        if mosquitto:
            configuration = directory / "mosquitto.conf"
            settings = ("allow_anonymous true", "persistence false", "set_tcp_nodelay true")
            configuration.write_text("\n".join([f"listener {port} 127.0.0.1", *settings, ""]))
            self._start("broker", [mosquitto, "-c", str(configuration)], directory)
        elif importlib.util.find_spec("amqtt"):
            self._start("broker", [sys.executable, "-m", "edge_energy.embedded_broker", str(port)], directory)
        else:
            raise click.ClickException(
                "No MQTT broker: `apt install mosquitto`, or `pip install 'edge-energy[simulation]'`."
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not self._stopping and not _accepts(port):
            self._look_for_ended()
            if time.monotonic() > deadline:
                raise click.ClickException("the broker did not start")
            time.sleep(0.05)
        return "mosquitto" if mosquitto else "embedded broker"

    def _start_daemon(self, directory: Path, api: Path, lines: list[str]) -> None:
        configuration = directory / "edge-energy.toml"
        if self._influxdb is not None:
            lines = [*lines, "[influxdb]", *(f'{key} = "{value}"' for key, value in self._influxdb.items())]
        configuration.write_text("\n".join(lines) + "\n")
        environment = {} if self._token is None or self._influxdb is None else {"INFLUXDB_TOKEN": self._token}
        command = [sys.executable, "-m", "edge_energy", "run", "--config", str(configuration), "--socket", str(api)]
        self._start("daemon", command, directory, environment)

    def _start(
        self, name: str, command: list[str], directory: Path, environment: dict[str, str] | None = None
    ) -> None:
        # Whoever has an appliance's variables set must not have them change the simulation.
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("EDGE_ENERGY_", "INFLUXDB_", "MQTT_"))
        }
        with (directory / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(  # noqa: S603 - our own programs
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for us; we end them in order
                env={**inherited, **(environment or {})},
            )

    def _look_for_ended(self) -> None:
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise _Ended(name, process.returncode)

    # -- what is shown

    def _show(self, api: Path) -> None:
        if not sys.stdout.isatty():
            self._print_lines(api)
            return
        from rich.live import Live  # noqa: PLC0415

        with Live(refresh_per_second=4) as live:
            for status, devices in self._reports(api, REFRESH):
                live.update(_table(status, devices))

    def _print_lines(self, api: Path) -> None:
        for status, devices in self._reports(api, LINE_EVERY):
            click.echo(_summary(status))
            for device in devices:
                click.echo(f"  {device['name']:<24} {reports.values(device['values'])}")

    def _reports(self, api: Path, every: float) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        deadline = time.monotonic() + START_TIMEOUT
        while not self._stopping and (self._ends is None or time.monotonic() < self._ends):
            self._look_for_ended()
            try:
                yield client.ask(api, "GET", "/status"), client.ask(api, "GET", "/devices")
            except client.NoDaemon:
                if time.monotonic() > deadline:
                    raise
                self._rest(0.1)
                continue
            deadline = time.monotonic() + START_TIMEOUT
            rest = every if self._ends is None else min(every, max(0.0, self._ends - time.monotonic()))
            self._rest(rest)


def _configuration(directory: Path, broker: int, protocol: str, http: int, shelly: int) -> list[str]:
    """Return the lines of the daemon's configuration, with these ports."""
    return [
        "[appliance]",
        'id = "simulation"',
        f'state_dir = "{directory}/state"',
        f'runtime_dir = "{directory}"',
        "[[mqtt]]",
        f"port = {broker}",
        f'protocol = "{protocol}"',  # the embedded broker does not answer MQTT 5 at all
        'commit_interval = "1s"',
        "[[mqtt.sensors]]",
        'topic = "dht11/sensor/data"',
        'device = "dht11"',
        "[http]",
        'host = "127.0.0.1"',
        f"port = {http}",
        "[[shelly]]",
        'host = "127.0.0.1"',
        f"port = {shelly}",
        'poll = "10s"',
        "[[relay]]",
        f'device = "{CHARGING_POST}"',
        'safe_state = "leave"',
    ]


class _Ended(Exception):  # noqa: N818
    """A process that should run has ended."""

    def __init__(self, name: str, code: int) -> None:
        super().__init__(f"the {name} ended with code {code}")
        self.name = name


def _summary(status: dict[str, Any]) -> str:
    journal = status["journal"]
    parts = [f"{journal['entries']} readings in the journal ({reports.size(journal['bytes'])})"]
    for sink in status["sinks"]:
        state = f"{sink['delivered']} delivered, {sink['lag_entries']} waiting"
        parts.append(f"{sink['name']}: {state if sink['connected'] else sink['last_error'] or 'connecting'}")
    unreadable = sum(source.get("unreadable", 0) for source in status["sources"])
    return "; ".join([*parts, f"{unreadable} unreadable messages"])


def _table(status: dict[str, Any], devices: list[dict[str, Any]]) -> RenderableType:
    from rich.table import Table  # noqa: PLC0415

    columns = ("output", "power", "voltage", "current", "energy", "temperature", "humidity")
    table = Table(title="edge_energy", caption=_summary(status), title_style="bold", expand=False)
    table.add_column("device")
    for column in columns:
        table.add_column("on" if column == "output" else column, justify="right")
    for device in devices:
        found = device["values"]
        if found:
            shown = (reports.value(name, found[name]) if name in found else "" for name in columns)
            table.add_row(device["name"], *shown)
    return table


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-10:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
