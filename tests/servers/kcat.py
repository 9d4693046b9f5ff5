"""kcat: the Kafka client of Debian, which has nothing of ours: what it reads is what the broker holds."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from .base import ServerError, apt_install, find_binary, require

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .kafka import Kafka

NAME = "kcat"


class Record(NamedTuple):
    """One message as the broker holds it; the timestamp in milliseconds since 1970."""

    key: str | None
    headers: dict[str, str]
    payload: bytes
    partition: int
    offset: int
    timestamp: int


def find() -> Path | None:
    """Return the program."""
    return find_binary(NAME)


def make() -> Path:
    """Install Debian's package."""
    if binary := find():
        return binary
    apt_install(NAME)
    return require(sys.modules[__name__])


def read(
    kafka: Kafka, topic: str, count: int | None = None, *, timeout: float = 30, options: Sequence[str] = ()
) -> list[Record]:
    """Return what the topic holds, by partition and offset; with `count`, wait for so many messages first.

    `options` are kcat's own, here as everywhere: another listener (`-b`), a user and password (`-X`).
    """
    until = ["-e"] if count is None else ["-c", str(count)]
    how = ["-C", "-t", topic, "-o", "beginning", "-X", "fetch.wait.max.ms=10", "-J"]
    output = _run(kafka, [*how, *until, *options], timeout=timeout)
    records = [_record(line) for line in output.splitlines()]
    return sorted(records, key=lambda record: (record.partition, record.offset))


def write(
    kafka: Kafka,
    topic: str,
    payload: bytes,
    *,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
) -> None:
    """Send one message, and return when the broker has it."""
    how = ["-P", "-t", topic, *(["-k", key] if key else [])]
    for name, value in (headers or {}).items():
        how += ["-H", f"{name}={value}"]
    file = kafka.directory / "message"
    file.write_bytes(payload)
    _run(kafka, [*how, *options, str(file)])  # a file is one message, whatever is in it


def all_led(kafka: Kafka) -> bool:
    """Whether the broker answers, and leads every partition."""
    try:
        answer = json.loads(_run(kafka, ["-L", "-J", "-m", "2"]))
    except ServerError:
        return False
    leaders = [partition["leader"] for topic in answer["topics"] for partition in topic["partitions"]]
    return bool(answer["brokers"]) and all(leader >= 0 for leader in leaders)


def _run(kafka: Kafka, options: Sequence[str], timeout: float = 30) -> bytes:
    arguments = [str(require(sys.modules[__name__])), "-b", kafka.brokers, *options]
    try:
        ran = subprocess.run(arguments, check=False, capture_output=True, timeout=timeout)
    except subprocess.TimeoutExpired as expired:
        raise ServerError(f"kcat {' '.join(options)}: no end within {timeout:g} s") from expired
    if ran.returncode:
        raise ServerError(f"kcat {' '.join(options)}: {ran.stderr.decode(errors='replace')}")
    return ran.stdout


def _record(line: bytes) -> Record:
    # kcat escapes what JSON wants escaped and leaves every other byte as it is, valid UTF-8 or not.
    message: dict[str, Any] = json.loads(line.decode(errors="surrogateescape"))
    headers = message.get("headers", [])
    return Record(
        message["key"],
        dict(zip(headers[::2], headers[1::2], strict=True)),
        (message["payload"] or "").encode(errors="surrogateescape"),
        message["partition"],
        message["offset"],
        message["ts"],
    )
