"""Tokens: made once, kept as a hash, refused when revoked or expired, unharmed by a restart."""

from __future__ import annotations

import asyncio
import hmac
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.api import tokens as module
from edge_energy.api.access import Role
from edge_energy.api.answers import BadRequest, explained
from edge_energy.api.tokens import Tokens, token_routes
from edge_energy.errors import JournalFull
from tests.unit.samples import NOON, SECOND, running_journal

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    """A clock that stands where a test sets it."""

    def __init__(self, time: int | None = NOON) -> None:
        self.time = time

    def now(self) -> tuple[int | None, int]:
        """Return the time, and no uptime."""
        return self.time, 0


def make(journal: Any, clock: Clock | None = None) -> Tokens:
    return Tokens(journal, clock or Clock())  # type: ignore[arg-type]


class FullJournal:
    """A journal on a full disk."""

    def record(self, *_: object, **__: object) -> None:
        """Refuse."""
        raise JournalFull("no space left")


def contents(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in directory.iterdir())


async def test_a_token_is_good_until_it_is_revoked(tmp_path: Path) -> None:
    """And another one is not concerned."""
    async with running_journal(tmp_path) as journal:
        tokens = make(journal)
        one, other = await tokens.create(Role.DEVICE, "porch"), await tokens.create(Role.ADMIN)
        found = tokens.check(one)
        assert found is not None
        assert (found.role, found.name, found.expires) == (Role.DEVICE, "porch", None)
        assert await tokens.revoke(found.id)
        assert tokens.check(one) is None
        assert tokens.check(other) is not None
        assert not await tokens.revoke(found.id)


async def test_tokens_and_revocations_survive_a_restart(tmp_path: Path) -> None:
    """They are in the journal before `create` and `revoke` return."""
    async with running_journal(tmp_path) as journal:
        tokens = make(journal)
        kept, revoked = await tokens.create(Role.OPERATOR, "Ann", 3600), await tokens.create(Role.VIEWER)
        await tokens.revoke(revoked.split("_")[1])
        before = tokens.list()
    async with running_journal(tmp_path) as journal:
        tokens = make(journal)
        assert tokens.check(kept) is None
        await tokens.load()
        assert tokens.list() == before
        assert tokens.check(revoked) is None
        found = tokens.check(kept)
        assert found is not None
        assert found.role is Role.OPERATOR


async def test_the_secret_is_written_nowhere(tmp_path: Path) -> None:
    """Neither the file of the journal nor a list of tokens can be used in its place."""
    async with running_journal(tmp_path) as journal:
        tokens = make(journal)
        text = await tokens.create(Role.ADMIN)
        assert tokens.check(text)
        listed = tokens.list()
    secret = text.split("_", 2)[2]
    assert secret.encode() not in contents(tmp_path)
    assert secret not in str(listed)
    assert secret not in repr(tokens.check(text))


async def test_expiry_needs_the_date(tmp_path: Path) -> None:
    """It ends to the second; while nobody knows the date it does not count, and cannot be asked for."""
    async with running_journal(tmp_path) as journal:
        clock = Clock()
        tokens = make(journal, clock)
        text = await tokens.create(Role.DEVICE, expires=90)
        for seconds, good in ((0, True), (89, True), (90, False), (10**9, False), (10, True)):
            clock.time = NOON + seconds * SECOND
            assert (tokens.check(text) is not None) is good
            assert tokens.list()[0]["expired"] is not good
        clock.time = None
        assert tokens.check(text)
        assert await tokens.create(Role.DEVICE)
        with pytest.raises(BadRequest, match="date is not known"):
            await tokens.create(Role.DEVICE, expires=90)


async def test_last_use_is_shown(tmp_path: Path) -> None:
    """So that a token that nobody uses can be found; a refused one does not count as used."""
    async with running_journal(tmp_path) as journal:
        tokens = make(journal)
        text = await tokens.create(Role.DEVICE)
        tokens.check(text[:-1] + ("A" if text[-1] != "A" else "B"))
        assert tokens.list()[0]["last_used"] is None
        tokens.check(text)
        assert tokens.list()[0]["last_used"] == NOON // SECOND


async def test_a_full_disk_makes_no_token_but_revokes_at_once(tmp_path: Path) -> None:
    """What cannot be kept is not handed out; who must be shut out is."""
    async with running_journal(tmp_path) as journal:
        tokens = make(journal)
        text = await tokens.create(Role.ADMIN)
        tokens._journal = FullJournal()  # type: ignore[assignment]
        with pytest.raises(JournalFull):
            await tokens.create(Role.DEVICE)
        assert len(tokens.list()) == 1
        number = text.split("_")[1]
        with pytest.raises(JournalFull):
            await tokens.revoke(number)
        assert tokens.check(text) is None
        tokens._journal = journal
        assert await tokens.revoke(number)
        assert tokens.list() == []


