"""/webhook over HTTP: answered when on disk, which device it is, and what is wrong with a request."""

from __future__ import annotations

import asyncio
import io
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import orjson
import pytest

from edge_energy.api.access import Role
from edge_energy.api.tokens import Tokens
from edge_energy.api.webhook import webhook_application
from edge_energy.clock import Clock
from edge_energy.collector import Collector
from edge_energy.config import Http
from edge_energy.increments import Increments
from edge_energy.interfaces import READING
from edge_energy.live import Live
from edge_energy.reading import Reading
from edge_energy.ways import MOST_DEVICES, MOST_NAMES, Ways
from tests.fuzz_corpus.hostile import PAYLOADS
from tests.unit.api.serving import failed, raw, serving
from tests.unit.samples import NOON, SECOND, running_journal
from tests.unit.sources.mqtt.recorder import Disk, Instant, SetClock, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from edge_energy.api.tokens import Token
    from edge_energy.interfaces import Recorder

HERE = "http-127.0.0.1"
VALUES = {"power": 120.5, "voltage": 230.1, "current": 0.52, "energy": 10.2}
QUERY = "power=120.5&voltage=230.1&current=0.52&energy=10.2"
OK = (200, {"status": "ok", "recorded": 1})
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


class Bench(NamedTuple):
    """A server with /webhook, and what is behind it."""

    session: aiohttp.ClientSession
    live: Live
    collector: Collector
    port: int

    async def send(self, target: str = "", method: str = "GET", **more: Any) -> tuple[int, Any]:
        """Return status and answer of a request; `target` is what follows /webhook."""
        async with self.session.request(method, f"/webhook{target}", **more) as answer:
            return answer.status, orjson.loads(await answer.read() or b"null")


@asynccontextmanager
async def bench(
    recorder: Recorder,
    clock: Clock | None = None,
    check: Callable[[str], Token | None] = lambda _: None,
    **settings: Any,
) -> AsyncIterator[Bench]:
    live = Live()
    collector = Collector(recorder, live, clock or SetClock(NOON), Ways(), Increments({}))
    parts = {"/webhook": webhook_application(Http(**settings), collector, live)}
    async with serving(check, parts=parts, **settings) as server, aiohttp.ClientSession(server.url) as session:
        yield Bench(session, live, collector, server.port)


async def asked(disk: Disk, times: int = 1) -> None:
    """Wait until the journal was asked so often."""
    async with asyncio.timeout(10):
        while len(disk.within) < times:
            await turns(1)


def recorded(disk: Disk) -> list[tuple[str, int | None, Any]]:
    return [(entry.device, entry.time, orjson.loads(entry.body)) for entry in disk.entries]


async def test_what_was_answered_200_is_in_the_journal_as_it_was_sent(tmp_path: Path) -> None:
    """By GET, by JSON and by form."""
    async with running_journal(tmp_path) as journal, bench(journal, Clock(lambda: True)) as web:
        sent = [
            await web.send(f"/?{QUERY}"),
            await web.send("/", "POST", json=VALUES),
            await web.send("", "POST", data=VALUES),
            await web.send("/boiler", "POST", json={"output": True, "temperature": "21.5"}),
        ]
        assert sent == [OK] * 4
        entries = await journal.tail(10)
        assert [entry.body for entry in entries] == [VALUES] * 3 + [{"output": True, "temperature": 21.5}]
        assert [entry.device for entry in entries] == [HERE] * 3 + ["boiler"]
        assert [entry.kind for entry in entries] == [READING] * 4
        assert web.live.devices[HERE].values == VALUES


async def test_200_is_said_after_the_commit_and_live_is_told_before() -> None:
    disk = Disk()
    async with bench(disk) as web:
        answer = asyncio.create_task(web.send(f"?{QUERY}"))
        await asked(disk)
        assert web.live.devices[HERE].values == VALUES
        assert not answer.done()
        assert disk.within == [0.25]
        disk.commit()
        assert await answer == OK


async def test_many_requests_share_a_commit(tmp_path: Path) -> None:
    async with running_journal(tmp_path) as journal, bench(journal) as web:
        before = journal.counters.commits
        answers = await asyncio.gather(*(web.send(f"/plug-{number}?power={number}") for number in range(80)))
        assert answers == [OK] * 80
        assert journal.counters.entries == 80
        assert journal.counters.commits - before <= 3


@pytest.mark.parametrize("full", ["at once", "at the commit"])
@pytest.mark.parametrize("timestamp", ["", f"&timestamp={NOON // SECOND}"], ids=["our time", "its own time"])
async def test_what_is_not_on_disk_is_answered_503_and_recorded_when_sent_again(full: str, timestamp: str) -> None:
    disk = Disk()
    async with bench(disk) as web:
        disk.full = full == "at once"
        answer = asyncio.create_task(web.send(f"?power=5{timestamp}"))
        if not disk.full:
            await asked(disk)
            disk.fail()
        assert failed(await answer, 503) is None
        disk.full = False
        again = asyncio.create_task(web.send(f"?power=5{timestamp}"))
        await asked(disk, 1 if full == "at once" else 2)
        disk.commit()
        assert await again == OK
        assert recorded(disk) == [(HERE, NOON, {"power": 5})]


