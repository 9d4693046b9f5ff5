"""Webhooks: how many a second are answered "on disk", and how soon one is, product and bare server by turns."""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.report import Figure, at_least, at_most
from benchmarks.surroundings import ROOT
from benchmarks.usage import peak_memory, usage
from tests.servers.base import accepts, free_port, wait_until
from tests.servers.daemon import Daemon, influxdb_section
from tests.servers.process import Process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.options import Options
    from benchmarks.surroundings import Surroundings

CONNECTIONS = 500
RATES = (100, 500)
SECONDS = 20
NAME = "webhook"


class Run(NamedTuple):
    """One run of one server: requests a second, CPU seconds per 10,000, peak memory in bytes."""

    rate: float
    cpu: float
    memory: float


def measure(around: Surroundings, options: Options) -> Iterator[Figure]:
    """Measure as many as there can be, then the latency at two rates."""
    count = options.messages // 10
    bare, product = [], []
    for number in range(1, options.rounds + 1):
        bare.append(_run(around, *_bare(around), count))
        product.append(_run(around, *_product(around), count))
        around.say(
            f"{NAME}, round {number}/{options.rounds}: bare {bare[-1].rate:,.0f}/s {bare[-1].cpu:.2f} CPU s, "
            f"product {product[-1].rate:,.0f}/s {product[-1].cpu:.2f} CPU s {product[-1].memory / 1e6:.0f} MB"
        )
    pairs = list(zip(product, bare, strict=True))
    yield Figure(NAME, "bare server, requests/s", f"{median(run.rate for run in bare):,.0f}")
    yield Figure(NAME, "product, requests/s", f"{median(run.rate for run in product):,.0f}")
    yield at_least(NAME, "product / bare", median(a.rate / b.rate for a, b in pairs), 0.5, "{:.2f}")
    yield Figure(NAME, "bare server, CPU s per 10,000", f"{median(run.cpu for run in bare):.2f}")
    yield Figure(NAME, "product, CPU s per 10,000", f"{median(run.cpu for run in product):.2f}")
    yield Figure(NAME, "product, peak RSS, MB", f"{max(run.memory for run in product) / 1e6:.0f}")
    for rate in RATES:
        yield from _latency(around, rate, 2 if options.quick else SECONDS)


def _latency(around: Surroundings, rate: int, seconds: int) -> Iterator[Figure]:
    name = f"{NAME}, {rate}/s for {seconds} s"
    port, daemon = _product(around)
    with daemon:
        before = usage(daemon.pid, around.directory)
        answer = _send(port, rate * seconds, rate)
        used = usage(daemon.pid, around.directory).since(before)
    around.say(f"{name}: p50 {answer['p50']:.0f} ms, p99 {answer['p99']:.0f} ms")
    yield Figure(name, "answer p50, ms", f"{answer['p50']:.0f}")
    yield at_most(name, "answer p99, ms", answer["p99"], 500)
    yield Figure(name, "CPU, %", f"{used.cpu / answer['seconds'] * 100:.1f}")


def _run(around: Surroundings, port: int, program: Process, count: int) -> Run:
    with program:
        before = usage(program.pid, around.directory)
        answer = _send(port, count)
        if isinstance(program, Daemon):
            wait_until(lambda: around.influxdb.count("seq") == count, 60, "every webhook in the database")
        used = usage(program.pid, around.directory).since(before)
        return Run(count / answer["seconds"], used.cpu / count * 1e4, peak_memory(program.pid))


def _product(around: Surroundings) -> tuple[int, Daemon]:
    """Return the product, not started, that lets one address send as much as it can."""
    port, influxdb = free_port(), around.influxdb
    influxdb.fresh_bucket()
    http = f'[http]\nhost = "127.0.0.1"\nport = {port}\nrate_limit = 100000\n'
    configuration = http + influxdb_section(influxdb.url, influxdb.bucket, influxdb.token)
    daemon = Daemon(around.fresh_directory(), configuration, environment=around.python())
    return port, daemon


def _bare(around: Surroundings) -> tuple[int, Process]:
    port, directory = free_port(), around.fresh_directory()
    arguments = [sys.executable, "-m", "benchmarks.bare_server", "--port", str(port)]
    arguments += ["--database", str(directory / "messages.db")]
    return port, Process(arguments, directory, lambda: accepts(port), around.python())


def _send(port: int, count: int, rate: float | None = None) -> dict[str, float]:
    arguments = [sys.executable, "-m", "benchmarks.hooks", "--port", str(port), "--count", str(count)]
    arguments += ["--connections", str(CONNECTIONS)]
    if rate is not None:
        arguments += ["--rate", str(rate)]
    wait_until(lambda: accepts(port), 10, "the server")
    answer: dict[str, float] = json.loads(
        subprocess.run(arguments, check=True, cwd=ROOT, stdout=subprocess.PIPE).stdout
    )
    return answer
