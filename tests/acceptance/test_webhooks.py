"""What a device was answered 200 for is in the database once, whatever is killed, away or full."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.acceptance.conftest import LONG
from tests.conftest import skipped_if_missing
from tests.servers.base import HOST, accepts, free_port, wait_until
from tests.servers.daemon import Daemon, influxdb_section
from tests.servers.hooks import Hooks, Load, device, latencies, power
from tests.servers.small_disk import fill, small_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers.hooks import Answer
    from tests.servers.influxdb import InfluxDB

pytestmark = pytest.mark.alone

RATE = 500
SEED = 20_261_121
VALUES = {"power": 120.5, "voltage": 230.1, "current": 0.52, "energy": 10.2}
BY_GET = 'curl -sS "http://localhost:8000/webhook/?power=120.5&voltage=230.1&current=0.52&energy=10.2"'
BY_POST = (
    "curl -sS -X POST http://localhost:8000/webhook/ -H 'Content-Type: application/json'"
    ' -d \'{"power":120.5,"voltage":230.1,"current":0.52,"energy":10.2}\''
)
TUYA = """
[[tuya]]
product = "plugs"
[[tuya.codes]]
code = "add_ele"
quantity = "energy"
scale = 3
unit = "kWh"
increment = true
"""


class Home:
    """The daemon with its HTTP server on a port of its own, and the database that it writes to."""

    def __init__(self, directory: Path, influxdb: InfluxDB, more: str = "", state: Path | None = None) -> None:
        self.port = free_port()
        self.influxdb = influxdb
        sections = f'[http]\nhost = "{HOST}"\nport = {self.port}\n{more}\n'
        sections += influxdb_section(influxdb.url, influxdb.bucket, influxdb.token, 'batch_age = "100ms"')
        self.daemon = Daemon(directory, sections, state=state)

    def start(self) -> None:
        """Start, and wait until devices can send."""
        self.daemon.start()
        wait_until(lambda: accepts(self.port), 20, "the HTTP server")

    def points(self) -> list[dict[str, Any]]:
        """Return the points of the load's requests."""
        return self.influxdb.query(
            f'from(bucket: "{self.influxdb.bucket}") |> range(start: 0, stop: 2200-01-01T00:00:00Z)'
            ' |> filter(fn: (r) => r._measurement == "energy" and (r._field == "seq" or r._field == "power"))'
            ' |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")'
        )


@pytest.fixture
def home(influxdb: InfluxDB, tmp_path: Path) -> Iterator[Callable[..., Home]]:
    """Make a home: call it with more of its configuration. It is started."""
    homes: list[Home] = []

    def make(more: str = "", **options: Any) -> Home:
        made = Home(tmp_path / f"home-{len(homes)}", influxdb, more, **options)
        homes.append(made)
        made.start()
        return made

    yield make
    for made in homes:
        made.daemon.stop()
        log = made.daemon.log.read_text(errors="replace")
        assert "Traceback" not in log, log


def check(home: Home, answers: list[Answer]) -> None:
    """Fail unless every request answered 200 is there once, as it was sent, and no other is there twice.

    A request without an answer may be there: its answer was lost, not the request.
    """
    home.daemon.wait_delivered()
    points = home.points()
    found = Counter(int(point["seq"]) for point in points)
    recorded = [answer.seq for answer in answers if answer.status == 200]
    refused = {answer.seq for answer in answers if answer.status not in (0, 200)}
    assert not [seq for seq in recorded if not found[seq]], "lost"
    assert not [seq for seq, times in found.items() if times > 1], "recorded twice"
    assert not found.keys() & refused, "recorded and refused"
    wrong = [p for p in points if (p["device"], p["power"]) != (device(int(p["seq"])), power(int(p["seq"])))]
    assert not wrong


@pytest.mark.usefixtures("curl")
def test_the_curl_of_the_manual_works_as_it_stands(home: Callable[..., Home], tmp_path: Path) -> None:
    """By GET and by POST, from an address that nobody configured."""
    house = home()
    for command in (BY_GET, BY_POST):
        # The port of the test instead of the one that another program may have.
        text = command.replace(":8000", f":{house.port}")
        done = subprocess.run(["bash", "-c", text], check=True, capture_output=True, text=True, cwd=tmp_path)
        assert json.loads(done.stdout) == {"status": "ok", "recorded": 1}
    house.daemon.wait_delivered()
    points = house.influxdb.points()
    assert [{name: point[name] for name in VALUES} for point in points] == [VALUES] * 2
    assert {point["device"] for point in points} == {"http-127.0.0.1"}


def test_at_500_requests_a_second_none_is_lost(home: Callable[..., Home], tell: Callable[[str], None]) -> None:
    """Each is answered when it is on disk."""
    house = home()
    with Hooks(house.port, Load((20 if LONG else 8) * RATE, RATE)) as hooks:
        answers = hooks.wait()
    tell(f"{len(answers)} requests at {RATE}/s: {latencies(answers)}")
    assert {answer.status for answer in answers} == {200}
    check(house, answers)
    assert len(house.points()) == len(answers)


def test_without_the_database_all_is_answered_and_none_is_lost(
    home: Callable[..., Home], tell: Callable[[str], None]
) -> None:
    """The journal answers; the database gets everything when it is back."""
    house = home()
    house.influxdb.kill()
    with Hooks(house.port, Load(5 * RATE, RATE)) as hooks:
        answers = hooks.wait()
    house.influxdb.start()
    tell(f"{len(answers)} requests at {RATE}/s without database: {latencies(answers)}")
    assert {answer.status for answer in answers} == {200}
    check(house, answers)
    assert len(house.points()) == len(answers)


