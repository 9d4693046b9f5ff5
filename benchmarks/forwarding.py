"""A long outage of the cloud: how fast Kafka catches up, beside a bare producer; memory with everything on; bytes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import suppress
from statistics import median
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaException, TopicPartition

from benchmarks.report import Figure, at_least, at_most
from benchmarks.surroundings import ROOT
from benchmarks.usage import memory, peak_memory, usage
from edge_energy.config import Kafka as KafkaSettings
from tests.servers.base import wait_until
from tests.servers.daemon import kafka_section, pubsub_section
from tests.servers.kafka import Kafka
from tests.servers.kafka_proxy import ProduceProxy
from tests.servers.pubsub import TOPICS, Pubsub

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.options import Options
    from benchmarks.surroundings import Load, Surroundings
    from tests.servers.daemon import Daemon

NAME = "kafka"
PARTITIONS = 6
APPLIANCES, DEVICES, MESSAGES_A_DAY = 10_000, 200, 500
DAY = 86_400
PEAK = 8  # times the mean, after a day without the cloud: tests/unit/test_pace.py holds it
MOST_A_PARTITION = 1e6  # bytes/s; a tenth of what one usually takes, so that a consumer catches up as well
COMPRESSION = KafkaSettings(brokers="k:9092").compression


def measure(around: Surroundings, options: Options) -> Iterator[Figure]:
    """Publish while Kafka is away, then bring it back, a bare producer by turns; everything at once; a fleet."""
    with Kafka() as kafka, Pubsub() as pubsub:
        rates, bare, cpus, library = [], [], [], []
        for number in range(1, options.rounds + 1):
            loop = _bare(kafka, options.messages)
            bare.append(loop["rate"])
            library.append(_bare(kafka, options.messages, "--bare")["rate"])
            rate, cpu = _catch_up(around, kafka, options.messages)
            rates.append(rate)
            cpus.append(cpu)
            around.say(
                f"{NAME}, round {number}/{options.rounds}: bare {loop['rate']:,.0f}/s {loop['cpu']:.2f} CPU s, "
                f"product {rate:,.0f}/s {cpu:.2f} CPU s"
            )
        yield Figure(NAME, "bare producer, messages/s", f"{median(bare):,.0f}")
        yield Figure(NAME, "the same without file and reports, messages/s", f"{median(library):,.0f}")
        yield at_least(NAME, "catching up, entries/s", median(rates), 20_000)
        ratios = [product / loop for product, loop in zip(rates, bare, strict=True)]
        yield at_least(NAME, "product / bare", median(ratios), 0.6, "{:.2f}")
        yield Figure(NAME, "catching up, CPU s per 10,000", f"{median(cpus):.3f}")
        peak = _everything(around, kafka, pubsub, options.messages)
        yield at_most(NAME, "peak RSS, InfluxDB, Kafka and Pub/Sub catching up, MB", peak / 1e6, 140)
        yield from _fleet(around, kafka, 30 if options.quick else 60)


def _bare(kafka: Kafka, count: int, *options: str) -> dict[str, float]:
    kafka.fresh_topics(PARTITIONS)
    kafka.stop()
    kafka.start()  # a broker that has just begun is slower: it is one for all
    command = [sys.executable, "-m", "benchmarks.bare_producer", "--brokers", kafka.brokers, "--count", str(count)]
    command += ["--topic", kafka.topics["readings_topic"], "--compression", COMPRESSION, *options]
    ran = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    answer: dict[str, float] = json.loads(ran.stdout)
    return answer


def _catch_up(around: Surroundings, kafka: Kafka, count: int) -> tuple[float, float]:
    """Return entries a second, and CPU seconds per 10,000."""
    kafka.fresh_topics(PARTITIONS)
    daemon = around.appliance(more=kafka_section(kafka.brokers, kafka.topics, "replay_rate = 0"))
    kafka.stop()
    with around.load(count) as load, daemon:
        _record(around, daemon, load, count)
        around.wait_confirmed(count - 1)  # in InfluxDB: it is not to be measured as well
        before = usage(daemon.pid, around.directory)
        kafka.start()
        first, begun = _arrived(kafka, 1)
        _, ended = _arrived(kafka, count)
        used = usage(daemon.pid, around.directory).since(before)
        return (count - first) / (ended - begun), used.cpu / count * 1e4


def _everything(around: Surroundings, kafka: Kafka, pubsub: Pubsub, count: int) -> int:
    """Return the peak memory (bytes) while three sinks catch up at the same time."""
    kafka.fresh_topics(PARTITIONS)
    pubsub.fresh_project(topics=False)
    for topic in TOPICS:  # nobody subscribes: the emulator would keep everything in memory
        pubsub.create_topic(topic)
    tables = kafka_section(kafka.brokers, kafka.topics, "replay_rate = 0")
    tables += pubsub_section(pubsub.project, "replay_rate = 0")
    daemon = around.appliance(more=tables, environment={"PUBSUB_EMULATOR_HOST": pubsub.host})
    for server in (kafka, around.influxdb):
        server.stop()
    pubsub.pause()
    with around.load(count) as load, daemon:
        _record(around, daemon, load, count)
        for server in (kafka, around.influxdb):
            server.start()
        pubsub.resume()
        daemon.wait_delivered(300)
        return peak_memory(daemon.pid)


def _record(around: Surroundings, daemon: Daemon, load: Load, count: int) -> None:
    around.wait_connected(daemon)
    load.go()
    wait_until(lambda: daemon.status()["journal"]["entries"] >= count, 600, "everything in the journal")


def _arrived(kafka: Kafka, count: int) -> tuple[int, float]:
    """Wait until the topic has at least so many messages; return how many, and when that was asked."""
    topic = kafka.topics["readings_topic"]
    consumer = Consumer({"bootstrap.servers": kafka.brokers, "group.id": "benchmark", "log_level": 0})
    try:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            asked = time.monotonic()
            with suppress(KafkaException):  # just started, it does not know yet that it leads them
                parts = (TopicPartition(topic, number) for number in range(PARTITIONS))
                there = sum(consumer.get_watermark_offsets(part, timeout=10)[1] for part in parts)
                if there >= count:
                    return there, asked
            time.sleep(0.02)
    finally:
        consumer.close()
    raise TimeoutError(f"{count} messages did not reach {topic}")


def _fleet(around: Surroundings, kafka: Kafka, seconds: int) -> Iterator[Figure]:
    """Measure what an appliance of 200 devices sends, and say what ten thousand of them are to a cluster."""
    name = f"{APPLIANCES:,} appliances of {DEVICES} devices, {MESSAGES_A_DAY} messages a day each"
    rate = DEVICES * MESSAGES_A_DAY / DAY
    kafka.fresh_topics(1)
    count = max(20, int(seconds * rate))
    with ProduceProxy(kafka) as proxy:
        daemon = around.appliance(more=kafka_section(kafka.proxied_brokers, kafka.topics))
        with around.load(count, rate=rate) as load, daemon:
            around.wait_connected(daemon)
            wait_until(lambda: daemon.status()["sinks"][1]["connected"], 30, "Kafka")
            load.go()
            begun, bytes_before = time.monotonic(), proxy.uploaded
            load.report()
            daemon.wait_delivered()
            each = (proxy.uploaded - bytes_before) / count
            idle = memory(daemon.pid)
            around.say(f"{count} messages in {time.monotonic() - begun:.0f} s, {each:.0f} bytes each")
    mean = APPLIANCES * rate
    yield Figure(name, "mean, messages/s", f"{mean:,.0f}")
    yield Figure(name, "bytes on the line per message, live", f"{each:.0f}")
    yield Figure(name, "at the cluster, GB/day", f"{each * mean * DAY / 1e9:.0f}")
    partitions = -(-PEAK * mean * each // MOST_A_PARTITION)
    yield Figure(name, f"partitions, with 1 MB/s in each at {PEAK} times the mean", f"{partitions:.0f}")
    yield Figure(name, "RSS of one appliance with Kafka, MB", f"{idle / 1e6:.0f}")
