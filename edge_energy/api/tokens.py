"""Tokens: how devices and people prove to the HTTP server who they are.

A token reads `ee_<id>_<secret>`. The secret is 256 random bits, so that one round of SHA-256 is enough: nobody can
guess it, however fast the hash, and a slow hash would make every webhook slow.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
from aiohttp import web

from edge_energy.api.access import Role
from edge_energy.api.answers import BadRequest, ok
from edge_energy.devices.payload import parse as parse_json
from edge_energy.journal.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_energy.clock import Clock
    from edge_energy.journal.journal import Journal

log = structlog.get_logger()

MOST_TOKENS = 1_000
LONGEST_NAME = 64
LONGEST_LIFE = 3650 * 86400.0  # seconds
_PREFIX = "token/"
_SECOND = 1_000_000_000
_TEXT = re.compile(r"ee_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
_NOBODY = secrets.token_bytes(32)  # an unknown id is compared with it, so that it takes as long as a known one


class Token(NamedTuple):
    """What is kept of a token. `created` (None: the date was unknown) and `expires` (None: never) are UTC s."""

    id: str
    role: Role
    name: str
    hash: bytes
    created: int | None
    expires: int | None


class Tokens:
    """All tokens: durable in the journal's state, in memory for every request."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._tokens: dict[str, Token] = {}
        self._revoked: set[str] = set()
        """Refused already, though the disk may not know yet."""
        self._used: dict[str, int] = {}
        """By id: when it was used last (UTC s), since the start."""

    async def load(self) -> None:
        """Read what the journal holds; to be awaited before the server starts."""
        for key, row in (await self._journal.query(Reader.state, _PREFIX)).items():
            token = _decode(key.removeprefix(_PREFIX), row)
            if token is None:
                log.error("a token in the journal is damaged and is refused from now on", key=key)
            else:
                self._tokens[token.id] = token

    async def create(self, role: Role, name: str = "", expires: float | None = None) -> str:
        """Make a token that is valid for `expires` seconds, or for ever; return its text, which is not kept.

        Raises `BadRequest`, and `JournalFull` where it cannot be made durable.
        """
        if len(self._tokens) >= MOST_TOKENS:
            raise BadRequest(f"there are {MOST_TOKENS} tokens already; revoke some first", status=409)
        now = self._now()
        if expires is not None and now is None:
            raise BadRequest("the date is not known yet, wait until the clock is set", "expires", 409)
        end = None if expires is None or now is None else now + round(expires)
        number, secret = self._unused(), secrets.token_urlsafe(32)
        token = Token(number, role, name, _hash(secret), now, end)
        await self._journal.record([], within=0, state={_PREFIX + number: _encode(token)})
        self._tokens[number] = token
        return f"ee_{number}_{secret}"

    def list(self) -> list[dict[str, Any]]:
        """Return every token without its hash: times in UTC s, `last_used` since the start of the daemon."""
        now = self._now()
        return [
            {
                "id": token.id,
                "role": token.role,
                "name": token.name,
                "created": token.created,
                "expires": token.expires,
                "expired": _expired(token, now),
                "last_used": self._used.get(token.id),
            }
            for token in sorted(self._tokens.values(), key=lambda token: (token.created or 0, token.id))
        ]

    async def revoke(self, number: str) -> bool:
        """Refuse a token from now on; tell whether there was one. `JournalFull`: only until the next start."""
        if number not in self._tokens:
            return False
        self._revoked.add(number)
        await self._journal.record([], within=0, state={_PREFIX + number: None})
        self._tokens.pop(number, None)
        self._used.pop(number, None)
        return True

    def check(self, text: str) -> Token | None:
        """Return the token that somebody presents, if it is valid now. Takes as long for a wrong one."""
        found = _TEXT.fullmatch(text)
        if found is None:
            return None
        number, secret = found.groups()
        token = self._tokens.get(number)
        same = hmac.compare_digest(_hash(secret), token.hash if token else _NOBODY)
        now = self._now()
        if token is None or not same or number in self._revoked or _expired(token, now):
            return None
        if now is not None:
            self._used[number] = now
        return token

    def _now(self) -> int | None:
        """Return UTC s, or None while nobody knows the date."""
        now, _ = self._clock.now()
        return None if now is None else now // _SECOND

    def _unused(self) -> str:
        while (number := secrets.token_hex(4)) in self._tokens or number in self._revoked:
            pass
        return number


def token_routes(tokens: Tokens) -> list[web.RouteDef]:
    """Return what the local socket offers to the command line."""

    async def get(_request: web.Request) -> web.Response:
        return ok(tokens=tokens.list())

    async def post(request: web.Request) -> web.Response:
        return ok(token=await tokens.create(*_wanted(parse_json(await request.read()))))

    async def delete(request: web.Request) -> web.Response:
        number = request.match_info["id"]
        if not await tokens.revoke(number):
            raise BadRequest(f"no token has the id {number!r}; `edge-energy token list` shows all", status=404)
        return ok(revoked=number)

    return [web.get("/tokens", get), web.post("/tokens", post), web.delete("/tokens/{id}", delete)]


def _wanted(body: Mapping[str, Any]) -> tuple[Role, str, float | None]:
    """Return role, name and life (s) of the token that is asked for."""
    role, name, expires = body.get("role"), body.get("name", ""), body.get("expires")
    if role not in list(Role):
        raise BadRequest(f"expected one of {', '.join(Role)}", "role")
    if type(name) is not str or len(name) > LONGEST_NAME or not (name.isprintable() or not name):
        raise BadRequest(f"expected at most {LONGEST_NAME} printable characters", "name")
    if expires is not None and (type(expires) not in (int, float) or not 1 <= expires <= LONGEST_LIFE):
        raise BadRequest("expected 1s to 3650d", "expires")
    return Role(role), name, expires


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _expired(token: Token, now: int | None) -> bool:
    """Tell whether a token's time is over; nobody can say so while the date is unknown."""
    return token.expires is not None and now is not None and now >= token.expires


def _encode(token: Token) -> dict[str, Any]:
    return {
        "hash": token.hash.hex(),
        "role": token.role,
        "name": token.name,
        "created": token.created,
        "expires": token.expires,
    }


def _decode(number: str, row: Any) -> Token | None:
    """Return the token of a row of the journal's state, or None where it is none."""
    try:
        created, expires = row["created"], row["expires"]
        token = Token(number, Role(row["role"]), str(row["name"]), bytes.fromhex(row["hash"]), created, expires)
    except (KeyError, ValueError, TypeError):
        return None
    whole = all(time is None or type(time) is int for time in (created, expires))
    return token if whole and len(token.hash) == len(_NOBODY) else None
