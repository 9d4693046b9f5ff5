"""Durable throughput: from the first publication to the last confirmation of InfluxDB, product and loop by turns."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.report import Figure, at_least, at_most
from benchmarks.usage import peak_memory, usage
from tests.servers.slow_fsync import slow_fsync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from benchmarks.options import Options
    from benchmarks.surroundings import Surroundings
    from tests.servers.process import Process

# Messages behind the last one that counts: the end of the load waits for commit_interval and batch_age, which say
# nothing of speed. More than a commit and a batch hold, and a multiple of the loop's 1,000.
TAIL = 10_000
SLOWER = 20  # milliseconds


class Run(NamedTuple):
    """One run of one program."""

    rate: float
    """Messages a second."""
    cpu: float
    """Seconds per 10,000 messages."""
    memory: float
    """Peak, bytes."""
    written: float
    """Bytes per message."""
    device: float
    """Bytes per message that the device wrote; NaN where nobody knows."""


def run(around: Surroundings, program: Process, count: int) -> Run:
    """Measure one program; it must be new, and so must its bucket."""
    total = count + TAIL
    with around.load(total) as load, program:
        around.wait_connected(program)
        before = usage(program.pid, around.directory)
        begun = load.go()
        ended = around.wait_confirmed(count - 1)
        around.wait_count(total)
        used = usage(program.pid, around.directory).since(before)
        memory = peak_memory(program.pid)
    rate = count / (ended - begun)
    return Run(rate, used.cpu / total * 1e4, memory, used.written / total, used.device / total)


def measure(around: Surroundings, options: Options) -> Iterator[Figure]:
    """Compare product and loop as they are."""
    name = "throughput"
    loops, products = _by_turns(around, options, name, {})
    loop, product, ratio = _middle(loops), _middle(products), _ratio(products, loops)
    yield Figure(name, "bare loop, messages/s", f"{loop.rate:,.0f}")
    yield at_least(name, "product, messages/s", product.rate, 20_000)
    yield at_least(name, "product / loop", ratio(lambda run: run.rate), 0.75, "{:.2f}")
    yield Figure(name, "bare loop, CPU s per 10,000", f"{loop.cpu:.3f}")
    yield Figure(name, "product, CPU s per 10,000", f"{product.cpu:.3f}")
    yield at_most(name, "CPU, product / loop", ratio(lambda run: run.cpu), 1.5, "{:.2f}")
    yield Figure(name, "bare loop, peak RSS, MB", f"{loop.memory / 1e6:.0f}")
    yield at_most(name, "product, peak RSS, MB", product.memory / 1e6, 85)
    yield Figure(name, "bare loop, bytes written per message", f"{loop.written:.0f}")
    yield at_most(name, "product, bytes written per message", product.written, 400)
    yield Figure(name, "device, bytes per message (loop, product)", f"{loop.device:.0f}, {product.device:.0f}")


def measure_slow_disk(around: Surroundings, options: Options) -> Iterator[Figure]:
    """Compare them on a disk that is as slow to sync as an SD card; the loop then commits in a thread."""
    name = f"every sync {SLOWER} ms slower"
    loops, products = _by_turns(around, options, name, slow_fsync(SLOWER))
    yield Figure(name, "bare loop, messages/s", f"{_middle(loops).rate:,.0f}")
    yield Figure(name, "product, messages/s", f"{_middle(products).rate:,.0f}")
    yield at_least(name, "product / loop", _ratio(products, loops)(lambda run: run.rate), 0.75, "{:.2f}")
    yield Figure(name, "product, CPU s per 10,000", f"{_middle(products).cpu:.3f}")
    yield Figure(name, "product, peak RSS, MB", f"{_middle(products).memory / 1e6:.0f}")


def _by_turns(
    around: Surroundings, options: Options, name: str, environment: Mapping[str, str]
) -> tuple[list[Run], list[Run]]:
    loops, products = [], []
    for number in range(1, options.rounds + 1):
        loops.append(run(around, around.bare_loop(environment, commit_thread=bool(environment)), options.messages))
        products.append(run(around, around.appliance(environment=environment), options.messages))
        around.say(
            f"{name}, round {number}/{options.rounds}: loop {loops[-1].rate:,.0f}/s {loops[-1].cpu:.3f} CPU s, "
            f"product {products[-1].rate:,.0f}/s {products[-1].cpu:.3f} CPU s {products[-1].memory / 1e6:.0f} MB"
        )
    return loops, products


def _middle(runs: list[Run]) -> Run:
    """Return the medians; of memory, the most."""
    middle = Run(*(median(column) for column in zip(*runs, strict=True)))
    return middle._replace(memory=max(run.memory for run in runs))


def _ratio(products: list[Run], loops: list[Run]) -> Callable[[Callable[[Run], float]], float]:
    """Return the median of the rounds' ratios: the two runs of a round had the same machine, more or less."""
    return lambda figure: median(figure(a) / figure(b) for a, b in zip(products, loops, strict=True))
