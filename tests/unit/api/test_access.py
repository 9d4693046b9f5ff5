"""Every route, every role, every way to present a token: one table decides, and it is complete."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import pytest

from edge_energy.api.access import PERMISSIONS, TABLE, Access, Permission, Role, Rule
from edge_energy.api.message import message_application
from edge_energy.api.send import relays_application, send_application
from edge_energy.api.server import HttpServer
from edge_energy.api.shelly_socket import shelly_application
from edge_energy.api.tokens import Token
from edge_energy.api.webhook import webhook_application
from edge_energy.config import Http
from tests.unit.api.serving import applications, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiohttp import web

ROLES: list[Role | str | None] = [None, "wrong", *Role]
HEADER, QUERY, PATH = "header", "query", "path"

# What the routes are for, written down a second time: method, route, who may use it, how a token may be presented.
# "open" needs no token at all, "hook" none unless webhook_auth is set.
EXPECTED: dict[tuple[str, str], tuple[str, set[Role], set[str]]] = {
    ("GET", "/health"): ("open", set(), set()),
    ("HEAD", "/health"): ("open", set(), set()),
    ("GET", "/webhook"): ("hook", {Role.DEVICE, Role.ADMIN}, {HEADER, QUERY}),
    ("POST", "/webhook"): ("hook", {Role.DEVICE, Role.ADMIN}, {HEADER, QUERY}),
    ("GET", "/webhook/"): ("hook", {Role.DEVICE, Role.ADMIN}, {HEADER, QUERY}),
    ("POST", "/webhook/"): ("hook", {Role.DEVICE, Role.ADMIN}, {HEADER, QUERY}),
    ("GET", "/webhook/{device}"): ("hook", {Role.DEVICE, Role.ADMIN}, {HEADER, QUERY}),
    ("POST", "/webhook/{device}"): ("hook", {Role.DEVICE, Role.ADMIN}, {HEADER, QUERY}),
    ("POST", "/message"): ("hook", {Role.DEVICE, Role.ADMIN}, {HEADER, QUERY}),
    ("POST", "/send"): ("token", {Role.OPERATOR, Role.ADMIN}, {HEADER}),
    ("GET", "/relays"): ("token", {Role.VIEWER, Role.OPERATOR, Role.ADMIN}, {HEADER}),
    ("GET", "/shelly/ws/{secret}"): ("token", {Role.DEVICE, Role.ADMIN}, {HEADER, PATH}),
}


def check(text: str) -> Token | None:
    """Know one token for each role: its name."""
    return Token("0123abcd", Role(text), "", b"", None, None) if text in list(Role) else None


def routes(application: web.Application) -> Iterator[tuple[str, str]]:
    """Yield method and canonical path of every route of an application and its parts."""
    for route in application.router.routes():
        if route.resource is not None:
            yield route.method, route.resource.canonical


def real() -> dict[str, web.Application]:
    """Return the daemon's own applications; none of them does anything before it is asked."""
    http, nothing = Http(), cast("Any", None)
    return {
        "/webhook": webhook_application(http, nothing, nothing),
        "/message": message_application((), nothing, nothing, nothing, {}),
        "/shelly": shelly_application(nothing),
        "/send": send_application(nothing),
        "/relays": relays_application(nothing),
    }


@pytest.mark.parametrize("parts", [real, applications])
def test_the_routes_are_those_of_the_table(parts: Callable[[], dict[str, web.Application]]) -> None:
    """A route that nobody thought about is refused; a row without a route is a mistake in one of them."""
    server = HttpServer(Http(), Access(check, webhook_auth=False), parts(), lambda: True)
    assert set(routes(server.application)) == set(TABLE) == set(EXPECTED)


def test_the_roles_are_as_documented() -> None:
    """Device: send. Viewer: look. Operator: look and switch. Admin: all."""
    assert {role: set(found) for role, found in PERMISSIONS.items()} == {
        Role.DEVICE: {Permission.INGEST},
        Role.VIEWER: {Permission.READ},
        Role.OPERATOR: {Permission.READ, Permission.SWITCH},
        Role.ADMIN: set(Permission),
    }


