"""Runs coroutines side by side, as one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine


async def together(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run until all have ended or one fails; then the others are cancelled and its own error is raised.

    A TaskGroup that raises the error itself instead of a group: callers tell errors apart by their class.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for coroutine in coroutines:
                group.create_task(coroutine)
    except BaseExceptionGroup as failures:
        error: BaseException = failures
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
