"""/send and /relays over HTTP: what is taken, what becomes of it, and that nothing strange gets through."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.api import pending, send
from edge_energy.api.access import Role
from edge_energy.api.answers import BadRequest
from edge_energy.api.switches import asked_duration
from edge_energy.api.tokens import Token
from edge_energy.cloud import command as cloud_command
from edge_energy.errors import Unavailable, UnreadablePayload
from edge_energy.relays import mqtt_command
from edge_energy.relays.command import Origin, Outcome, Verdict
from tests.fuzz_corpus.hostile import PAYLOADS
from tests.unit.api.serving import failed, serving, until
from tests.unit.api.switching import BLOCK, BOILER, REPORT, Controller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

ON = {"device_id": "Boiler", "switch": True}


def check(text: str) -> Token | None:
    """Know one token for each role: its name."""
    return Token("0123abcd", Role(text), "kitchen", b"", None, None) if text in list(Role) else None


class Bench(NamedTuple):
    """A server with /send and /relays, and the controller behind it."""

    session: aiohttp.ClientSession
    controller: Controller

    async def send(self, body: Any = None, query: str = "", **more: Any) -> tuple[int, Any]:
        """Return status and answer of a request."""
        more = more or {"json": body}
        async with self.session.post(f"/send{query}", **more) as answer:
            return answer.status, orjson.loads(await answer.read())


class Publisher:
    """A way to the cloud that takes everything, when it may."""

    def __init__(self) -> None:
        self.published: list[dict[str, Any]] = []
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.error: Exception | None = None
        self.closed = False

    async def close(self) -> None:
        """Note it."""
        self.closed = True

    async def publish(self, body: Mapping[str, Any]) -> str:
        """Take a command."""
        self.published.append(dict(body))
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
        return "7"


@asynccontextmanager
async def bench(role: str | None = "operator", publisher: Publisher | None = None) -> AsyncIterator[Bench]:
    """Serve, and call with the token of this role."""
    controller = Controller()
    parts = {"/send": send.send_application(controller, publisher), "/relays": send.relays_application(controller)}
    headers = {} if role is None else {"Authorization": f"Bearer {role}"}
    async with (
        serving(check, parts=parts) as server,
        aiohttp.ClientSession(server.url, headers=headers) as session,
    ):
        yield Bench(session, controller)
        controller.may_end.set()


async def test_a_command_is_sent_and_its_id_told() -> None:
    """At once: whoever wants to know what becomes of it says so."""
    async with bench() as web:
        web.controller.may_end.clear()
        status, answer = await web.send(ON)
        (command,) = web.controller.carried_out
        assert (status, answer) == (200, {"status": "command sent", "command_id": command.id})
        assert (command.relay, command.on, command.origin, command.for_) == (BOILER, True, Origin.HTTP, None)
        assert command.reason == "asked for with token 0123abcd kitchen"
        assert not command.foreign


@pytest.mark.parametrize(("given_", "seconds"), [(90, 90.0), (0.5, 0.5), ("30m", 1800.0), ("90", 90.0), (None, None)])
async def test_it_may_be_for_a_time(given_: Any, seconds: float | None) -> None:
    async with bench() as web:
        assert (await web.send({**ON, "switch": False, "for": given_}))[0] == 200
        (command,) = web.controller.carried_out
        assert (command.on, command.for_) == (False, seconds)


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        (Verdict.CONFIRMED, 200),
        (Verdict.REFUSED, 409),
        (Verdict.SUPERSEDED, 409),
        (Verdict.FAILED, 502),
        (Verdict.EXPIRED, 504),
    ],
)
async def test_who_waits_gets_the_outcome(verdict: Verdict, status: int) -> None:
    """An error for everything that is not what was wanted, in the shape of every error."""
    async with bench() as web:
        web.controller.outcome = Outcome(verdict, "the reason")
        found, answer = await web.send(ON, "?wait=5")
        assert (found, answer["outcome"], answer["reason"]) == (status, verdict, "the reason")
        assert answer["command_id"] == web.controller.carried_out[0].id
        if status == 200:
            assert answer["status"] == "command sent"
        else:
            assert failed((found, answer), status) is None
    assert set(send.STATUS) == set(Verdict)


async def test_who_waited_in_vain_is_told_that_it_is_not_done_yet() -> None:
    """And can ask again with its id, until it is."""
    async with bench() as web:
        web.controller.may_end.clear()
        named = {**ON, "command_id": "a:1"}
        status, answer = await web.send(named, "?wait=0.01")
        assert (status, answer["status"], answer["outcome"]) == (202, "command sent", "pending")
        asked = asyncio.create_task(web.send(named, "?wait=30"))
        web.controller.may_end.set()
        assert (await asked)[1]["outcome"] == "confirmed"
        assert len(web.controller.carried_out) == 1


async def test_the_same_id_twice_is_executed_once() -> None:
    """While it is at work, and later: the answer is the same."""
    async with bench() as web:
        web.controller.outcome = Outcome(Verdict.REFUSED, "interlock")
        named = {**ON, "command_id": "0123.ABC-x"}
        answers = [await web.send(named, "?wait=5") for _ in range(3)]
        assert answers[0] == answers[1] == answers[2]
        assert answers[0][1]["command_id"] == "0123.ABC-x"
        (command,) = web.controller.carried_out
        assert command.foreign


async def test_an_id_that_is_at_work_cannot_mean_something_else() -> None:
    async with bench() as web:
        web.controller.may_end.clear()
        assert (await web.send({**ON, "command_id": "a"}))[0] == 200
        for other in ({"switch": False}, {"device_id": "Pump"}):
            assert failed(await web.send({**ON, "command_id": "a", **other}), 409) == "command_id"
        assert len(web.controller.carried_out) == 1


async def test_not_too_many_commands_are_at_work() -> None:
    """The next one is told when to come again; one that is known already is no more."""
    async with bench() as web:
        web.controller.may_end.clear()
        for number in range(pending.MOST_PENDING):
            assert (await web.send({**ON, "command_id": f"{number}"}))[0] == 200
        async with web.session.post("/send", json=ON) as answer:
            assert answer.status == 503
        assert failed(await web.send(ON), 503) is None
        assert (await web.send({**ON, "command_id": "7"}))[0] == 200
        assert len(web.controller.carried_out) == pending.MOST_PENDING
        web.controller.may_end.set()
        await until(lambda: all(task.done() for task in web.controller.tasks))
        assert (await web.send(ON))[0] == 200


async def test_a_command_goes_on_when_whoever_waits_goes_away() -> None:
    async with bench() as web:
        web.controller.may_end.clear()
        asking = asyncio.create_task(web.send(ON, "?wait=30"))
        await until(lambda: web.controller.carried_out)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        web.controller.may_end.set()
        assert await web.controller.tasks[0] == Outcome(Verdict.CONFIRMED)


async def test_a_command_that_the_stop_of_the_daemon_ends_is_503() -> None:
    async with bench() as web:
        web.controller.may_end.clear()
        asking = asyncio.create_task(web.send(ON, "?wait=30"))
        await until(lambda: web.controller.carried_out)
        web.controller.tasks[0].cancel()
        assert failed(await asking, 503) is None


async def test_an_unknown_device_is_404_with_what_to_do() -> None:
    """One that is known but has no block gets the block."""
    async with bench() as web:
        answer = await web.send({**ON, "device_id": "Bioler"})
        assert failed(answer, 404) == "device_id"
        assert "edge-energy devices" in answer[1]["error"]
        answer = await web.send({**ON, "device_id": "Plug"})
        assert failed(answer, 404) == "device_id"
        assert BLOCK in answer[1]["error"]
        assert not web.controller.carried_out


THERE = {"device_id": "shelly-0000000000aa", "switch": True}


async def test_what_is_not_here_is_published_where_that_is_wanted() -> None:
    """Under an id, by which a message that comes twice is known; as the inbox of the other one reads it."""
    publisher = Publisher()
    async with bench(publisher=publisher) as web:
        status, answer = await web.send({**THERE, "for": "30m"})
        (body,) = publisher.published
        assert (status, answer) == (200, {"status": "command sent", "command_id": body["command_id"]})
        assert body == {**THERE, "for": 1800.0, "command_id": answer["command_id"]}
        wanted = cloud_command.parse(orjson.dumps(body))
        assert wanted == (THERE["device_id"], True, answer["command_id"], 1800.0, None)
        named = {**THERE, "switch": False, "command_id": "a:1"}
        assert (await web.send(named))[1]["command_id"] == "a:1"
        assert publisher.published[1] == named
        assert not web.controller.carried_out
        assert not publisher.closed
    assert publisher.closed


async def test_what_is_here_is_never_published() -> None:
    """Neither a relay, nor a device that may not be switched."""
    publisher = Publisher()
    async with bench(publisher=publisher) as web:
        assert (await web.send(ON))[0] == 200
        assert failed(await web.send({**ON, "device_id": "Plug"}), 404) == "device_id"
        assert not publisher.published


@pytest.mark.parametrize("name", ["Bioler", "shelly", "Shelly-0000000000aa", "homewizard-1", " shelly-1", "é"])
async def test_what_is_no_id_is_never_published(name: str) -> None:
    """Another house may have something of this name, and nobody would tell of a slip of the finger."""
    publisher = Publisher()
    async with bench(publisher=publisher) as web:
        answer = await web.send({**THERE, "device_id": name})
        assert failed(answer, 404) == "device_id"
        assert "edge-energy devices" in answer[1]["error"]
        for there in ("shelly-ec62608ab9a4_1", "zigbee-0x70ac08fffe5d1a2c"):
            assert (await web.send({**THERE, "device_id": there}))[0] == 200
        assert len(publisher.published) == 2


async def test_who_waits_for_what_is_not_here_is_told_who_knows() -> None:
    async with bench(publisher=Publisher()) as web:
        status, answer = await web.send(THERE, "?wait=5")
        assert (status, answer["status"], answer["outcome"]) == (202, "command sent", "pending")
        assert "the appliance that has it" in answer["reason"]


async def test_sent_is_only_what_was_accepted() -> None:
    """Nothing is answered before; and then what the cloud said, and when to try again."""
    publisher = Publisher()
    async with bench(publisher=publisher) as web:
        publisher.may_end.clear()
        asking = asyncio.create_task(web.send(THERE))
        await until(lambda: publisher.published)
        done, _ = await asyncio.wait([asking], timeout=0.05)
        assert not done
        publisher.may_end.set()
        assert (await asking)[0] == 200
        for error, seconds in ((Unavailable("no topic"), "5"), (Unavailable("busy", 7.5), "8")):
            publisher.error = error
            async with web.session.post("/send", json=THERE) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, seconds)
                assert str(error) in (await answer.json())["error"]


async def test_what_may_be_published_can_be_sent_again_under_its_id() -> None:
    """Whatever went wrong, and whoever chose the id: by it the other appliance knows what it has carried out."""
    publisher = Publisher()
    publisher.error = Unavailable("nobody knows")
    async with bench(publisher=publisher) as web:
        for sent in (THERE, {**THERE, "command_id": "a:1"}):
            answer = await web.send(sent)
            assert failed(answer, 503) is None
            assert answer[1]["command_id"] == publisher.published[-1]["command_id"]
        again = await web.send({**THERE, "command_id": publisher.published[0]["command_id"]})
        assert failed(again, 503) is None
        assert publisher.published[2] == publisher.published[0]
        assert publisher.published[1]["command_id"] == "a:1"


async def test_the_same_id_is_published_once_while_it_is_at_work() -> None:
    """Whoever repeats gets the same answer; another command under this id is refused."""
    publisher = Publisher()
    async with bench(publisher=publisher) as web:
        publisher.may_end.clear()
        named = {**THERE, "command_id": "a"}
        asking = [asyncio.create_task(web.send(named)) for _ in range(3)]
        await until(lambda: publisher.published)
        assert failed(await web.send({**named, "switch": False}), 409) == "command_id"
        publisher.may_end.set()
        assert {(await each)[0] for each in asking} == {200}
        assert len(publisher.published) == 1


async def test_what_is_being_published_has_a_limit_and_goes_on_without_whoever_asked() -> None:
    publisher = Publisher()
    async with bench(publisher=publisher) as web:
        publisher.may_end.clear()
        asking = [asyncio.create_task(web.send(THERE)) for _ in range(pending.MOST_PENDING)]
        await until(lambda: len(publisher.published) == pending.MOST_PENDING)
        assert failed(await web.send(THERE), 503) is None
        for each in asking[1:]:
            each.cancel()
        publisher.may_end.set()
        assert (await asking[0])[0] == 200
        assert (await web.send(THERE))[0] == 200


WRONG: dict[str, list[Any]] = {
    "switch": ["true", "on", "ON", 1, 0, 1.0, None, [], {}, [True]],
    "device_id": ["", 5, None, True, ["Boiler"], {}, "x" * 129],
    "for": [0, -1, 0.05, "0s", "soon", "", True, [], {}, 1e300, 10**30, "1e9d", "366d", "9" * 5000],
    "command_id": ["", "x" * 65, "a b", "a\n", "é", "a/b", 5, None, True, [], {}],
    "command": ["x"],
    "Switch": [True],
    "expires": [5],
    "x" * 500: [1],
}


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({}, "device_id"),
        ({"switch": True}, "device_id"),
        ({"device_id": "Boiler"}, "switch"),
        *[({**ON, parameter: value}, parameter) for parameter, values in WRONG.items() for value in values],
    ],
)
async def test_a_body_that_says_something_else_switches_nothing(body: Any, parameter: str) -> None:
    """Nor is it published."""
    publisher = Publisher()
    async with bench(publisher=publisher) as web:
        assert failed(await web.send(body)) == parameter
        if "device_id" in body and parameter != "device_id":
            assert failed(await web.send({**body, "device_id": THERE["device_id"]})) == parameter
        assert not publisher.published
        assert not web.controller.carried_out


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  \n",
        b"null",
        b"true",
        b"[]",
        b'[{"device_id": "Boiler", "switch": true}]',
        b'"Boiler"',
        b"{",
        b'{"device_id": "Boiler", "switch": true',
        b'{"device_id": "Boiler", "switch": true}}',
        b'{"device_id": "Boiler", "switch": True}',
        b'{"device_id": "Boiler", "switch": NaN}',
        b'{"device_id": "Boiler", "switch": true, "for": NaN}',
        b'{"device_id": "Boiler", "switch": true, "for": Infinity}',
        b'{"device_id": "Boiler", "switch": true, "for": 1e999}',
        b'{"device_id": "\\ud800", "switch": true}',
        b'\xef\xbb\xbf{"device_id": "Boiler", "switch": true}',
        b'{"device_id": "Boiler\xff", "switch": true}',
        '{"device_id": "Boiler", "switch": true}'.encode("utf-16"),
        b'{"device_id": ' + b"[" * 30_000 + b"]" * 30_000 + b', "switch": true}',
        b"device_id=Boiler&switch=true",
        *PAYLOADS,
    ],
)
async def test_a_body_that_is_none_switches_nothing(body: bytes) -> None:
    async with bench() as web:
        status, answer = await web.send(data=body, headers={"Content-Type": "application/json"})
        assert status in (400, 413)
        assert answer["status"] == "error"
        assert not web.controller.carried_out


async def test_too_much_is_413() -> None:
    async with bench() as web:
        assert (await web.send({**ON, "device_id": "x" * 70_000}))[0] == 413
        assert not web.controller.carried_out


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"])
async def test_only_json_is_read(kind: str) -> None:
    """What a form on a stranger's page can send is not."""
    async with bench() as web:
        body = orjson.dumps(ON)
        assert failed(await web.send(data=body, headers={"Content-Type": kind}), 415) == "Content-Type"
        assert not web.controller.carried_out


