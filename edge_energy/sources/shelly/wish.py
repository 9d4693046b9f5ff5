"""What adoption is asked for, and what it needs of others."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from edge_energy.errors import UnreadablePayload

if TYPE_CHECKING:
    from edge_energy.sources.shelly.addresses import Place


LONGEST_WAIT = 60.0
"""Seconds until a reading must have come: a restart takes 10, and a webhook tells of the power each minute."""


class Wish(BaseModel):
    """What to adopt, and how; the body of POST /shelly/adopt. `wait` (s) is for the reading that proves it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    address: str
    via: Literal["websocket", "webhook", "mqtt"] = "websocket"
    dry_run: bool = False
    replace: bool = False
    wait: float = Field(LONGEST_WAIT, ge=0, le=LONGEST_WAIT)
    server: str | None = None
    password: SecretStr | None = None
    mqtt_user: str | None = None
    mqtt_password: SecretStr | None = None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Wish:
        """Return the wish that a body holds. Raises `UnreadablePayload`, without the body's secrets."""
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            raise UnreadablePayload(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


class Rpc(Protocol):
    """A device's remote procedures."""

    async def call(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """Return the result of a method."""
        ...

    async def get(self, path: str) -> Any:
        """Return the JSON behind a path."""
        ...


class Tokens(Protocol):
    """What lets devices in."""

    async def create(self, name: str) -> str:
        """Make a token for a device."""
        ...

    def valid(self, text: str) -> bool:
        """Tell whether a token lets a device in."""
        ...

    async def revoke(self, text: str) -> None:
        """End a token."""
        ...


class Device(NamedTuple):
    """What a device says of itself; `status` is the answer to `Shelly.GetStatus`."""

    id: str
    name: str
    model: str
    place: Place
    status: Mapping[str, Any]