async def test_503_says_when_to_try_again() -> None:
    disk = Disk()
    disk.full = True
    async with bench(disk) as web, web.session.get(f"/webhook?{QUERY}") as answer:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0


async def test_which_device_it_is() -> None:
    """The path, else `device`, else the configured device of the address, else a Shelly's, else the address."""
    disk = Instant()
    async with bench(disk) as web:
        assert await web.send("/path?power=1&device=parameter") == OK
        assert await web.send("?power=1&device=parameter") == OK
        assert await web.send("", "POST", json={"power": 1, "device": "shellypro1pm-ec62608ab9a4"}) == OK
        assert await web.send("/EC62608AB9A4?power=1") == OK
        assert await web.send("?power=1") == OK
        web.live._at["127.0.0.1"] = "shelly-a1b2c3"  # which only a test would say of this address
        assert await web.send("?power=1") == OK
    devices = ["path", "parameter", "shelly-ec62608ab9a4", "shelly-ec62608ab9a4", HERE, "shelly-a1b2c3"]
    assert [device for device, _, _ in recorded(disk)] == devices


async def test_a_configured_device_is_known_by_its_address_and_its_energy() -> None:
    disk = Instant()
    boiler = {"device": "boiler", "address": "::ffff:127.0.0.1", "energy_unit": "kWh", "energy_kind": "increment"}
    async with bench(disk, devices=[boiler, {"device": "meter", "energy_unit": "Wmin"}]) as web:
        web.live._at["127.0.0.1"] = "shelly-a1b2c3"  # which only a test would say of this address
        for _ in range(2):
            assert await web.send("?energy=0.25") == OK
        assert await web.send("/boiler?energy=0.5") == OK
        assert await web.send("/meter?energy=60") == OK
        assert await web.send("/other?energy=60") == OK
    assert [(device, values["energy"]) for device, _, values in recorded(disk)] == [
        ("boiler", 250),
        ("boiler", 500),
        ("boiler", 1000),
        ("meter", 1),
        ("other", 60),
    ]


async def test_a_timestamp_counts_if_it_can_be_believed() -> None:
    disk = Instant()
    async with bench(disk) as web:
        for text in (NOON // SECOND - 5, (NOON - 6 * SECOND) // 10**6, "2026-09-21T14:13:13Z", 5, "2099-01-01"):
            assert await web.send(f"?power=1&timestamp={text}") == OK
        assert failed(await web.send("?power=1&timestamp=soon")) == "timestamp"
    times = [time for _, time, _ in recorded(disk)]
    assert times == [NOON - 5 * SECOND, NOON - 6 * SECOND, NOON - 7 * SECOND, NOON, NOON]


async def test_what_another_way_has_just_told_is_answered_when_that_is_on_disk() -> None:
    disk = Disk()
    async with bench(disk) as web:
        web.collector.record([Reading("plug", None, {"power": 5.0})], "websocket", 1)
        answer = asyncio.create_task(web.send("/plug?power=5"))
        await asked(disk, 2)
        assert not answer.done()
        disk.commit()
        assert await answer == OK
        assert len(disk.entries) == 1


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("power=abc", "power"),
        ("power=nan", "power"),
        ("power=$%7Bev.apower%7D&voltage=230", "power"),
        ("voltage=null", "voltage"),
        ("voltage=1e9", "voltage"),
        ("power=", "power"),
        ("power=12,5", "power"),
        ("power=1&power=2", "power"),
        ("power=1&device=a%20b", "device"),
        ("", None),
    ],
)
async def test_400_names_the_parameter(query: str, parameter: str | None) -> None:
    disk = Instant()
    async with bench(disk) as web:
        assert failed(await web.send(f"?{query}")) == parameter
        if query:
            assert failed(await web.send("", "POST", data=query, headers={"Content-Type": FORM})) == parameter
    assert not disk.entries