async def test_their_number_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that makes tokens for ever does not fill the memory."""
    monkeypatch.setattr(module, "MOST_TOKENS", 2)
    async with running_journal(tmp_path) as journal:
        tokens = make(journal)
        await asyncio.gather(tokens.create(Role.DEVICE), tokens.create(Role.DEVICE))
        with pytest.raises(BadRequest, match="revoke some"):
            await tokens.create(Role.DEVICE)


@pytest.mark.parametrize(
    "damage",
    [
        "'{}'",
        "'[]'",
        "'null'",
        "json_set(body, '$.role', 'king')",
        "json_set(body, '$.hash', 'zz')",
        "json_set(body, '$.hash', '00')",
        "json_set(body, '$.expires', 'soon')",
        "json_remove(body, '$.created')",
    ],
)
async def test_a_damaged_row_is_refused_and_harms_no_other(tmp_path: Path, damage: str) -> None:
    """The daemon starts all the same."""
    async with running_journal(tmp_path) as journal:
        tokens = make(journal)
        bad, good = await tokens.create(Role.ADMIN), await tokens.create(Role.VIEWER)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db, db:
        db.execute(f"UPDATE state SET body = {damage} WHERE key = ?", (f"token/{bad.split('_')[1]}",))  # noqa: S608
    async with running_journal(tmp_path) as journal:
        tokens = make(journal)
        await tokens.load()
        assert tokens.check(bad) is None
        assert tokens.check(good)


class _Fixed:
    """Tokens with one token that is known, for tests that need no journal."""

    secret = "A" * 43
    tokens = make(None)
    tokens._tokens["0123abcd"] = module.Token("0123abcd", Role.ADMIN, "", module._hash(secret), None, None)


@given(
    st.text()
    | st.from_regex(module._TEXT, fullmatch=True)
    | st.text(st.sampled_from("ee_0123abcdA-"), max_size=60)
    | st.text(st.characters(codec=None, exclude_categories=()), max_size=60)
)
def test_nothing_but_the_token_itself_is_accepted(text: str) -> None:
    """Whatever is presented has an answer, and it is no."""
    assert (_Fixed.tokens.check(text) is not None) == (text == f"ee_0123abcd_{_Fixed.secret}")


@given(st.integers(0, 54), st.characters(codec="ascii"))
def test_one_wrong_character_is_enough(place: int, wrong: str) -> None:
    """In the id as in the secret."""
    text = f"ee_0123abcd_{_Fixed.secret}"
    assert _Fixed.tokens.check(text)
    changed = text[:place] + wrong + text[place + 1 :]
    assert changed == text or _Fixed.tokens.check(changed) is None
    assert _Fixed.tokens.check(text + wrong) is None


def test_unknown_ids_are_compared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of an answer does not tell which ids exist."""
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    for number in ("0123abcd", "ffffffff"):
        _Fixed.tokens.check(f"ee_{number}_{_Fixed.secret}")
    assert compared == [(32, 32)] * 2


async def test_the_local_socket_offers_them(tmp_path: Path) -> None:
    """As `edge-energy token` uses them: create, list, revoke."""
    async with running_journal(tmp_path) as journal, _client(make(journal)) as client:
        answer = await client.post("/tokens", json={"role": "viewer", "name": "Ann", "expires": 60})
        text = (await answer.json())["token"]
        (listed,) = (await (await client.get("/tokens")).json())["tokens"]
        assert listed["id"] == text.split("_")[1]
        assert (listed["role"], listed["name"]) == ("viewer", "Ann")
        assert listed["expires"] - listed["created"] == 60
        assert (await client.delete(f"/tokens/{listed['id']}")).status == 200
        assert (await client.delete(f"/tokens/{listed['id']}")).status == 404


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{}",
        '{"role": "king"}',
        '{"role": ["admin"]}',
        '{"role": "admin", "name": 1}',
        '{"role": "admin", "name": "a\\nb"}',
        '{"role": "admin", "name": "' + "x" * 65 + '"}',
        '{"role": "admin", "expires": "90d"}',
        '{"role": "admin", "expires": 0}',
        '{"role": "admin", "expires": true}',
        '{"role": "admin", "expires": 1e300}',
    ],
)
async def test_nonsense_makes_no_token(tmp_path: Path, body: str) -> None:
    """It is said what is wrong."""
    async with running_journal(tmp_path) as journal, _client(make(journal)) as client:
        answer = await client.post("/tokens", data=body)
        assert (answer.status, (await answer.json())["status"]) == (400, "error")
        assert (await (await client.get("/tokens")).json())["tokens"] == []


def _client(tokens: Tokens) -> TestClient[web.Request, web.Application]:
    application = web.Application(middlewares=[explained])
    application.add_routes(token_routes(tokens))
    return TestClient(TestServer(application))
