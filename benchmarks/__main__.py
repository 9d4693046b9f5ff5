"""`make bench`: measures, and prints what was measured beside what is wanted. `python -m benchmarks --help`."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks import backlog, forwarding, latency, report, start, throughput, wear, webhook
from benchmarks.load import TOPICS
from benchmarks.options import Options
from benchmarks.surroundings import RECEIVE_MAXIMUM, Surroundings
from tests.servers import mosquitto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.report import Figure

BENCHMARKS: dict[str, Callable[[Surroundings, Options], Iterator[Figure]]] = {
    "throughput": throughput.measure,
    "slow-disk": throughput.measure_slow_disk,
    "backlog": backlog.measure,
    "wear": wear.measure,
    "latency": latency.measure,
    "start": start.measure,
    "webhook": webhook.measure,
    "kafka": forwarding.measure,
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)), metavar="[NAME]...")
@click.option("--quick", is_flag=True, help="Prove that the benchmarks work, in less than a minute.")
@click.option("--record", is_flag=True, help="Put the results into benchmarks/README.md.")
@click.option("--rounds", type=int, help="Rounds of product and loop by turns (default 5).")
@click.option("--messages", type=int, help="Messages in each of these runs (default 200,000).")
@click.option("--waiting", type=int, help="Entries that wait in the journal (default 1,000,000).")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the payloads.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path("/var/tmp"),  # noqa: S108 - only the place: the directory made there is ours alone
    show_default=True,
    help="Where the journals lie: on the device whose writes are to be counted, not in memory.",
)
def main(names: tuple[str, ...], *, quick: bool, record: bool, directory: Path, **numbers: int) -> None:
    """Measure everything, or NAME: throughput, slow-disk, backlog, wear, latency, start, webhook, kafka."""
    options = Options.make(quick=quick, **numbers)
    where = surroundings(directory, options)
    print("\n".join(where), flush=True)
    figures: list[Figure] = []
    began = time.monotonic()
    with Surroundings(directory, options.seed) as around:
        for name in names or BENCHMARKS:
            figures += BENCHMARKS[name](around, options)
    where.append(f"measured in {time.monotonic() - began:.0f} s")
    report.show(figures)
    if record:
        report.record(figures, where)


def surroundings(directory: Path, options: Options) -> list[str]:
    """Return, in words, where and with what was measured."""
    mount = _output("findmnt", "--noheadings", "--output", "FSTYPE", "--target", str(directory))
    broker = _output(str(mosquitto.find()), "-h").partition("\n")[0]
    packages = ", ".join(f"{name} {version(name)}" for name in ("paho-mqtt", "orjson", "aiohttp", "confluent-kafka"))
    return [
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores {_processor()}, Linux {_kernel()}, journal on "
        f"{mount or 'an unknown file system'}, load average {os.getloadavg()[0]:.1f} before",
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {packages}, {broker}, InfluxDB 2.7",
        f"seed {options.seed}; {options.rounds} rounds of {options.messages:,} messages over {TOPICS} topics, QoS 1, "
        "published as fast as the broker takes them",
        "broker: max_queued_messages 0 (no limit), autosave_interval 0, else its defaults; both programs MQTT 5 with "
        f"Receive Maximum {RECEIVE_MAXIMUM}",
    ]


def _output(*arguments: str) -> str:
    """Return what a program prints, or nothing where it is not there."""
    if shutil.which(arguments[0]) is None:
        return ""
    return subprocess.run(arguments, check=False, stdout=subprocess.PIPE, text=True).stdout.strip()


def _kernel() -> str:
    return ".".join(platform.release().split(".")[:2])


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    if sys.platform != "linux":
        sys.exit("the benchmarks read /proc, which only Linux has")
    main()
