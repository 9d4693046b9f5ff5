"""/message over HTTP: what of a message is recorded, once, and what is only live."""

from __future__ import annotations

import asyncio
import io
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import orjson
import pytest

from edge_energy.api.message import COUNTERS, MOST_KNOWN, message_application
from edge_energy.clock import Clock
from edge_energy.collector import Collector
from edge_energy.config import Tuya, TuyaCode
from edge_energy.devices.tuya_seen import PREFIX
from edge_energy.increments import PREFIX as INCREMENTS_PREFIX
from edge_energy.increments import Increments
from edge_energy.journal.reader import Reader
from edge_energy.live import Live
from edge_energy.ways import MOST_NAMES, Ways
from tests.fuzz_corpus.hostile import PAYLOADS
from tests.unit.api.serving import raw, serving
from tests.unit.samples import NOON, SECOND, running_journal
from tests.unit.sources.mqtt.recorder import Disk, Instant, SetClock, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from aiohttp import web

    from edge_energy.interfaces import Recorder

PRODUCT = Tuya(
    product="plugs",
    codes=(
        TuyaCode(code="switch_1", quantity="output"),
        TuyaCode(code="cur_voltage", quantity="voltage", scale=1),
        TuyaCode(code="add_ele", quantity="energy", scale=3, unit="kWh", increment=True),
        TuyaCode(code="phase_a", quantity="phase_a"),
    ),
)
MILLISECONDS = NOON // 10**6


class Bench(NamedTuple):
    """A server with /message, and what is behind it."""

    session: aiohttp.ClientSession
    live: Live
    application: web.Application
    port: int

    async def send(self, message: Any, **more: Any) -> tuple[int, Any]:
        """Return status and answer of a message."""
        async with self.session.post("/message", json=message, **more) as answer:
            return answer.status, orjson.loads(await answer.read() or b"null")


@asynccontextmanager
async def bench(
    recorder: Recorder, clock: Clock | None = None, remembered: Mapping[str, Any] | None = None, **more: Any
) -> AsyncIterator[Bench]:
    live, clock = Live(), clock or SetClock(NOON)
    collector = Collector(recorder, live, clock, Ways(), more.pop("increments", Increments({})))
    application = message_application([PRODUCT], collector, live, clock, remembered or {})
    async with (
        serving(parts={"/message": application}, **more) as server,
        aiohttp.ClientSession(server.url) as session,
    ):
        yield Bench(session, live, application, server.port)


def message(*properties: Any, **data: Any) -> dict[str, Any]:
    return {
        "bizCode": "devicePropertyMessage",
        "bizData": {"devId": "plug", "productId": "plugs", "properties": list(properties), **data},
        "ts": MILLISECONDS,
    }


def prop(code: str, value: Any, time: Any = MILLISECONDS) -> dict[str, Any]:
    return {"code": code, "dpId": 1, "time": time, "value": value}


def inserted(number: int, **more: Any) -> tuple[int, Any]:
    return 200, {"status": "ok", "inserted": number, **more}


def recorded(disk: Disk) -> list[tuple[str, int | None, Any]]:
    return [(entry.device, entry.time, orjson.loads(entry.body)) for entry in disk.entries]


async def asked(disk: Disk, times: int = 1) -> None:
    """Wait until the journal was asked so often."""
    async with asyncio.timeout(10):
        while len(disk.within) < times:
            await turns(1)


async def test_by_default_exactly_power_and_temperature_are_recorded(tmp_path: Path) -> None:
    """Other codes are live only."""
    async with running_journal(tmp_path) as journal:
        now = Clock(lambda: True)
        async with bench(journal, now) as web:
            time, _ = now.now()
            assert time is not None
            at = time // 10**6
            sent = message(
                prop("instant_power", 2500, at),
                prop("temp_interior", 21, at),
                prop("cur_power", 9, at),
                productId="other",
            )
            assert await web.send(sent) == inserted(2)
            entries = await journal.tail(10)
            assert [(entry.device, entry.time, entry.body) for entry in entries] == [
                ("plug", at * 10**6, {"power": 2500, "temperature": 21})
            ]
            assert web.live.devices["plug"].values == {"power": 2500, "temperature": 21, "cur_power": 9}


async def test_a_table_adds_the_codes_of_a_product() -> None:
    disk = Instant()
    async with bench(disk) as web:
        sent = message(prop("switch_1", True), prop("cur_voltage", "2301"), prop("phase_a", "CWkAARgAACo="))
        assert await web.send(sent) == inserted(3)
        legacy = {
            "devId": "old",
            "productKey": "plugs",
            "status": [{"code": "cur_voltage", "value": 2302, "t": MILLISECONDS}],
        }
        assert await web.send(legacy) == inserted(1)
    phase = {"voltage_a": 240.9, "current_a": 0.28, "power_a": 42}
    assert recorded(disk) == [
        ("plug", NOON, {"output": True, "voltage": 230.1, **phase}),
        ("old", NOON, {"voltage": 230.2}),
    ]


