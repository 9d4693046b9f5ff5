"""The local socket's routes for Shelly devices: what they pass on, and what an error becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from edge_energy.api.access import Role
from edge_energy.api.answers import BadRequest, explained
from edge_energy.api.shelly_local import DeviceTokens, shelly_routes
from edge_energy.api.tokens import Tokens
from edge_energy.clock import Clock
from edge_energy.errors import EdgeEnergyError, JournalFull, Unavailable, UnreadablePayload
from tests.unit.samples import running_journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path


class Shellies:
    """Stands in for adoption and discovery."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked: list[Any] = []

    async def adopt(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Remember the wish."""
        self.asked.append(body)
        if self.error is not None:
            raise self.error
        return {"device": "shelly-a1b2c3", "problems": []}

    async def find(self, seconds: float, interface: str | None = None) -> list[dict[str, Any]]:
        """Remember the search."""
        self.asked.append((seconds, interface))
        if self.error is not None:
            raise self.error
        return [{"id": "shelly1pm-A1B2C3"}]

    def known(self) -> list[dict[str, Any]]:
        """Return one device."""
        return [{"device": "shelly-a1b2c3"}]


@pytest.fixture
def shellies() -> Shellies:
    return Shellies()


@pytest.fixture
async def client(shellies: Shellies) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    application = web.Application(middlewares=[explained])
    application.add_routes(shelly_routes(shellies, shellies))
    async with TestClient(TestServer(application)) as client:
        yield client


Client = TestClient[web.Request, web.Application]


async def test_the_wish_is_passed_on_and_the_report_comes_back(client: Client, shellies: Shellies) -> None:
    response = await client.post("/shelly/adopt", json={"address": "192.168.1.7"})
    assert await response.json() == {"status": "ok", "device": "shelly-a1b2c3", "problems": []}
    assert shellies.asked == [{"address": "192.168.1.7"}]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (EdgeEnergyError("it serves another"), 409),
        (Unavailable("it is off"), 502),
        (UnreadablePayload("via: no such way"), 400),
        (JournalFull("full"), 503),
    ],
)
async def test_each_refusal_is_an_answer(client: Client, shellies: Shellies, error: Exception, status: int) -> None:
    shellies.error = error
    response = await client.post("/shelly/adopt", json={})
    assert response.status == status
    assert (await response.json())["status"] == "error"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"5"])
async def test_a_body_that_is_no_object_is_refused(client: Client, shellies: Shellies, body: bytes) -> None:
    assert (await client.post("/shelly/adopt", data=body)).status == 400
    assert not shellies.asked


async def test_a_search_has_limits(client: Client, shellies: Shellies) -> None:
    assert (await (await client.get("/shelly/discover")).json())["devices"] == [{"id": "shelly1pm-A1B2C3"}]
    assert (await client.get("/shelly/discover?seconds=2.5&interface=127.0.0.1")).status == 200
    assert shellies.asked == [(5.0, None), (2.5, "127.0.0.1")]
    for query in ("seconds=0", "seconds=31", "seconds=nan", "seconds=x", "interface=eth0", "interface="):
        response = await client.get(f"/shelly/discover?{query}")
        assert response.status == 400
        assert (await response.json())["parameter"] == query.partition("=")[0]
    shellies.error = Unavailable("no multicast")
    assert (await client.get("/shelly/discover")).status == 502


async def test_known_devices_are_listed(client: Client) -> None:
    assert (await (await client.get("/shelly/devices")).json())["devices"] == [{"device": "shelly-a1b2c3"}]


async def test_a_device_gets_a_token_that_lets_only_devices_in(tmp_path: Path) -> None:
    async with running_journal(tmp_path) as journal:
        all_tokens = Tokens(journal, Clock())
        tokens = DeviceTokens(all_tokens)
        text = await tokens.create("shelly-a1b2c3")
        assert tokens.valid(text)
        assert [(token["role"], token["name"]) for token in all_tokens.list()] == [("device", "shelly-a1b2c3")]
        assert not tokens.valid(await all_tokens.create(Role.ADMIN))
        assert not tokens.valid("ee_nonsense")
        await tokens.revoke(text)
        assert not tokens.valid(text)


async def test_too_many_tokens_are_a_reason_not_a_defect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with running_journal(tmp_path) as journal:
        all_tokens = Tokens(journal, Clock())

        async def full(*_: Any) -> str:
            raise BadRequest("there are 1000 tokens already", status=409)

        monkeypatch.setattr(all_tokens, "create", full)
        with pytest.raises(EdgeEnergyError, match="1000 tokens"):
            await DeviceTokens(all_tokens).create("shelly-a1b2c3")
