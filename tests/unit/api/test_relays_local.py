"""The local socket's routes for relays: what they pass on, and what becomes of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from edge_energy.api import relays_local
from edge_energy.api.answers import explained
from edge_energy.errors import JournalFull, NotSwitched, Unavailable
from edge_energy.relays.command import Origin, Outcome, Verdict
from tests.fuzz_corpus.hostile import PAYLOADS
from tests.unit.api.serving import until
from tests.unit.api.switching import BLOCK, BOILER, PLUG, PUMP, REPORT, Controller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Client = TestClient[web.Request, web.Application]
ON = {"device": "Boiler", "state": "on"}


@pytest.fixture
async def controller() -> Controller:
    return Controller()


@pytest.fixture
async def client(controller: Controller) -> AsyncIterator[Client]:
    application = web.Application(middlewares=[explained])
    application.add_routes(relays_local.relay_routes(controller))
    async with TestClient(TestServer(application)) as client:
        yield client
        controller.may_end.set()


async def switch(client: Client, body: Any) -> tuple[int, Any]:
    response = await client.post("/relays/switch", json=body)
    return response.status, await response.json()


async def test_the_outcome_comes_back(client: Client, controller: Controller) -> None:
    """Also one that is none: the command line decides what that means."""
    status, answer = await switch(client, {**ON, "for": "30m"})
    (command,) = controller.carried_out
    assert (command.relay, command.on, command.origin, command.for_) == (BOILER, True, Origin.CLI, 1800)
    assert answer.pop("milliseconds") >= 0
    about = {"status": "ok", "relay": BOILER, "name": "Boiler", "on": True, "for": 1800, "command_id": command.id}
    assert (status, answer) == (200, {**about, "outcome": "confirmed", "reason": ""})
    for verdict in Verdict:
        controller.outcome = Outcome(verdict, "the reason")
        status, answer = await switch(client, {"device": PUMP, "state": "off"})
        assert (status, answer["outcome"], answer["reason"], answer["on"]) == (200, verdict, "the reason", False)
        assert (answer["name"], answer["for"]) == (PUMP, None)


async def test_not_waiting_is_pending(client: Client, controller: Controller) -> None:
    controller.may_end.clear()
    _, answer = await switch(client, {**ON, "wait": False})
    assert (answer["outcome"], answer["command_id"]) == ("pending", controller.carried_out[0].id)
    assert "milliseconds" not in answer


async def test_a_command_that_never_ends_is_pending_after_a_while(
    client: Client, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on, and `why` tells."""
    monkeypatch.setattr(relays_local, "PATIENCE", 0.01)
    controller.may_end.clear()
    assert (await switch(client, ON))[1]["outcome"] == "pending"
    controller.may_end.set()
    assert await controller.tasks[0] == Outcome(Verdict.CONFIRMED)


async def test_the_stop_of_the_daemon_is_told(client: Client, controller: Controller) -> None:
    controller.may_end.clear()
    asking = asyncio.create_task(switch(client, ON))
    await until(lambda: controller.carried_out)
    controller.tasks[0].cancel()
    assert await asking == (503, {"status": "error", "error": "the daemon stops"})


async def test_toggling_what_is_not_known_is_refused(client: Client, controller: Controller) -> None:
    assert (await switch(client, {"device": "Boiler", "state": "toggle"}))[0] == 200
    status, answer = await switch(client, {"device": "Pump", "state": "toggle"})
    assert (status, "say on or off" in answer["error"]) == (409, True)
    assert len(controller.carried_out) == 1


@pytest.mark.parametrize("path", ["/relays/switch", "/relays/why", "/relays/test-lease"])
async def test_what_may_not_be_switched_is_404_with_what_to_do(client: Client, path: str) -> None:
    for name, words in (("Plug", BLOCK), (PLUG, BLOCK), ("Bioler", "edge-energy devices")):
        body = {"device": name, "state": "on"} if path.endswith("switch") else {"device": name}
        if path.endswith("why"):
            response = await client.get(path, params=body)
        else:
            response = await client.post(path, json=body)
        assert response.status == 404
        assert words in (await response.json())["error"]


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"state": "on"}, "device"),
        ({"device": "", "state": "on"}, "device"),
        ({"device": 5, "state": "on"}, "device"),
        ({"device": "Boiler"}, "state"),
        ({**ON, "state": True}, "state"),
        ({**ON, "state": []}, "state"),
        ({**ON, "state": "ON"}, "state"),
        ({**ON, "for": 0}, "for"),
        ({**ON, "for": "soon"}, "for"),
        ({**ON, "wait": 5}, "wait"),
        ({**ON, "force": True}, "force"),
    ],
)
async def test_what_is_wrong_is_named(client: Client, controller: Controller, body: Any, parameter: str) -> None:
    status, answer = await switch(client, body)
    assert (status, answer["parameter"]) == (400, parameter)
    assert not controller.carried_out


@pytest.mark.parametrize("path", ["/relays/switch", "/relays/test-lease"])
async def test_a_body_that_is_none_is_refused(client: Client, path: str) -> None:
    for body in (b"", b"[]", b"null", *PAYLOADS):
        assert (await client.post(path, data=body)).status in (400, 413)


async def test_relays_and_reasons_are_told(client: Client) -> None:
    assert await (await client.get("/relays")).json() == {"status": "ok", "relays": [REPORT]}
    answer = await (await client.get("/relays/why?device=Boiler")).json()
    assert (answer["relay"], answer["decisions"]) == (BOILER, [])
    assert (await client.get("/relays/why")).status == 400


@pytest.mark.parametrize(
    ("error", "status"),
    [(Unavailable("it is off"), 502), (NotSwitched("it is cut out"), 409), (JournalFull("full"), 503)],
)
async def test_a_test_that_cannot_be_made_says_why(
    client: Client, controller: Controller, error: Exception, status: int
) -> None:
    response = await client.post("/relays/test-lease", json={"device": "Boiler"})
    assert (await response.json())["verified"] is True
    controller.error = error
    response = await client.post("/relays/test-lease", json={"device": "Boiler"})
    assert response.status == status