async def test_each_property_has_its_own_time() -> None:
    """They can differ by hours; a time that cannot be believed is that of arrival."""
    disk = Instant()
    async with bench(disk) as web:
        sent = message(
            prop("instant_power", 3, None),
            prop("instant_power", 2),
            prop("temp_interior", 20, MILLISECONDS - 3_600_000),
            prop("instant_power", 1, MILLISECONDS - 3_600_000),
        )
        assert await web.send(sent) == inserted(4)
        assert await web.send(message(prop("temp_interior", 21, 5))) == inserted(1)
        assert await web.send(message(prop("temp_interior", 22, MILLISECONDS + 3_600_000))) == inserted(1)
        assert web.live.devices["plug"].values == {"power": 3, "temperature": 22}
    assert recorded(disk) == [
        ("plug", NOON - 3600 * SECOND, {"temperature": 20, "power": 1}),
        ("plug", NOON, {"power": 2}),
        ("plug", NOON, {"power": 3}),
        ("plug", NOON, {"temperature": 21}),
        ("plug", NOON, {"temperature": 22}),
    ]


async def test_a_property_counts_once() -> None:
    """Also twice in one message, in the other protocol, with another value; a stuck clock makes no duplicates."""
    disk = Instant()
    async with bench(disk) as web:
        sent = message(prop("add_ele", 10), prop("add_ele", 10), prop("instant_power", 5), prop("other", 1))
        assert await web.send(sent) == inserted(2)
        assert await web.send(sent) == inserted(0)
        legacy = {
            "devId": "plug",
            "productKey": "plugs",
            "status": [{"code": "add_ele", "value": 11, "t": MILLISECONDS}],
        }
        assert await web.send(legacy) == inserted(0)
        assert await web.send(message(prop("add_ele", 10, MILLISECONDS + 1))) == inserted(1)
        assert await web.send(message(prop("add_ele", 10), devId="other")) == inserted(1)
        for _ in range(2):
            assert await web.send(message(prop("add_ele", 10, 5))) == inserted(1)
        counters = web.application[COUNTERS]
        assert (counters.recorded, counters.duplicates) == (6, 5)
    energies = [(device, values["energy"]) for device, _, values in recorded(disk)]
    assert energies == [("plug", 10), ("plug", 20), ("other", 10), ("plug", 30), ("plug", 40)]


async def test_an_increment_counts_once_though_its_clock_is_ahead() -> None:
    """Which property it is, its own time says also where that cannot be when it was; live is then the arrival."""
    disk, tomorrow = Instant(), MILLISECONDS + 86_400_000
    async with bench(disk) as web:
        sent = message(prop("add_ele", 10, tomorrow), prop("other", 1, tomorrow))
        assert await web.send(sent) == inserted(1)
        assert await web.send(sent) == inserted(0)
        assert await web.send(message(prop("add_ele", 10, tomorrow + 1))) == inserted(1)
        state = web.live.devices["plug"]
        assert (state.values["other"], (state.time or 0) < tomorrow * 10**6) == (1, True)
    assert [values["energy"] for _, _, values in recorded(disk)] == [10, 20]
    assert all((time or 0) < tomorrow * 10**6 for _, time, _ in recorded(disk))


async def test_an_increment_counts_once_though_the_daemon_dies_before_its_answer(tmp_path: Path) -> None:
    """What was taken is written with what it was summed to."""
    sent = message(*(prop("add_ele", 10, MILLISECONDS + number) for number in range(5)))
    for number in (5, 0):
        async with running_journal(tmp_path) as journal:
            state = await journal.query(Reader.state, PREFIX)
            increments = Increments(await journal.query(Reader.state, INCREMENTS_PREFIX))
            async with bench(journal, remembered=state, increments=increments) as web:
                assert await web.send(sent) == inserted(number)
                assert await web.send(sent) == inserted(0)
    async with running_journal(tmp_path) as journal:
        assert [entry.body["energy"] for entry in await journal.tail(10)] == [10, 20, 30, 40, 50]
        assert await journal.query(Reader.state, INCREMENTS_PREFIX) == {f"{INCREMENTS_PREFIX}plug": 50}


@pytest.mark.parametrize("full", ["at once", "at the commit"])
async def test_what_is_not_on_disk_is_answered_503_and_taken_when_sent_again(full: str) -> None:
    disk = Disk()
    sent = message(prop("add_ele", 10), prop("instant_power", 5))
    async with bench(disk) as web:
        disk.full = full == "at once"
        first, repeated = (asyncio.create_task(web.send(sent)) for _ in range(2))
        if not disk.full:
            await asked(disk, 2)
            disk.fail()
        for answer in (first, repeated):
            assert (await answer)[0] == 503
        disk.full = False
        disk.within.clear()
        again = asyncio.create_task(web.send(sent))
        await asked(disk)
        disk.commit()
        assert await again == inserted(2)
        assert recorded(disk) == [("plug", NOON, {"energy": 10, "power": 5, "energy_increment": 10})]