def expected_status(method: str, route: str, role: Role | str | None, how: str, *, auth: bool) -> int:
    kind, allowed, ways = EXPECTED[method, route]
    if kind == "open" or (kind == "hook" and not auth):
        return 200
    if PATH in ways and how != HEADER:
        presented = role or "x"  # something always stands in the path
        role = presented if how == PATH else "x"
    if role is None or how not in ways or role not in list(Role):
        return 401
    return 200 if role in allowed else 403


@pytest.mark.parametrize("auth", [False, True])
async def test_every_route_for_every_role_however_presented(auth: bool) -> None:  # noqa: FBT001 - a parameter
    """Over the network, against the server itself."""
    wrong = []
    async with serving(check, webhook_auth=auth) as served, aiohttp.ClientSession(served.url) as session:
        for (method, route), role, how in product(EXPECTED, ROLES, (HEADER, QUERY, PATH)):
            path = route.replace("{device}", "plug").replace("{secret}", str(role or "x") if how == PATH else "x")
            headers = {"Authorization": f"Bearer {role}"} if role and how == HEADER else {}
            query = {"token": str(role)} if role and how == QUERY else {}
            if "/ws/" in route:
                headers |= {"Connection": "upgrade", "Upgrade": "websocket"}
            async with session.request(method, path, headers=headers, params=query) as answer:
                # The upgrade of a request without a key is refused, but only behind the guard.
                status = 200 if answer.status == 400 and "/ws/" in route else answer.status
                if status != expected_status(method, route, role, how, auth=auth):
                    wrong.append((method, route, role, how, answer.status))
                assert ("WWW-Authenticate" in answer.headers) == (answer.status == 401)
    assert not wrong


@pytest.mark.parametrize("role", [None, *Role])
def test_what_is_not_in_the_table_is_refused_to_everybody(role: Role | None) -> None:
    """Even to an admin: the table is completed first."""
    access = Access(check, webhook_auth=False)
    for method, route in (("GET", "/new"), ("DELETE", "/webhook"), ("get", "/health"), ("GET", "")):
        assert access.decide(method, route, role).status == 403


@pytest.mark.parametrize("permission", list(Permission))
def test_every_permission_asks_for_the_right_role(permission: Permission, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that no route has yet: 200 with the permission, 403 without, 401 for nobody."""
    monkeypatch.setitem(TABLE, ("GET", "/new"), Rule(permission))
    access = Access(check, webhook_auth=False)
    for role in Role:
        assert access.decide("GET", "/new", role).status == (200 if permission in PERMISSIONS[role] else 403)
    assert access.decide("GET", "/new", "wrong").status == 401
    refused = access.decide("GET", "/new", None)
    assert refused.status == 401
    assert f"--role {next(role for role in Role if permission in PERMISSIONS[role])}" in refused.reason


@pytest.mark.parametrize(
    ("header", "presented"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Bearer", ""),
        ("", ""),
        ("Basic abc", ""),
        ("abc", ""),
        (None, "query"),
    ],
)
def test_a_header_counts_more_than_the_query(header: str | None, presented: str) -> None:
    """Whoever sends both means the header; one of another kind is a wrong token, not none."""
    access = Access(check, webhook_auth=True)
    assert access.presented("GET", "/webhook", header, {"token": "query"}, {}) == presented


def test_only_devices_may_put_a_token_into_a_url() -> None:
    """It would be in the history of a browser and in the log of a proxy."""
    found: dict[str, Any] = {"query": {"token": "x"}, "path": {"secret": "x", "id": "x"}}
    access = Access(check, webhook_auth=True)
    for method, route in TABLE:
        rule = TABLE[method, route]
        carried = access.presented(method, route, None, found["query"], found["path"])
        assert (carried is not None) == (rule.query is not None or rule.path is not None)
        assert carried is None or rule.permission is Permission.INGEST
    assert access.presented("GET", "/new", None, found["query"], found["path"]) is None
