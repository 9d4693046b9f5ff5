"""Digest authentication as the device does it, in HTTP headers and in frames, firmware 1 and 2. No I/O.

Firmware 1 gives out numbers as nonces (in headers as hexadecimal) and ignores the nonce count. Firmware 2 follows
RFC 7616: base64 nonces that live one hour, whose count begins at 1 and only grows. It remembers 32 of them: when
all are alive, whoever needs a new one gets 429 for two seconds, and then the least used one is given up. And after
too many wrong answers within ten minutes it says 429 where it would say 401.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

if TYPE_CHECKING:
    from random import Random

USER = "admin"
NONCES = 32
MOST_NUMBERS = 1000  # of firmware 1
NONCE_LIFE = 3600.0
THROTTLE = 2.0
MOST_FAILURES, FAILURE_WINDOW = 20, 600.0
FRAME_HA2 = hashlib.sha256(b"dummy_method:dummy_uri").hexdigest()
PAIR = re.compile(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))')


class Refusal(NamedTuple):
    """Why a request is not let in: `header` is the challenge for HTTP, `message` that of a frame."""

    code: int
    message: str
    header: str | None = None


class Credentials(NamedTuple):
    """What a request presents; `nc` as written, since it is part of the digest."""

    nonce: str
    nc: str
    cnonce: str
    response: str
    username: str
    realm: str
    ha2: str


class _Nonce:
    def __init__(self, issued: float) -> None:
        self.issued = issued
        self.count = 0


class Digest:
    """Challenges and checks, for one device; without `ha1` everybody is let in."""

    def __init__(self, realm: str, firmware: int, rng: Random, life: float = NONCE_LIFE) -> None:
        self.ha1: str | None = None
        self._realm = realm
        self._firmware = firmware
        self._rng = rng
        self._life = life
        self._nonces: dict[str, _Nonce] = {}
        self._throttled_until: float | None = None
        self._failures: deque[float] = deque(maxlen=MOST_FAILURES)

    def set_password(self, password: str) -> None:
        """Ask for this password from now on."""
        self.ha1 = sha256(USER, self._realm, password)

    def boot(self) -> None:
        """Forget every nonce."""
        self._nonces.clear()
        self._failures.clear()
        self._throttled_until = None

    def check_header(self, header: str | None, method: str, uri: str, now: float) -> Refusal | None:
        """Check the Authorization header of an HTTP request; None lets it in."""
        if self.ha1 is None:
            return None
        pairs = {name: quoted or plain for name, quoted, plain in PAIR.findall(header or "")}
        if not (header or "").startswith("Digest ") or pairs.get("uri") != uri:
            return self._challenge(now)
        ha2 = sha256(method, uri)
        return self._check(_credentials(pairs, ha2), now)

    def check_frame(self, auth: dict[str, Any] | None, now: float) -> Refusal | None:
        """Check the `auth` of a frame; None lets it in."""
        if self.ha1 is None:
            return None
        return self._check(_credentials(auth, FRAME_HA2), now) if auth else self._challenge(now)

    def _check(self, given: Credentials, now: float) -> Refusal | None:
        expected = sha256(self.ha1 or "", given.nonce, given.nc, given.cnonce, "auth", given.ha2)
        if (given.username, given.realm, given.response) != (USER, self._realm, expected):
            return self._failed(now)
        if self._firmware == 1:
            known = given.nonce in self._nonces or _as_number(given.nonce) in self._nonces
            return None if known else self._challenge(now, stale=True)
        nonce = self._nonces.get(given.nonce)
        if nonce is None or now - nonce.issued >= self._life:
            self._nonces.pop(given.nonce, None)
            return self._challenge(now, stale=True)
        count = _count(given)
        if count is None or count <= nonce.count or (nonce.count == 0 and count != 1):
            return self._failed(now)
        nonce.count = count
        return None

    def _failed(self, now: float) -> Refusal:
        self._failures.append(now)
        return self._challenge(now)

    def _challenge(self, now: float, *, stale: bool = False) -> Refusal:
        """Refuse with a new nonce, or without one while too much was asked for."""
        if self._firmware == 1:
            nonce: str | int = self._rng.randrange(1 << 30, 1 << 31)
            self._nonces[str(nonce)] = _Nonce(now)
            if len(self._nonces) > MOST_NUMBERS:
                del self._nonces[next(iter(self._nonces))]
            return self._refusal(nonce, f"{nonce:x}", stale=False)
        if len(self._failures) == MOST_FAILURES and now - self._failures[0] < FAILURE_WINDOW:
            return Refusal(429, "Too many failed authentication attempts")
        if not self._make_room(now):
            return Refusal(429, "Too many requests")
        nonce = base64.b64encode(self._rng.randbytes(16)).decode()
        self._nonces[nonce] = _Nonce(now)
        return self._refusal(nonce, nonce, stale=stale)

    def _make_room(self, now: float) -> bool:
        self._nonces = {text: n for text, n in self._nonces.items() if now - n.issued < self._life}
        if len(self._nonces) < NONCES:
            return True
        if self._throttled_until is None:
            self._throttled_until = now + THROTTLE
        if now < self._throttled_until:
            return False
        self._throttled_until = None
        del self._nonces[min(self._nonces, key=lambda text: self._nonces[text].count)]
        return True

    def _refusal(self, nonce: str | int, written: str, *, stale: bool) -> Refusal:
        challenge: dict[str, Any] = {
            "auth_type": "digest",
            "nonce": nonce,
            "nc": 1,
            "realm": self._realm,
            "algorithm": "SHA-256",
        }
        header = f'Digest qop="auth", realm="{self._realm}", nonce="{written}", algorithm=SHA-256'
        if stale:
            challenge["stale"] = True
            header += ", stale=true"
        return Refusal(401, orjson.dumps(challenge).decode(), header)


def sha256(*parts: str) -> str:
    """Give the hash of the parts, joined by colons."""
    return hashlib.sha256(":".join(parts).encode()).hexdigest()


def _credentials(given: dict[str, Any], ha2: str) -> Credentials:
    names = ("nonce", "nc", "cnonce", "response", "username", "realm")
    return Credentials(**{name: str(given.get(name, "")) for name in names}, ha2=ha2)


def _as_number(nonce: str) -> str:
    """Give the number of a nonce as headers write it."""
    try:
        return str(int(nonce, 16))
    except ValueError:
        return ""


def _count(given: Credentials) -> int | None:
    """Read the nonce count: eight hexadecimal digits in a header, a number in a frame."""
    try:
        return int(given.nc, 10 if given.ha2 == FRAME_HA2 else 16)
    except ValueError:
        return None