@pytest.mark.parametrize("wait", ["0", "-1", "31", "30.1", "nan", "inf", "", "5s", "%00", "1e400"])
async def test_a_wait_has_limits(wait: str) -> None:
    async with bench() as web:
        assert failed(await web.send(ON, f"?wait={wait}")) == "wait"
        assert failed(await web.send(ON, "?wiat=5")) == "wiat"
        assert not web.controller.carried_out


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "PATCH"])
async def test_only_post_switches(method: str) -> None:
    async with bench() as web:
        async with web.session.request(method, "/send", json=ON) as answer:
            assert answer.status == 405
        async with web.session.post("/send/", json=ON) as answer:
            assert answer.status == 404
        assert not web.controller.carried_out


@pytest.mark.parametrize(
    ("token", "status"),
    [(None, 401), ("wrong", 401), ("device", 403), ("viewer", 403), ("operator", 200), ("admin", 200)],
)
async def test_who_may_switch(token: str | None, status: int) -> None:
    """Nobody without a token of this role, and never by a token in the address."""
    async with bench(token) as web:
        assert (await web.send(ON))[0] == status
        assert len(web.controller.carried_out) == (status == 200)
    async with bench(None) as web:
        for name in ("token", "access_token"):
            assert (await web.send(ON, f"?{name}={token}"))[0] == 401
        assert not web.controller.carried_out


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_pages_of_strangers_may_not_switch(headers: dict[str, str]) -> None:
    """Even with a token that the browser has."""
    async with bench() as web:
        assert failed(await web.send(json=ON, headers=headers), 403) == next(iter(headers))
        assert not web.controller.carried_out


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("device", 403), ("viewer", 200), ("operator", 200)])
async def test_who_may_look_sees_the_relays(token: str | None, status: int) -> None:
    async with bench(token) as web, web.session.get("/relays") as answer:
        assert answer.status == status
        if status == 200:
            assert await answer.json() == {"status": "ok", "relays": [REPORT]}


@given(st.one_of(st.text(), st.floats(), st.integers(), st.booleans(), st.none(), st.lists(st.integers())))
def test_a_duration_is_a_sensible_number_of_seconds_or_a_refusal(value: Any) -> None:
    with suppress(BadRequest):
        seconds = asked_duration(value)
        assert (seconds is None) == (value is None)
        assert seconds is None or 0.1 <= seconds <= 365 * 86400


ODD = [0.1, "100ms", "365d", 365 * 86400, 0.0999, "99ms", "365d1s", "30m", 0, -1, "soon", True, ""]


@pytest.mark.parametrize("value", ODD)
async def test_it_is_as_over_mqtt(value: Any) -> None:
    """One rule, whichever way a command comes."""
    try:
        over_mqtt = mqtt_command.parse(orjson.dumps({"state": "ON", "for": value})).for_
    except UnreadablePayload:
        over_mqtt = None
    async with bench() as web:
        answer = await web.send({**ON, "for": value})
        if over_mqtt is None:
            assert failed(answer) == "for"
        else:
            assert answer[0] == 200
            assert [command.for_ for command in web.controller.carried_out] == [over_mqtt]