async def test_a_path_that_is_no_id_is_refused() -> None:
    async with bench(Instant()) as web:
        for name in ("a%20b", "%00", "a%2Fb", "%FF", "x" * 65, "-a", "$x"):
            assert failed(await web.send(f"/{name}?power=1")) == "device"
        for name in ("$%7Bx%7D", "a/"):
            assert failed(await web.send(f"/{name}?power=1"), 404) is None


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        (JSON, b'{"power":5}', 200),
        ("application/json; charset=utf-8", b' {"power":5} ', 200),
        ("Text/JSON", b'{"power":5}', 200),
        (FORM, b"power=5", 200),
        (f"{FORM}; charset=utf-8", b"power=5\r\n", 200),
        (FORM, b'{"power":5}', 200),  # curl -d '{"power":5}'
        (None, b'{"power":5}', 200),
        (None, b"power=5", 200),
        ("text/plain", b"power=5", 415),
        ("multipart/form-data; boundary=x", b"--x--", 415),
        ("application/octet-stream", b'{"power":5}', 415),
        ("", b"power=5", 415),
        (JSON, b"power=5", 400),
        (JSON, b"[5]", 400),
        (JSON, b'{"power":NaN}', 400),
        (JSON, b'{"power":' + b"[" * 5_000, 400),
        (JSON, b"\xff\xfe", 400),
        (FORM, b"\xff\xfe=\xff&power=%ff", 400),
        (FORM, b"&".join([b"power=5"] * 65), 400),
    ],
)
async def test_what_a_body_may_be(kind: str | None, body: bytes, status: int) -> None:
    async with bench(Instant()) as web:
        head = f"POST /webhook HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
        head += "" if kind is None else f"Content-Type: {kind}\r\n"
        answer = await raw(web.port, f"{head}\r\n".encode() + body)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer


async def test_query_and_body_are_one() -> None:
    disk = Instant()
    async with bench(disk) as web:
        assert await web.send("?power=5&device=a", "POST", json={"voltage": 230}) == OK
        assert failed(await web.send("?power=5", "POST", json={"power": 6})) == "power"
    assert recorded(disk) == [("a", NOON, {"power": 5, "voltage": 230})]


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_only_get_and_post_record(method: str) -> None:
    """A HEAD, which browsers and monitors send unasked, records nothing."""
    disk = Instant()
    async with bench(disk) as web:
        for path in ("", "/", "/plug"):
            assert (await web.send(f"{path}?power=5", method))[0] == 405
    assert not disk.entries


async def test_a_body_too_large_is_refused() -> None:
    async with bench(Instant(), max_body="1KiB") as web:
        assert (await web.send("", "POST", json={"power": 1, "x": "x" * 2000}))[0] == 413


async def test_with_webhook_auth_a_token_of_a_device_is_needed(tmp_path: Path) -> None:
    """In the header or as a parameter, which is never recorded."""
    async with running_journal(tmp_path) as journal:
        tokens = Tokens(journal, Clock(lambda: True))
        await tokens.load()
        device, viewer = await tokens.create(Role.DEVICE), await tokens.create(Role.VIEWER)
        disk = Instant()
        async with bench(disk, check=tokens.check, webhook_auth=True) as web:
            assert (await web.send("?power=5"))[0] == 401
            assert (await web.send(f"?power=5&token={viewer}"))[0] == 403
            assert await web.send(f"?power=5&token={device}") == OK
            assert await web.send("?power=6", headers={"Authorization": f"Bearer {device}"}) == OK
        assert [values for _, _, values in recorded(disk)] == [{"power": 5}, {"power": 6}]


async def test_invented_devices_are_bounded() -> None:
    disk = Instant()
    async with bench(disk) as web:
        for number in range(MOST_DEVICES):
            web.collector.record([Reading(f"d{number}", None, {"power": 1.0})], "webhook", 0.25)
        assert failed(await web.send("/one-more?power=1"), 503) is None
        assert await web.send("/d7?power=2") == OK


async def test_invented_names_are_bounded() -> None:
    disk = Instant()
    async with bench(disk) as web:
        for first in range(0, MOST_NAMES, 64):
            assert await web.send("/plug", "POST", json={f"n{first + number}": 1 for number in range(64)}) == OK
        assert failed(await web.send("/plug?n0=2&power=1")) == "power"
        assert await web.send("/plug?n0=2") == OK
        assert await web.send("/other?power=1") == OK
        assert len(web.live.devices["plug"].values) == MOST_NAMES


async def test_hostile_bodies_are_recorded_or_refused() -> None:
    """Never answered with 500."""
    async with bench(Instant(), max_body="1MiB") as web:
        for kind in (JSON, FORM):
            for name, body in PAYLOADS.items():
                status, _ = await web.send("", "POST", data=io.BytesIO(body), headers={"Content-Type": kind})
                assert status in (200, 400, 413), name


@pytest.mark.parametrize(
    "target",
    [
        b"/webhook?power=%",
        b"/webhook?power=%zz&voltage=1",
        b"/webhook?\xff\xfe=1&power=2",
        b"/webhook?&&&===&",
        b"/webhook?power=1&power[]=2&power.x=3",
        b"/webhook/%ff?power=1",
        b"/webhook/../webhook?power=1",
        b"//webhook?power=1",
        b"/webhook/a/b?power=1",
        b"/webhook?" + b"a=1&" * 1000,
        b"/webhook?power=" + b"9" * 4000,
        b"/webhook?timestamp=" + b"9" * 4000 + b"&power=1",
        b"/webhook?power=1#voltage=2",
        b"/webhook?token=%00&power=1&device=%00",
    ],
)
async def test_hostile_targets_are_recorded_or_refused(target: bytes) -> None:
    async with bench(Instant()) as web:
        answer = await raw(web.port, b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert answer[9:12] in (b"200", b"400", b"404"), answer
