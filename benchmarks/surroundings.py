"""Broker, database, load, the appliance and the bare loop, as processes; and the question whether all has arrived."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from benchmarks.load import device
from edge_energy.config import Mqtt
from tests.servers.daemon import Daemon, influxdb_section, mqtt_section
from tests.servers.influxdb import InfluxDB
from tests.servers.mosquitto import Mosquitto
from tests.servers.process import Process

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[1]
RECEIVE_MAXIMUM = Mqtt().receive_maximum  # of both programs
_POLL = 0.1  # seconds between two questions to the database, each of which takes it 4 ms


class Surroundings:
    """One broker and one database for all benchmarks; `directory` lies where the bytes are to be counted."""

    def __init__(self, parent: Path, seed: int) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="edge-energy-benchmark-", dir=parent))
        # A queue without limit: a benchmark that loses messages measures nothing. No autosave: it would count on the
        # device, and stop the broker for its time.
        self.broker = Mosquitto(max_queued_messages=0, autosave_interval=0)
        self.influxdb = InfluxDB()
        self.seed = seed
        self._stack = ExitStack()
        self._made = 0

    def __enter__(self) -> Self:
        self._stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        try:
            self._compile()
            self._stack.enter_context(self.broker)
            self._stack.enter_context(self.influxdb)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @staticmethod
    def say(text: str) -> None:
        """Tell how far it is, beside the results."""
        print(text, file=sys.stderr, flush=True)

    def fresh_directory(self) -> Path:
        """Return a new directory on the device that is measured."""
        self._made += 1
        made = self.directory / str(self._made)
        made.mkdir()
        return made

    def _compile(self) -> None:
        """Compile the programs' modules: it takes memory and time, and an installation has done it."""
        modules = "edge_energy.cli, edge_energy.app, edge_energy.sinks.influxdb, benchmarks.bare_loop"
        environment = {**os.environ, **self.python()}
        subprocess.run([sys.executable, "-c", f"import {modules}"], check=True, env=environment)

    # -- programs ---------------------------------------------------------------------------------------------

    def python(self, environment: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a Python process: one that finds its modules compiled, as installed ones are."""
        compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(self.directory / "compiled")}
        return {"PYTHONPATH": str(ROOT), **compiled, **(environment or {})}

    def appliance(
        self, *, mqtt: str = "", url: str = "", more: str = "", environment: Mapping[str, str] | None = None
    ) -> Daemon:
        """Return the product, not started: default settings, no journal yet, a new session, an empty bucket."""
        directory = self.fresh_directory()
        influxdb = self.influxdb
        influxdb.fresh_bucket()
        configuration = more + mqtt_section(self.broker.port, f'client_id = "appliance-{self._made}"\n{mqtt}')
        configuration += influxdb_section(url or influxdb.url, influxdb.bucket, influxdb.token)
        return Daemon(directory, configuration, environment=self.python(environment))

    def bare_loop(self, environment: Mapping[str, str] | None = None, *, commit_thread: bool = False) -> Process:
        """Return the yardstick, not started: no database yet, a new session, an empty bucket."""
        directory = self.fresh_directory()
        self.influxdb.fresh_bucket()
        options = {
            "mqtt-port": self.broker.port,
            "client-id": f"bare-loop-{self._made}",
            "receive-maximum": RECEIVE_MAXIMUM,
            "influxdb-port": self.influxdb.port,
            "org": self.influxdb.org,
            "bucket": self.influxdb.bucket,
            "token": self.influxdb.token,
            "database": directory / "messages.db",
        }
        arguments = [sys.executable, "-m", "benchmarks.bare_loop"]
        for name, value in options.items():
            arguments += [f"--{name}", str(value)]
        if commit_thread:
            arguments.append("--commit-thread")
        log = directory / "log"
        return Process(arguments, directory, lambda: "ready" in log.read_text(), self.python(environment))

    @staticmethod
    def wait_connected(program: Process) -> None:
        """Wait until the appliance listens to the broker; the loop does when it is ready."""
        if isinstance(program, Daemon):
            program.wait_connected()

    def load(self, count: int, *, rate: float | None = None) -> Load:
        """Return messages 0 … count - 1 ready to be published."""
        return Load(self.broker.port, count, self.seed, rate)

    # -- what has arrived -------------------------------------------------------------------------------------

    def confirmed(self, number: int) -> bool:
        """Tell whether the database has message `number` (and with it all before: both programs keep the order)."""
        rows = self.influxdb.query(f"{self._sequence(f'r.device =~ /{device(number)}$/')} |> last()")
        return any(row["_value"] >= number for row in rows)

    def wait_confirmed(self, number: int, timeout: float = 600) -> float:
        """Wait until the database has message `number`; return when that was (UTC seconds)."""
        deadline = time.time() + timeout
        while True:
            asked = time.time()
            if self.confirmed(number):
                return asked
            if asked > deadline:
                raise TimeoutError(f"message {number} did not reach the database within {timeout:g} s")
            time.sleep(_POLL)

    def newest(self) -> int:
        """Return the highest number that the database has, -1 for none."""
        rows = self.influxdb.query(f"{self._sequence('true')} |> last() |> group() |> max()")
        return int(rows[0]["_value"]) if rows else -1

    def wait_count(self, count: int, timeout: float = 120) -> None:
        """Wait until the database has exactly that many messages, each a point of its own."""
        deadline = time.time() + timeout
        while (there := self.influxdb.count("seq")) < count and time.time() < deadline:
            time.sleep(_POLL * 3)
        if there != count:
            raise AssertionError(f"{there} messages in the database, {count} were published")

    def _sequence(self, condition: str) -> str:
        return (
            f'from(bucket: "{self.influxdb.bucket}") |> range(start: -1h, stop: 1h) |> filter(fn: (r) => '
            f'r._measurement == "energy" and r._field == "seq" and {condition})'
        )


class Load:
    """Messages encoded and waiting in a process of their own; `go` publishes them."""

    def __init__(self, port: int, count: int, seed: int, rate: float | None) -> None:
        arguments = [sys.executable, "-m", "benchmarks.load", "--port", str(port), "--count", str(count)]
        arguments += ["--seed", str(seed)]
        if rate is not None:
            arguments += ["--rate", str(rate)]
        self._process = subprocess.Popen(
            arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        self._line()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def go(self) -> float:
        """Begin to publish; return when (UTC seconds)."""
        assert self._process.stdin is not None
        begun = time.time()
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return begun

    def report(self) -> dict[str, Any]:
        """Wait until the broker has acknowledged everything; return what it took."""
        answer: dict[str, Any] = json.loads(self._line())
        return answer

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the load generator ended")
        return line
