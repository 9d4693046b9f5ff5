"""Letters from the cloud with the real controller and journal: each switches once at most, and none is lost."""

from __future__ import annotations

import asyncio
import shutil
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from edge_energy.cloud import inbox as module
from edge_energy.cloud.inbox import MOST_AT_WORK, Inbox
from edge_energy.errors import Unavailable
from edge_energy.journal.reader import Reader
from edge_energy.relays.audit import Audit
from edge_energy.relays.command import EXPIRY, Command, Origin, Outcome, UnknownDevice, UnknownRelay, Verdict
from edge_energy.relays.fields import LARGEST
from edge_energy.supervisor import Supervisor
from tests.unit.api.serving import until
from tests.unit.cloud.post import Post
from tests.unit.relays.house import HEATER, PUMP, House, house, settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

ON: dict[str, Any] = {"device_id": HEATER, "switch": True}
OFF = {**ON, "switch": False}
HEATING = {"device": HEATER, "lease": "0s"}


@asynccontextmanager
async def running(inbox: Inbox) -> AsyncIterator[None]:
    """Run it as the daemon does."""
    task = asyncio.create_task(Supervisor(inbox).run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Bench:
    """A house with one heater, its inbox, and the broker that it is connected with."""

    def __init__(self, home: House, post: Post) -> None:
        self.home = home
        self.post = post
        self.inbox = Inbox(post, home.controller, home.journal)
        self.driver = home.drivers[HEATER]

    async def acknowledged(self, count: int) -> None:
        """Wait for so many acknowledgements."""
        await self.home.until(lambda: len(self.post.acknowledged) >= count)

    async def outcomes(self) -> list[tuple[str, str]]:
        """Return (command, outcome) of those that the journal has, without those of the controller's own."""
        bodies = [body for kind, body in await self.home.entries() if kind == "command" and body["origin"] == "cloud"]
        return [(body["command"], body["outcome"]) for body in bodies if body["event"] == "outcome"]


@asynccontextmanager
async def bench(
    directory: Path, *relays: dict[str, Any], post: Post | None = None, trusted: bool = True, run: bool = True
) -> AsyncIterator[Bench]:
    """Run a house and its inbox."""
    async with house(directory, settings(*(relays or (HEATING,))), trusted=trusted) as home:
        found = Bench(home, post or Post())
        if run:
            async with running(found.inbox):
                yield found
        else:
            yield found


async def test_a_command_is_carried_out_and_acknowledged(tmp_path: Path) -> None:
    """Under the id of its message, or the one that its sender gave; with its publishing as its birth."""
    async with bench(tmp_path) as cloud:
        cloud.post.put(ON)
        await cloud.acknowledged(1)
        assert cloud.driver.output
        cloud.post.put({**OFF, "command_id": "app:7"})
        await cloud.acknowledged(2)
        assert not cloud.driver.output
        assert await cloud.outcomes() == [("post:0", "confirmed"), ("app:7", "confirmed")]
        status = cloud.inbox.status()
        assert status["kind"] == "commands"
        assert (status["received"], status["acknowledged"], status["outcomes"]["confirmed"]) == (2, 2, 2)
        assert cloud.inbox.up.is_set()


async def test_it_may_be_for_a_time(tmp_path: Path) -> None:
    async with bench(tmp_path) as cloud:
        cloud.post.put({**ON, "for": 1.0})
        await cloud.acknowledged(1)  # after two commits: on a slow disk that time is over by then
        assert cloud.driver.calls[0][:2] == ("switch", True)
        await cloud.home.until(lambda: not cloud.driver.output)
        assert cloud.driver.edges == 2


async def test_a_letter_that_comes_again_changes_nothing(tmp_path: Path) -> None:
    """While it is at work it is the same one, and acknowledged as it came last; afterwards too."""
    async with bench(tmp_path) as cloud:
        cloud.driver.go_on.clear()
        letter = cloud.post.put(ON)
        await cloud.home.until(lambda: cloud.driver.calls)
        cloud.post.deliver(letter)
        await cloud.home.until(lambda: cloud.inbox.status()["repeated"] == 1)
        cloud.driver.go_on.set()
        await cloud.acknowledged(1)
        await cloud.home.switch(HEATER, False, Origin.CLI)
        cloud.post.deliver(letter)
        await cloud.acknowledged(2)
        assert (cloud.driver.output, cloud.driver.edges) == (False, 2)
        assert await cloud.outcomes() == [("post:0", "confirmed")]
        assert cloud.inbox.status()["repeated"] == 2


async def test_the_same_command_in_two_letters_is_one(tmp_path: Path) -> None:
    """Whoever publishes again, or by both brokers, does so under the same id; another command under it is refused."""
    async with bench(tmp_path) as cloud:
        named = {**ON, "command_id": "app:1"}
        cloud.post.put(named)
        await cloud.acknowledged(1)
        await cloud.home.switch(HEATER, False, Origin.CLI)
        cloud.post.put(named)
        cloud.post.put({**named, "for": 5})
        await cloud.acknowledged(3)
        assert (cloud.driver.output, cloud.driver.edges) == (False, 2)
        assert await cloud.outcomes() == [("app:1", "confirmed")]
        assert cloud.inbox.status()["outcomes"] | {"confirmed": 2, "refused": 1} == cloud.inbox.status()["outcomes"]


async def test_what_was_refused_stays_refused_if_its_letter_comes_again(tmp_path: Path) -> None:
    """Whoever read the outcome relies on it, though the reason may be gone."""
    async with bench(tmp_path, HEATING, {"device": PUMP, "lease": "0s"}) as cloud:
        cloud.home.journal._writable.clear()  # a full disk
        letter = cloud.post.put(ON)
        await cloud.home.until(lambda: cloud.home.controller.why(HEATER)["decisions"])
        cloud.home.journal._writable.set()
        await cloud.acknowledged(1)
        cloud.post.deliver(letter)
        await cloud.acknowledged(2)
        assert not cloud.driver.output
        assert await cloud.outcomes() == [("post:0", "refused")]


@pytest.mark.parametrize(
    ("expires", "published", "outcome"),
    [
        (None, -EXPIRY - 1, "expired"),
        (-1e7, 0, "expired"),
        (600, -600, "confirmed"),
        (3700, 0, "refused"),
        (2e9, -60, "refused"),
        (None, -EXPIRY / 2, "confirmed"),
        (None, 60, "refused"),
    ],
)
async def test_a_command_is_good_for_a_time(
    tmp_path: Path, expires: float | None, published: float, outcome: str
) -> None:
    """Half a minute after it was published, if it says nothing else; an hour at most: so long its id is known.

    The outcome is in the journal either way.
    """
    async with bench(tmp_path) as cloud:
        now = time.time()
        body = ON if expires is None else {**ON, "expires": now + expires}
        cloud.post.put(body, published_at=now + published)
        await cloud.acknowledged(1)
        assert await cloud.outcomes() == [("post:0", outcome)]
        assert cloud.driver.edges == (outcome == "confirmed")


async def test_without_the_date_nothing_is_switched(tmp_path: Path) -> None:
    """Nobody can say then whether a command is an hour old; that is an outcome like any other."""
    async with bench(tmp_path, trusted=False) as cloud:
        cloud.post.put(ON)
        await cloud.acknowledged(1)
        assert not cloud.driver.calls
        assert cloud.inbox.status()["outcomes"]["refused"] == 1


async def test_a_malformed_letter_is_acknowledged_and_kept_for_whoever_looks(tmp_path: Path) -> None:
    """Counted, told once of its kind, never tried again; what comes behind it is carried out."""
    with capture_logs() as logs:
        async with bench(tmp_path) as cloud:
            for payload in (b"", b"x" * 5000, b"{}", b"ON", b"ON"):
                cloud.post.put(payload)
            cloud.post.put(ON, published_at=None)
            cloud.post.put(ON)
            await cloud.acknowledged(7)
            assert cloud.driver.output
            assert cloud.inbox.status()["malformed"] == 6
            await cloud.home.journal.record([], within=0)
            kept = await cloud.home.journal.query(Reader.unreadable, 10)
            assert len(kept) == 6
            assert max(len(payload) for *_, payload in kept if isinstance(payload, bytes)) == LARGEST
            assert len(await cloud.outcomes()) == 1
    assert [line["what"] for line in logs if line["log_level"] == "warning"] == ["malformed"] * 5


async def test_the_log_is_not_flooded_by_whoever_sends_nonsense(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with bench(tmp_path) as cloud:
            for number in range(200):
                cloud.post.put({**ON, f"key{number}": 1})
            await cloud.acknowledged(200)
    assert sum(line["log_level"] == "warning" for line in logs) == module.MOST_WARNINGS


async def test_a_command_for_another_house_is_acknowledged_and_leaves_nothing(tmp_path: Path) -> None:
    """In a fleet everybody hears everything."""
    with capture_logs() as logs:
        async with bench(tmp_path) as cloud:
            for device in ("shelly-0000000000aa", "Boiler", "zigbee-0x01"):
                cloud.post.put({**ON, "device_id": device})
            await cloud.acknowledged(3)
            assert cloud.inbox.status()["not_ours"] == 3
            assert not await cloud.outcomes()
    assert not [line for line in logs if line["log_level"] == "warning"]


async def test_what_nobody_may_switch_is_told(tmp_path: Path) -> None:
    """Once each: a device without a [[relay]] block; one with two, where the output is not said."""
    channels = [{"device": PUMP, "channel": channel, "lease": "0s"} for channel in ("1", "2")]
    with capture_logs() as logs:
        async with bench(tmp_path, HEATING, *channels) as cloud:
            cloud.home.live.describe("zigbee-0x01", "lamp", "")
            for device in ("zigbee-0x01", "zigbee-0x01", PUMP, f"{PUMP}_3", f"{PUMP}_1"):
                cloud.post.put({**ON, "device_id": device})
            await cloud.acknowledged(5)
            assert cloud.inbox.status()["not_switchable"] == 4
            assert cloud.home.drivers[f"{PUMP}_1"].output
            assert len(await cloud.outcomes()) == 1
    told = [line["device"] for line in logs if line["log_level"] == "warning"]
    assert told == ["zigbee-0x01", PUMP, f"{PUMP}_3"]


async def test_a_name_is_no_id(tmp_path: Path) -> None:
    """What is called boiler here is called so in other houses too, and all of them hear the command."""
    async with bench(tmp_path) as cloud:
        cloud.home.live.describe(HEATER, "boiler", "")
        cloud.post.put({**ON, "device_id": "boiler"})
        await cloud.acknowledged(1)
        assert not cloud.driver.output
        assert cloud.inbox.status()["not_switchable"] == 1


async def test_a_device_with_one_output_may_be_called_by_its_id(tmp_path: Path) -> None:
    async with house(tmp_path, settings({"device": HEATER, "channel": "1"})) as home:
        post = Post()
        async with running(Inbox(post, home.controller, home.journal)):
            post.put(ON)
            await home.until(lambda: post.acknowledged)
            assert home.drivers[f"{HEATER}_1"].output


async def test_acknowledgements_are_in_the_order_of_arrival(tmp_path: Path) -> None:
    """A broker that knows only "everything up to here" must not lose what is still at work."""
    async with bench(tmp_path, HEATING, {"device": PUMP, "lease": "0s"}) as cloud:
        cloud.driver.go_on.clear()
        cloud.post.put(ON)
        cloud.post.put({**ON, "device_id": PUMP})
        cloud.post.put(b"nonsense")
        await cloud.home.until(lambda: len(cloud.inbox._known) == 3 and cloud.home.drivers[PUMP].output)
        assert not cloud.post.acknowledged
        cloud.driver.go_on.set()
        await cloud.acknowledged(3)
        assert cloud.post.acknowledged == ["post:0", "post:1", "post:2"]


async def test_not_too_many_are_at_work(tmp_path: Path) -> None:
    """What is behind them waits at the broker."""
    async with bench(tmp_path) as cloud:
        cloud.driver.go_on.clear()
        for _ in range(MOST_AT_WORK + 5):
            cloud.post.put(ON)
        await cloud.home.until(lambda: cloud.inbox.status()["received"] >= MOST_AT_WORK)
        assert len(cloud.inbox._known) == MOST_AT_WORK
        cloud.driver.go_on.set()
        await cloud.acknowledged(MOST_AT_WORK + 5)


def slow_disk(cloud: Bench, slow: Callable[[], bool]) -> tuple[asyncio.Event, asyncio.Event]:
    """Have commits wait while `slow` says so; return what tells that one waits, and what lets it go on."""
    journal, committing, may = cloud.home.journal, asyncio.Event(), asyncio.Event()
    commit = journal._commit

    async def slowly() -> None:
        if slow():
            committing.set()
            await may.wait()
        await commit()

    journal._commit = slowly  # type: ignore[method-assign]
    return committing, may


@pytest.mark.parametrize("on", [True, False])
async def test_nothing_is_switched_that_a_crash_would_let_happen_again(tmp_path: Path, *, on: bool) -> None:
    """The intent is on disk before the device is told; of OFF too, unlike that of one that nobody delivers again."""
    async with bench(tmp_path, {**HEATING, "safe_state": "leave"}) as cloud:
        await cloud.home.journal.record([], within=0)
        committing, may = slow_disk(cloud, lambda: True)
        cloud.post.put({**ON, "switch": on})
        await committing.wait()
        early = list(cloud.driver.calls)
        may.set()
        assert not early
        await cloud.acknowledged(1)
        assert cloud.driver.calls == [("switch", on, None)]


async def test_nothing_is_acknowledged_before_its_outcome_is_durable(tmp_path: Path) -> None:
    """The acknowledgement waits for the commit behind the outcome, however long that takes."""
    async with bench(tmp_path) as cloud:
        committing, may = slow_disk(cloud, lambda: cloud.driver.output)
        cloud.post.put(ON)
        await committing.wait()
        early = list(cloud.post.acknowledged)
        may.set()
        assert not early
        await cloud.acknowledged(1)
        assert await cloud.outcomes() == [("post:0", "confirmed")]


async def test_what_a_full_disk_kept_out_of_the_journal_is_in_it_before_the_acknowledgement(tmp_path: Path) -> None:
    """OFF switches all the same; its outcome follows when there is space, and the acknowledgement after it."""
    async with bench(tmp_path) as cloud:
        await cloud.home.switch(HEATER, True, Origin.CLI)
        journal = cloud.home.journal
        journal._writable.clear()  # a full disk
        cloud.post.put(OFF)
        await cloud.home.until(lambda: not cloud.driver.output)
        await cloud.home.until(lambda: len(cloud.home.controller.why(HEATER)["decisions"]) > 1)
        assert not cloud.post.acknowledged
        journal._writable.set()
        await cloud.acknowledged(1)
        assert await cloud.outcomes() == [("post:0", "confirmed")]


# -- the full disk --------------------------------------------------------------------------------------------


def fill(cloud: Bench, *, full: bool = True) -> None:
    """Have the disk full, or not any more."""
    if full:
        cloud.home.journal._writable.clear()
    else:
        cloud.home.journal._writable.set()


@pytest.mark.parametrize("again", [False, True])
async def test_off_is_heard_while_others_wait_for_space(tmp_path: Path, *, again: bool) -> None:
    """However many they are, or however often one of them comes; and then all are acknowledged in few requests."""
    async with bench(tmp_path) as cloud:
        await cloud.home.switch(HEATER, True, Origin.CLI)
        fill(cloud)
        letter = cloud.post.put(ON)
        for _ in range(MOST_AT_WORK + 5):
            cloud.post.deliver(letter) if again else cloud.post.put(ON)
        cloud.post.put(OFF)
        await cloud.home.until(lambda: not cloud.driver.output)
        assert not cloud.post.acknowledged
        fill(cloud, full=False)
        await cloud.acknowledged(len(cloud.post.kept))
        assert cloud.post.acknowledged == list(cloud.post.kept)
        assert cloud.post.requests <= 3
        outcomes = await cloud.outcomes()
        assert sorted(name for name, _ in outcomes) == sorted(cloud.post.kept)
        assert [outcome for _, outcome in outcomes].count("confirmed") == 1


async def test_what_waits_for_space_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest makes way: delivered again, it is acknowledged, with the outcome that it had."""
    monkeypatch.setattr(module, "MOST_WAITING", 4)
    async with bench(tmp_path) as cloud:
        await cloud.home.switch(HEATER, True, Origin.CLI)
        fill(cloud)
        first = cloud.post.put(ON)
        for _ in range(10):
            cloud.post.put(ON)
        cloud.post.put(OFF)
        await cloud.home.until(lambda: not cloud.driver.output)
        waiting = len(cloud.inbox._places)
        assert 1 < waiting <= 4
        fill(cloud, full=False)
        await cloud.acknowledged(waiting)
        cloud.post.deliver(first)
        await cloud.acknowledged(waiting + 1)
        assert cloud.post.acknowledged[-1] == first.id
        assert (first.id, "refused") in await cloud.outcomes()
        assert not cloud.driver.output


async def test_an_outcome_that_is_in_the_journal_is_not_recorded_again(tmp_path: Path) -> None:
    """Its letter comes again when the disk is full: there is nothing to wait for."""
    async with bench(tmp_path) as cloud:
        letter = cloud.post.put(ON)
        await cloud.acknowledged(1)
    async with bench(tmp_path) as cloud:
        fill(cloud)
        cloud.post.deliver(letter)
        await cloud.acknowledged(1)
        fill(cloud, full=False)
        assert await cloud.outcomes() == [(letter.id, "confirmed")]


@pytest.mark.parametrize(("safe", "on"), [("off", True), ("on", False), ("off", False)])
async def test_what_was_good_no_longer_when_it_was_on_disk_has_expired(
    tmp_path: Path, safe: str, *, on: bool
) -> None:
    """A disk may hang for seconds; and nothing of it happens later."""
    async with bench(tmp_path, {**HEATING, "safe_state": safe}) as cloud:
        cloud.home.tell(HEATER, output=not on)
        if not on:
            await cloud.home.switch(HEATER, True, Origin.CLI)
        await cloud.home.journal.record([], within=0)
        calls = len(cloud.driver.calls)
        committing, may = slow_disk(cloud, lambda: True)
        expires = time.time() + 0.2
        cloud.post.put({**ON, "switch": on, "expires": expires})
        await committing.wait()
        await cloud.home.until(lambda: time.time() > expires)
        may.set()
        await cloud.acknowledged(1)
        cloud.home.tell(HEATER, output=not on)  # the controller decides once more
        await cloud.home.entries()
        assert await cloud.outcomes() == [("post:0", "expired")]
        assert len(cloud.driver.calls) == calls


# -- the lost connection --------------------------------------------------------------------------------------


async def test_a_lost_connection_loses_no_command_and_doubles_none(tmp_path: Path) -> None:
    """What was at work goes on; delivered again, it is the same one."""
    async with bench(tmp_path) as cloud:
        cloud.driver.go_on.clear()
        cloud.post.put(ON)
        await cloud.home.until(lambda: cloud.driver.calls)
        cloud.post.drop()
        await cloud.home.until(lambda: cloud.post.connects == 2)
        cloud.driver.go_on.set()
        await cloud.acknowledged(1)
        assert (cloud.driver.edges, len(cloud.driver.calls)) == (1, 1)
        assert await cloud.outcomes() == [("post:0", "confirmed")]


async def test_a_lost_acknowledgement_is_made_up_for(tmp_path: Path) -> None:
    async with bench(tmp_path) as cloud:
        cloud.driver.go_on.clear()
        cloud.post.put(ON)
        await cloud.home.until(lambda: cloud.driver.calls)
        cloud.post.away = True
        cloud.driver.go_on.set()
        await cloud.home.until(lambda: not cloud.inbox.up.is_set())
        cloud.post.away = False
        await cloud.acknowledged(1)
        assert cloud.driver.edges == 1


async def crashed(directory: Path) -> Path:
    """Return a copy of what is on disk: what a start after a SIGKILL finds now."""
    copy = directory.with_name(f"{directory.name}-after")
    await asyncio.to_thread(shutil.copytree, directory, copy)
    (copy / "lock").unlink(missing_ok=True)
    return copy


@pytest.mark.parametrize("on", [True, False])
async def test_after_a_crash_between_intent_and_outcome_nothing_is_switched_again(
    tmp_path: Path, *, on: bool
) -> None:
    """It is reported as interrupted."""
    relay = {**HEATING, "safe_state": "leave"}
    async with bench(tmp_path / "before", relay) as cloud:
        cloud.driver.go_on.clear()
        letter = cloud.post.put({**ON, "switch": on})
        await cloud.home.until(lambda: ("switch", on, None) in cloud.driver.calls)
        after = await crashed(tmp_path / "before")
        cloud.driver.go_on.set()
    async with bench(after, relay) as cloud:
        cloud.post.kept[letter.id] = letter
        cloud.post.deliver(letter)
        await cloud.acknowledged(1)
        assert not cloud.driver.calls
        assert await cloud.outcomes() == [("post:0", "failed")]


async def test_after_a_crash_between_outcome_and_acknowledgement_nothing_is_switched_again(tmp_path: Path) -> None:
    async with bench(tmp_path / "before") as cloud:
        letter = cloud.post.put({**ON, "command_id": "app:1"})
        await cloud.acknowledged(1)
        after = await crashed(tmp_path / "before")
    async with bench(after) as cloud:
        cloud.post.kept[letter.id] = letter
        cloud.post.deliver(letter)
        await cloud.acknowledged(1)
        assert not cloud.driver.output
        assert (await cloud.outcomes()).count(("app:1", "confirmed")) == 1


async def test_what_was_refused_stays_so_after_a_restart(tmp_path: Path) -> None:
    """The reason may be gone: the date is known now. A person may send the same all the same."""
    async with bench(tmp_path, trusted=False) as cloud:
        letter = cloud.post.put({**ON, "command_id": "app:1"})
        await cloud.acknowledged(1)
        assert cloud.inbox.status()["outcomes"]["refused"] == 1
    async with bench(tmp_path) as cloud:
        cloud.post.deliver(letter)
        await cloud.acknowledged(1)
        assert not cloud.driver.calls
        assert cloud.inbox.status()["outcomes"]["refused"] == 1
        assert (await cloud.home.switch(HEATER, True, Origin.HTTP, id="app:1", foreign=True)).confirmed


async def test_what_is_older_than_what_was_carried_out_before_a_restart_is_superseded(tmp_path: Path) -> None:
    """ON was published before OFF, and is delivered after both it and the restart."""
    began, relay = time.time(), {**HEATING, "safe_state": "leave"}
    async with bench(tmp_path, relay) as cloud:
        cloud.post.put(OFF, published_at=began - 1)
        await cloud.acknowledged(1)
    async with bench(tmp_path, relay) as cloud:
        cloud.post.put(ON, "late", published_at=began - 2)
        cloud.post.put(ON, "good", published_at=began)
        await cloud.acknowledged(2)
        assert (await cloud.outcomes())[1:] == [("late", "superseded"), ("good", "confirmed")]
        assert len(cloud.driver.calls) == 1


async def test_a_stop_ends_letters_at_work_and_the_next_start_knows_them(tmp_path: Path) -> None:
    """A SIGHUP does the same. One outcome each, acknowledged or not; what had not begun is carried out then."""
    relays = [{**HEATING, "safe_state": "leave"}, {"device": PUMP, "lease": "0s", "safe_state": "leave"}]
    post = Post()
    async with bench(tmp_path, *relays, post=post) as cloud:
        cloud.driver.go_on.clear()
        post.put(ON)
        await cloud.home.until(lambda: cloud.driver.calls)
    assert not cloud.driver.output
    post.put({**ON, "device_id": PUMP})
    async with bench(tmp_path, *relays, post=post) as cloud:
        for letter in list(post.kept.values()):
            post.deliver(letter)
        await cloud.home.until(lambda: not post.unacknowledged)
        assert not cloud.driver.calls
        assert len(cloud.home.drivers[PUMP].calls) == 1
        assert await cloud.outcomes() == [("post:0", "failed"), ("post:1", "confirmed")]


async def test_what_a_crash_interrupted_is_known_though_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it, before the first finds no space; each outcome is in the journal once, and then acknowledged."""
    relays = [{"device": each, "lease": "0s", "safe_state": "leave"} for each in (HEATER, PUMP)]
    post = Post()
    async with bench(tmp_path / "before", *relays, post=post) as cloud:
        for relay, driver in cloud.home.drivers.items():
            driver.go_on.clear()
            post.put({**OFF, "device_id": relay})
        await cloud.home.until(lambda: all(driver.calls for driver in cloud.home.drivers.values()))
        after = await crashed(tmp_path / "before")
    end = Audit.end_interrupted

    def full(audit: Audit) -> None:
        audit._recorder._writable.clear()  # type: ignore[attr-defined]
        end(audit)

    monkeypatch.setattr(Audit, "end_interrupted", full)
    async with bench(after, *relays) as cloud:
        for letter in post.kept.values():
            cloud.post.kept[letter.id] = letter
            cloud.post.deliver(letter)
        await cloud.home.until(lambda: len(cloud.inbox._places) == 2)
        assert not cloud.post.acknowledged
        fill(cloud, full=False)
        await cloud.acknowledged(2)
        assert not any(driver.calls for driver in cloud.home.drivers.values())
        assert sorted(await cloud.outcomes()) == [("post:0", "failed"), ("post:1", "failed")]


async def test_letters_wait_for_the_controller(tmp_path: Path) -> None:
    """Before it has begun, and while it stops, it would refuse them: then they are for the next start."""
    async with bench(tmp_path) as cloud:
        cloud.home.controller.up.clear()
        cloud.post.put(ON)
        await cloud.home.until(lambda: cloud.inbox.status()["received"] == 1)
        assert not cloud.driver.calls
        assert not cloud.post.acknowledged
        cloud.home.controller.up.set()
        await cloud.acknowledged(1)
        assert cloud.driver.output


class Refusing:
    """A controller that ends before it begins with the first command, and whose commits fail so many times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.up = asyncio.Event()
        self.up.set()
        self.submitted: list[Any] = []
        self.again: list[Outcome] = []

    def resolve(self, name: str) -> str:
        """Know everything."""
        return name

    def command(self, relay: str, on: bool | None, origin: Origin, **more: Any) -> Command:  # noqa: FBT001
        """Make one."""
        return Command(relay=relay, on=bool(on), origin=origin, expires=0.0, **more)

    def submit(self, command: Command) -> asyncio.Task[Outcome]:
        """End the first one without an outcome."""
        self.submitted.append(command)
        task = asyncio.create_task(self._confirm())
        if len(self.submitted) == 1:
            task.cancel()
        return task

    async def _confirm(self) -> Outcome:
        return Outcome(Verdict.CONFIRMED)

    async def recorded(self, _command: Command) -> bool:
        """Find the disk full at first."""
        return len(self.again) >= self.failures

    def record_again(self, _command: Command, outcome: Outcome) -> None:
        """Note it."""
        self.again.append(outcome)


class Disk:
    """A recorder that has space again at once."""

    def record(self, *_: Any) -> Any:
        """Do nothing: outcomes are of the controller."""
        raise AssertionError

    def keep_aside(self, origin: str, reason: str, payload: bytes) -> None:
        """Forget it."""

    async def writable(self) -> None:
        """Have space again at once."""


async def test_a_command_that_a_stopping_controller_drops_is_given_to_the_next() -> None:
    """And an outcome whose commit failed is recorded again, as often as it takes."""
    post, controller = Post(), Refusing(failures=2)
    async with running(Inbox(post, controller, Disk())):
        post.put(ON)
        await until(lambda: bool(post.acknowledged))
    assert len(controller.submitted) == 2
    assert controller.again == [Outcome(Verdict.CONFIRMED)] * 2


async def test_a_broker_that_is_away_is_no_defect(tmp_path: Path) -> None:
    async with bench(tmp_path, run=False) as cloud:
        cloud.post.away = True
        with pytest.raises(Unavailable):
            await cloud.inbox.run()
        assert not cloud.inbox.up.is_set()


async def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 10)
    async with bench(tmp_path) as cloud:
        for _ in range(50):
            cloud.post.put({**ON, "device_id": "elsewhere"})
        await cloud.acknowledged(50)
        assert len(cloud.inbox._known) == 10


async def test_what_is_not_here_is_told_from_what_may_not_be_switched(tmp_path: Path) -> None:
    """The one may be somewhere else; an output of a device that is here is not."""
    async with house(tmp_path, settings({"device": HEATER, "channel": "1"})) as home:
        home.live.describe("zigbee-0x01", "lamp", "")
        home.live.describe("th-1", "thermometer", "")
        for name, error in (
            ("shelly-0000000000aa", UnknownDevice),
            ("nobody", UnknownDevice),
            (f"{HEATER}_2", UnknownRelay),
            ("zigbee-0x01_l2", UnknownRelay),
            ("lamp", UnknownRelay),
            ("th-1", UnknownRelay),
        ):
            with pytest.raises(UnknownRelay) as caught:
                home.controller.resolve(name)
            assert caught.type is error
