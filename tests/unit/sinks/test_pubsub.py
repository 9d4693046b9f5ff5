"""The Pub/Sub sink's own: requests within the service's limits, order, columns; the rest is in tests/contract."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import grpc
import orjson
import pytest
from google.api_core.exceptions import GoogleAPICallError, InvalidArgument, ServiceUnavailable
from google.pubsub_v1.types import PubsubMessage
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_energy.config import Pubsub as Settings
from edge_energy.errors import Rejected, Unavailable
from edge_energy.interfaces import APPLIANCE, COMMAND, INCIDENT
from edge_energy.messages import Messages
from edge_energy.sinks import pubsub as sinks
from edge_energy.sinks.pubsub import AT_WORK, LONGEST_KEY, MOST_BYTES, MOST_MESSAGES, PubsubSink, requests
from tests.unit.pubsub.service import OK, Service
from tests.unit.samples import NOON, SECOND, entry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.servers.pubsub import Message, Pubsub

HUGE = {"text": "x" * (MOST_BYTES + 1)}


def sink(project: str = "my-project-1", **more: Any) -> PubsubSink:
    found = Settings.model_validate({"project": project, "timeout": "5s"} | more)
    return PubsubSink(found, Messages("house-1", "journal"))


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    async with Service() as running:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", running.host)
        yield running


def positions(request: Any) -> list[int]:
    return [int(message.attributes["ce_id"].rpartition("/")[2]) for message in request.messages]


def bodies(messages: list[Message]) -> list[dict[str, Any]]:
    return [orjson.loads(message.data) for message in messages]


# -- what arrives ----------------------------------------------------------------------------------------------


async def test_a_message_is_a_cloud_event(pubsub: Pubsub) -> None:
    """With the device as ordering key, and all that tells one event from another."""
    async with sink(pubsub.project) as found:
        await found.write([entry(7, time=NOON, body={"power": 1.5, "output": True, "power_a": 2.5})])
    (message,) = pubsub.pull("shelly_data")
    assert orjson.loads(message.data) == {
        "device": "plug",
        "timestamp": "2026-09-21T14:13:20.000Z",
        "power": 1.5,
        "output": True,
        "power_a": 2.5,
        "more": '{"power_a":2.5}',
    }
    assert message.ordering_key == "plug"
    assert message.attributes == {
        "ce_specversion": "1.0",
        "ce_id": "journal/7",
        "ce_source": "/edge-energy/house-1",
        "ce_type": "edge_energy.reading",
        "ce_time": "2026-09-21T14:13:20.000Z",
        "content-type": "application/json",
    }


async def test_each_kind_has_its_topic(pubsub: Pubsub) -> None:
    """A kind of tomorrow goes where the appliance tells of itself; what says nothing goes nowhere."""
    kinds = (COMMAND, INCIDENT, APPLIANCE, "of tomorrow")
    async with sink(pubsub.project) as found:
        await found.write([entry(1), *(entry(n, kind=kind, body={"event": kind}) for n, kind in enumerate(kinds, 2))])
        await found.write([entry(6, body={})])
    arrived = {topic: bodies(pubsub.pull(topic)) for topic in ("shelly_data", "commands", "incidents", "appliance")}
    assert [body["power"] for body in arrived["shelly_data"]] == [1.0]
    assert [body["event"] for body in arrived["commands"]] == [COMMAND]
    assert [body["event"] for body in arrived["incidents"]] == [INCIDENT]
    assert {body["event"] for body in arrived["appliance"]} == {APPLIANCE, "of tomorrow"}


async def test_the_order_of_each_device_is_kept(pubsub: Pubsub) -> None:
    """Over requests, batches and many devices."""
    async with sink(pubsub.project) as found:
        for batch in range(3):
            await found.write([entry(n, device=f"d{n % 7}") for n in range(1 + batch * 3000, 3001 + batch * 3000)])
    arrived: dict[str, list[int]] = {}
    for message in pubsub.pull("shelly_data"):
        arrived.setdefault(message.ordering_key, []).append(int(message.attributes["ce_id"].partition("/")[2]))
    assert sorted(itertools.chain(*arrived.values())) == list(range(1, 9001))
    assert all(found == sorted(found) for found in arrived.values())


async def test_an_emulator_that_comes_back_empty_lacks_its_topics(pubsub: Pubsub) -> None:
    """As a topic that somebody removed; the sink goes on by itself when it is there again."""
    async with sink(pubsub.project) as found:
        await found.write([entry(1)])
        pubsub.delete_topic("shelly_data")
        with pytest.raises(Unavailable, match="gcloud pubsub topics create shelly_data"):
            await found.write([entry(2)])
        pubsub.create_topic("shelly_data")
        await found.write([entry(2)])


# -- requests --------------------------------------------------------------------------------------------------


def message(size: int = 0, key: str = "plug") -> Any:
    return PubsubMessage.pb()(data=b"x" * size, ordering_key=key)


sizes = st.lists(st.sampled_from([0, 100, MOST_BYTES // 3, MOST_BYTES // 2, MOST_BYTES - 100]), max_size=12)


@settings(deadline=None, max_examples=50)
@given(sizes)
def test_requests_are_within_the_limits_and_lose_nothing(found: list[int]) -> None:
    """In their order; as few as that allows."""
    made = list(requests("t", list(range(len(found))), [message(size) for size in found]))
    assert [position for request in made for position in request.positions] == list(range(len(found)))
    sums = [sum(m.ByteSize() for m in request.messages) for request in made]
    assert all(size <= MOST_BYTES for size in sums)
    firsts = [request.messages[0].ByteSize() for request in made]
    assert all(size + first + 100 > MOST_BYTES for size, first in zip(sums, firsts[1:], strict=False))


def test_a_thousand_messages_are_one_request() -> None:
    many = [message() for _ in range(2 * MOST_MESSAGES + 1)]
    made = requests("t", list(range(len(many))), many)
    assert [len(request.messages) for request in made] == [MOST_MESSAGES, MOST_MESSAGES, 1]


@pytest.mark.parametrize("bad", [message(MOST_BYTES), message(key="é" * (LONGEST_KEY // 2 + 1))], ids=["size", "key"])
def test_what_no_request_can_carry_is_refused_behind_what_came_before(bad: Any) -> None:
    """For certain: it is this message, not the far side."""
    found = requests("t", [1, 2, 3], [message(), bad, message()])
    assert next(found).positions == [1]
    with pytest.raises(Rejected) as caught:
        next(found)
    assert caught.value.certain


async def test_all_messages_of_a_request_have_one_key_and_none_is_too_big(service: Service) -> None:
    """The service refuses others; the emulator would not."""
    async with sink() as found:
        await found.write([entry(n, device=f"d{n % 3}", kind=(COMMAND, INCIDENT)[n % 2]) for n in range(1, 4001)])
    assert {len({message.ordering_key for message in request.messages}) for request in service.requests} == {1}
    assert max(len(request.messages) for request in service.requests) <= MOST_MESSAGES
    assert sorted(itertools.chain(*map(positions, service.requests))) == list(range(1, 4001))


async def test_requests_run_side_by_side_but_never_two_of_a_device(service: Service) -> None:
    """The way to the service is long, and order matters."""
    under_way: set[str] = set()
    busy = asyncio.Event()

    async def work(request: Any) -> None:
        device = request.messages[0].ordering_key
        assert device not in under_way
        under_way.add(device)
        if len(under_way) == AT_WORK:
            busy.set()
        await busy.wait()
        under_way.remove(device)

    service.work = work
    async with asyncio.timeout(10), sink() as found:
        await found.write([entry(n, device=f"d{n % 40}") for n in range(1, 201)])
    assert len(service.requests) == 40


# -- what is refused -------------------------------------------------------------------------------------------


async def test_what_was_accepted_beside_a_refusal_is_told(service: Service) -> None:
    """So that Delivery sends only the rest again; what is behind the bad one of a device waits for its turn."""
    service.answer = lambda request: (
        (grpc.StatusCode.INVALID_ARGUMENT, "not so") if request.messages[0].ordering_key == "bad" else OK
    )
    async with sink() as found:
        with pytest.raises(Rejected, match="not so") as caught:
            await found.write([entry(n, device="bad" if n == 5 else f"d{n % 20}") for n in range(1, 101)])
    assert set(caught.value.accepted) == {*range(1, 101)} - {5}
    assert not caught.value.certain


async def test_what_is_too_large_for_any_request_is_refused_for_certain(service: Service) -> None:
    """Alone and beside others; of its device only what was before it has gone."""
    async with sink() as found:
        with pytest.raises(Rejected, match="10 MB") as caught:
            await found.write([entry(1), entry(2, body=HUGE), entry(3), entry(4, device="other")])
        assert (set(caught.value.accepted), caught.value.certain) == ({1, 4}, True)
        with pytest.raises(Rejected, match="10 MB") as alone:
            await found.write([entry(2, body=HUGE)])
    assert (set(alone.value.accepted), alone.value.certain) == (set(), True)
    assert sorted(itertools.chain(*map(positions, service.requests))) == [1, 4]


class Moody:
    """A client of Pub/Sub that takes and refuses requests as it was told beforehand."""

    def __init__(self, moods: list[type[GoogleAPICallError] | None]) -> None:
        self.transport = self
        self.moods = moods
        self.taken: list[int] = []

    async def close(self) -> None:
        """See `PublisherAsyncClient.transport`."""

    async def publish(self, request: Any, **_: object) -> None:
        """See `PublisherAsyncClient`."""
        await asyncio.sleep(0)
        mood = self.moods.pop() if self.moods else None
        if mood is not None:
            raise mood("because")
        self.taken += positions(request)


moods = st.lists(st.sampled_from([None, None, InvalidArgument, ServiceUnavailable]), max_size=12)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), moods, st.integers(1, 3))
async def test_what_is_said_to_be_accepted_was_and_no_device_overtakes_itself(
    devices: list[int], told: list[type[GoogleAPICallError] | None], most: int
) -> None:
    """Whatever becomes of the requests: of each device the first of its entries are there, and no others."""
    client = Moody(told)
    entries = [entry(n, device=f"d{device}") for n, device in enumerate(devices)]
    accepted = {each.position for each in entries}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sinks, "MOST_MESSAGES", most)
        async with sink() as found:
            found._client = client  # type: ignore[assignment]
            try:
                await found.write(entries)
            except Rejected as error:
                accepted = set(error.accepted)
            except Unavailable:
                accepted = set(client.taken)
    assert sorted(client.taken) == sorted(accepted)
    for device in set(devices):
        mine = [each.position for each in entries if each.device == f"d{device}"]
        there = [position for position in client.taken if position in mine]
        assert there == mine[: len(there)]


async def test_an_outage_ends_the_batch_at_once(service: Service) -> None:
    """Nobody waits for two hundred timeouts."""
    service.refuse(grpc.StatusCode.UNAVAILABLE)
    async with sink() as found:
        with pytest.raises(Unavailable):
            await found.write([entry(n, device=f"d{n}") for n in range(1, 501)])
    assert len(service.requests) <= 3 * AT_WORK


async def test_an_outage_beside_a_refusal_is_an_outage(service: Service) -> None:
    """What was refused is refused again, when it is there again."""
    service.answer = lambda request: (
        grpc.StatusCode.INVALID_ARGUMENT if request.messages[0].ordering_key == "d1" else grpc.StatusCode.UNAVAILABLE,
        "no",
    )
    async with sink() as found:
        with pytest.raises(Unavailable):
            await found.write([entry(n, device=f"d{n}") for n in range(1, 4)])


async def test_a_cancelled_write_ends_at_once_and_the_sink_goes_on(pubsub: Pubsub) -> None:
    """A stop must not wait for a far side that hangs."""
    async with asyncio.timeout(10), sink(pubsub.project, timeout="5m") as found:
        await found.write([entry(1)])
        pubsub.pause()
        writing = asyncio.create_task(found.write([entry(2)]))
        _, pending = await asyncio.wait([writing], timeout=0.2)
        assert pending
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        pubsub.resume()
        await found.write([entry(3, time=NOON + SECOND)])


async def test_a_far_side_that_hangs_is_unavailable_after_the_timeout(pubsub: Pubsub) -> None:
    async with asyncio.timeout(10), sink(pubsub.project, timeout="1s") as found:
        pubsub.pause()
        with pytest.raises(Unavailable, match="did not answer within 1 s"):
            await found.write([entry(1)])


async def test_it_goes_on_soon_after_an_outage(pubsub: Pubsub) -> None:
    """Whoever asks again every now and then is connected within seconds, not after gRPC's two minutes."""
    async with asyncio.timeout(60), sink(pubsub.project) as found:
        await found.write([entry(1)])
        pubsub.kill()
        for _ in range(5):
            with pytest.raises(Unavailable):
                await found.write([entry(2)])
        pubsub.start()
        pubsub.create_topic("shelly_data")
        pubsub.publish("shelly_data", b"{}")  # the first one takes a fresh Java longer than all that follow
        async with asyncio.timeout(8):
            while True:
                try:
                    await found.write([entry(2)])
                    break
                except Unavailable:
                    await asyncio.sleep(0.05)
