"""A broker for tests: it delivers each letter until it is acknowledged, and again after each connect."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Self

import orjson

from edge_energy.cloud.letter import Letter
from edge_energy.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_energy.cloud.letter import CommandSource


class Post:
    """Keeps all letters; `acknowledged` are the ids in the order of their acknowledgements."""

    name = "post"

    def __init__(self) -> None:
        self.kept: dict[str, Letter] = {}
        self.acknowledged: list[str] = []
        self.requests = 0
        """How often it was asked to acknowledge something."""
        self.away = False
        """Whether it answers nobody."""
        self.connects = 0
        self._to_deliver: asyncio.Queue[Letter | None] = asyncio.Queue()

    def put(self, payload: bytes | dict[str, Any], id_: str | None = None, published_at: float | None = -1) -> Letter:
        """Publish a letter now, or when it is said to have been."""
        found = payload if isinstance(payload, bytes) else orjson.dumps(payload)
        at = time.time() if published_at == -1 else published_at
        letter = Letter(found, id_ or f"post:{len(self.kept)}", at, object())
        self.kept[letter.id] = letter
        self.deliver(letter)
        return letter

    def deliver(self, letter: Letter) -> None:
        """Deliver a letter, perhaps again."""
        self._to_deliver.put_nowait(letter._replace(receipt=object()))

    def drop(self) -> None:
        """Lose the connection, once."""
        self._to_deliver.put_nowait(None)

    @property
    def unacknowledged(self) -> list[Letter]:
        """Return what it will deliver again."""
        return [letter for letter in self.kept.values() if letter.id not in self.acknowledged]

    async def __aenter__(self) -> Self:
        if self.away:
            raise Unavailable("it does not answer")
        self.connects += 1
        if self.connects > 1:
            self._to_deliver = asyncio.Queue()
            for letter in self.unacknowledged:
                self.deliver(letter)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Forget nothing."""

    async def receive(self) -> Letter:
        """See `CommandSource`."""
        letter = await self._to_deliver.get()
        if letter is None:
            raise Unavailable("the connection is lost")
        return letter

    async def acknowledge(self, letters: Sequence[Letter]) -> None:
        """See `CommandSource`."""
        if self.away:
            raise Unavailable("the connection is lost")
        self.requests += 1
        self.acknowledged += [letter.id for letter in letters]


def _is_one(post: Post) -> CommandSource:
    """Have the type checker compare it with what the inbox expects."""
    return post
