"""Who may do what: the one module that decides for every route. No I/O."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_energy.api.tokens import Token


class Role(StrEnum):
    """What the owner of a token is."""

    DEVICE = "device"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class Permission(StrEnum):
    """What a route lets its caller do."""

    INGEST = "ingest"
    READ = "read"
    SWITCH = "switch"
    ADMINISTER = "administer"


PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    Role.DEVICE: frozenset({Permission.INGEST}),
    Role.VIEWER: frozenset({Permission.READ}),
    Role.OPERATOR: frozenset({Permission.READ, Permission.SWITCH}),
    Role.ADMIN: frozenset(Permission),
}


class Rule(NamedTuple):
    """What a route asks of its caller.

    `permission` None opens it to everybody; `switchable` opens it unless [http] webhook_auth is set. A token may
    stand in the header; in the query or the path (of this name) only for devices, which cannot send headers: who
    reads a log or looks over a shoulder sees it there.
    """

    permission: Permission | None
    switchable: bool = False
    query: str | None = None
    path: str | None = None


_OPEN = Rule(None)
_HOOK = Rule(Permission.INGEST, switchable=True, query="token")

TABLE: Mapping[tuple[str, str], Rule] = {
    ("GET", "/health"): _OPEN,
    ("HEAD", "/health"): _OPEN,
    ("GET", "/webhook"): _HOOK,
    ("POST", "/webhook"): _HOOK,
    ("GET", "/webhook/"): _HOOK,
    ("POST", "/webhook/"): _HOOK,
    ("GET", "/webhook/{device}"): _HOOK,
    ("POST", "/webhook/{device}"): _HOOK,
    ("POST", "/message"): _HOOK,
    ("POST", "/send"): Rule(Permission.SWITCH),
    ("GET", "/relays"): Rule(Permission.READ),
    ("GET", "/shelly/ws/{secret}"): Rule(Permission.INGEST, path="secret"),
}
"""By method and canonical path. What is not in it is refused."""


class Decision(NamedTuple):
    """`status` is 200, 401 (who are you?) or 403 (not you); `reason` is for the caller."""

    status: int
    reason: str = ""
    token: Token | None = None

    @property
    def allowed(self) -> bool:
        """Whether the request may go on."""
        return self.status == 200


class Access:
    """Decides with the table and the tokens."""

    def __init__(self, check: Callable[[str], Token | None], *, webhook_auth: bool) -> None:
        """`check` is `Tokens.check`; `webhook_auth` is the setting."""
        self._check = check
        self._webhook_auth = webhook_auth

    def presented(
        self,
        method: str,
        route: str,
        authorization: str | None,
        query: Mapping[str, str],
        path: Mapping[str, str],
    ) -> str | None:
        """Return the token that a request carries where this route takes one; the header counts most."""
        rule = TABLE.get((method, route))
        if authorization is not None:
            scheme, _, token = authorization.partition(" ")
            return token.strip() if scheme.lower() == "bearer" else ""
        if rule is None:
            return None
        if rule.path is not None:
            return path.get(rule.path)
        return query.get(rule.query) if rule.query is not None else None

    @staticmethod
    def changes_something(method: str, route: str) -> bool:
        """Tell whether a request to a route does more than look, also where its method is GET."""
        rule = TABLE.get((method, route))
        return rule is not None and rule.permission not in (None, Permission.READ)

    def decide(self, method: str, route: str, presented: str | None) -> Decision:
        """Decide about a request to a route (its canonical path) by what it presents."""
        rule = TABLE.get((method, route))
        if rule is None:
            return Decision(403, "nobody may use this")
        if rule.permission is None or (rule.switchable and not self._webhook_auth):
            return Decision(200)
        if presented is None:
            return Decision(401, f"expected a token, which `edge-energy token create --role {_role(rule)}` makes")
        token = self._check(presented)
        if token is None:
            return Decision(401, "the token is unknown, revoked or expired")
        if rule.permission not in PERMISSIONS[token.role]:
            return Decision(403, f"a token of role {token.role} may not do this")
        return Decision(200, token=token)


def _role(rule: Rule) -> Role:
    """Return the least role that a rule asks for."""
    return next(role for role in Role if rule.permission in PERMISSIONS[role])