async def test_a_repetition_is_answered_when_the_first_is_on_disk() -> None:
    disk = Disk()
    sent = message(prop("instant_power", 5))
    async with bench(disk) as web:
        answers = [asyncio.create_task(web.send(sent)) for _ in range(2)]
        await asked(disk, 2)
        assert not any(answer.done() for answer in answers)
        disk.commit()
        assert sorted([(await answer)[1]["inserted"] for answer in answers]) == [0, 1]
    assert len(disk.entries) == 1


async def test_a_value_that_cannot_be_is_left_out_and_named() -> None:
    """The others are recorded."""
    disk = Instant()
    async with bench(disk) as web:
        sent = message(prop("cur_voltage", 22110), prop("instant_power", 5), prop("switch_1", "maybe"))
        status, answer = await web.send(sent)
        assert (status, answer["inserted"]) == (200, 1)
        assert [each["code"] for each in answer["rejected"]] == ["cur_voltage", "switch_1"]
        assert "-1000 to 1000 V" in answer["rejected"][0]["reason"]
        assert web.application[COUNTERS].rejected == 2
    assert recorded(disk) == [("plug", NOON, {"power": 5})]


async def test_what_is_late_or_repeated_is_not_live() -> None:
    disk = Instant()
    async with bench(disk) as web:
        await web.send(
            message(prop("a", 1, MILLISECONDS - 61_000), prop("b", 1, MILLISECONDS - 59_000), prop("c", 1, None))
        )
        assert web.live.devices["plug"].values == {"b": 1, "c": 1}
        await web.send(message(prop("b", 2)))
        await web.send(message(prop("b", 1, MILLISECONDS - 59_000)))
        assert web.live.devices["plug"].values == {"b": 2, "c": 1}
    assert not disk.within, "nothing was to be recorded"


async def test_without_a_date_all_is_recorded_and_live() -> None:
    disk = Instant()
    async with bench(disk, SetClock(None)) as web:
        sent = message(prop("instant_power", 5), prop("other", 1))
        assert await web.send(sent) == inserted(1)
        assert await web.send(sent) == inserted(0)
        assert web.live.devices["plug"].values == {"power": 5, "other": 1}
    assert recorded(disk) == [("plug", None, {"power": 5})]


async def test_online_and_offline_are_availability() -> None:
    async with bench(Instant()) as web:
        for kind, available in (
            ("deviceOffline", False),
            ("online", True),
            ("offline", False),
            ("deviceOnline", True),
        ):
            given = (
                {"bizCode": kind, "devId": "plug"}
                if "device" not in kind
                else {"bizCode": kind, "bizData": {"devId": "plug"}}
            )
            assert await web.send(given) == inserted(0)
            assert web.live.devices["plug"].available is available


@pytest.mark.parametrize(
    ("given", "status", "parameter"),
    [
        ({"bizCode": "bindUser", "devId": "plug"}, 422, "bizCode"),
        (message(devId="a b"), 400, None),
        (message(5), 400, None),
        (message(*[prop("instant_power", 1)] * 257), 400, None),
        ({}, 400, None),
        ([], 400, None),
        (5, 400, None),
    ],
)
async def test_what_is_wrong_is_said(given: Any, status: int, parameter: str | None) -> None:
    async with bench(Instant()) as web:
        found, answer = await web.send(given)
        assert found == status
        assert answer["status"] == "error"
        assert answer.get("parameter") == parameter


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("text/json", 200),
        (None, 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/octet-stream", 415),
    ],
)
async def test_a_message_is_json(kind: str | None, status: int) -> None:
    async with bench(Instant()) as web:
        body = orjson.dumps(message(prop("instant_power", 5)))
        head = f"POST /message HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
        head += "" if kind is None else f"Content-Type: {kind}\r\n"
        answer = await raw(web.port, f"{head}\r\n".encode() + body)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_only_post_records(method: str) -> None:
    async with bench(Instant()) as web, web.session.request(method, "/message") as answer:
        assert answer.status == 405


async def test_invented_devices_and_codes_are_bounded() -> None:
    """A house has a hundred devices; who invents more must not fill the memory."""
    async with bench(Instant()) as web:
        for number in range(MOST_NAMES + 1):
            await web.send(message(prop(f"code_{number}", 1, None)))
        assert len(web.live.devices["plug"].values) == MOST_NAMES
        for number in range(MOST_KNOWN - 1):
            web.live.availability(f"d{number}", available=True)
        for given in (message(prop("x", 1), devId="one-more"), {"bizCode": "online", "devId": "one-more"}):
            assert (await web.send(given))[0] == 503
        assert await web.send(message(prop("instant_power", 5))) == inserted(1)


async def test_hostile_bodies_are_refused() -> None:
    """Never answered with 500."""
    async with bench(Instant(), max_body="1MiB") as web:
        for name, body in PAYLOADS.items():
            async with web.session.post(
                "/message", data=io.BytesIO(body), headers={"Content-Type": "application/json"}
            ) as answer:
                assert answer.status in (400, 413), name