def test_what_was_answered_200_survives_a_kill(home: Callable[..., Home], tell: Callable[[str], None]) -> None:
    """SIGKILL three times in the middle of the load: in the database once what was answered 200."""
    house, chance = home(), random.Random(SEED)
    load = Load(8 * RATE, RATE)
    kills = sorted(chance.sample(range(RATE // 2, load.count - 2 * RATE), 3))
    with Hooks(house.port, load) as hooks:
        for moment in kills:
            hooks.wait_answered(moment)
            house.daemon.kill()
            house.start()
        answers = hooks.wait()
    counts = Counter(answer.status for answer in answers)
    tell(f"{load}, seed {SEED}, killed at {kills}: {counts[200]} answered, {counts[0]} without answer")
    assert counts.keys() == {0, 200}
    assert counts[200] > RATE
    check(house, answers)


def test_a_stop_answers_what_it_has_taken(home: Callable[..., Home], tell: Callable[[str], None]) -> None:
    """Else a device would send again, when the daemon is back, what is recorded already."""
    house = home()
    with Hooks(house.port, Load(3 * RATE, RATE)) as hooks:
        hooks.wait_answered(RATE)
        house.daemon.stop()
        answers = hooks.wait()
    house.start()
    check(house, answers)
    answered = sum(answer.status == 200 for answer in answers)
    tell(f"{answered} of {len(answers)} answered, {len(house.points())} recorded")
    assert len(house.points()) == answered


def fill_until_refused(disk: Path, hooks: Hooks) -> Path:
    """Fill the disk, and what the daemon still finds on it, until it notices."""
    for _ in range(40):
        filler = fill(disk)
        with suppress(TimeoutError):
            wait_until(lambda: any(answer.status == 503 for answer in list(hooks.answers)), 0.25)
            return filler
    raise AssertionError("the disk never became full")


def test_on_a_full_disk_devices_are_told_to_try_again(
    home: Callable[..., Home], influxdb: InfluxDB, tell: Callable[[str], None]
) -> None:
    """503 with Retry-After, nothing of it recorded; 200 again by itself when there is space."""
    with skipped_if_missing(), small_disk(24) as disk:
        house = home(state=disk / "state")
        influxdb.kill()  # what is delivered could be deleted, and make room
        with Hooks(house.port, Load(8 * RATE, RATE)) as hooks:
            hooks.wait_answered(RATE)
            filler = fill_until_refused(disk, hooks)
            hooks.wait_answered(len(hooks.answers) + RATE)
            filler.unlink()
            freed = time.monotonic()
            wait_until(lambda: hooks.answers[-1].status == 200, 10, "an answer of 200")
            tell(f"recorded again {time.monotonic() - freed:.1f} s after there was space")
            answers = hooks.wait()
        influxdb.start()
        counts = Counter(answer.status for answer in answers)
        tell(f"{counts[200]} answered 200, {counts[503]} answered 503")
        assert counts.keys() == {200, 503}
        assert all(int(answer.retry_after or 0) > 0 for answer in answers if answer.status == 503)
        check(house, answers)
        house.daemon.stop()


async def send_until_answered(home: Home, messages: list[dict[str, Any]], kills: tuple[int, ...]) -> list[int]:
    """Send each message again until it is answered 200, many at a time, and kill the daemon after so many answers.

    Return how many of each were recorded when that was said.
    """
    inserted: list[int] = []
    places, answered = asyncio.Semaphore(16), asyncio.Condition()

    async def send(session: aiohttp.ClientSession, message: dict[str, Any]) -> None:
        async with places:
            while True:
                with suppress(aiohttp.ClientError):
                    async with session.post("/message", json=message) as answer:
                        assert answer.status == 200
                        body = await answer.json()
                        break
                await asyncio.sleep(0.05)  # the patience of a bridge
        async with answered:
            inserted.append(body["inserted"])
            answered.notify_all()

    async with aiohttp.ClientSession(f"http://{HOST}:{home.port}") as session, asyncio.TaskGroup() as tasks:
        for message in messages:
            tasks.create_task(send(session, message))
        for count in kills:
            async with answered:
                await answered.wait_for(lambda: len(inserted) >= count)  # noqa: B023 - waited for in the loop
            await asyncio.to_thread(home.daemon.kill)
            await asyncio.to_thread(home.start)
    return inserted


def test_tuya_increments_count_once_though_everything_is_sent_again(
    home: Callable[..., Home], tell: Callable[[str], None]
) -> None:
    """A bridge that repeats every message until it is answered 200, the daemon killed meanwhile."""
    house = home(TUYA)
    now = time.time_ns() // 10**6
    messages = [_message(number, now - 60_000 + number) for number in range(160)]
    inserted = asyncio.run(send_until_answered(house, messages, kills=(40, 100)))
    house.daemon.kill()
    house.start()
    assert asyncio.run(send_until_answered(house, messages[-16:], kills=())) == [0] * 16
    house.daemon.wait_delivered()
    tell(f"{len(messages)} messages; {inserted.count(0)} had been recorded, but their answers were lost")
    energies = [point["energy"] for point in house.influxdb.points() if point.get("energy") is not None]
    assert max(energies) == sum(number % 9 + 1 for number in range(len(messages)))
    assert len(energies) == len(messages)


def _message(number: int, milliseconds: int) -> dict[str, Any]:
    """Return a message that a few Wh were used."""
    properties = [{"code": "add_ele", "dpId": 17, "time": milliseconds, "value": number % 9 + 1}]
    data = {"devId": "6cplug", "productId": "plugs", "properties": properties}
    return {"bizCode": "devicePropertyMessage", "bizData": data, "ts": milliseconds}
