"""Runs coroutines side by side as one, and what blocks beside them."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


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


async def in_thread(function: Callable[[], None]) -> None:
    """Run what blocks in a thread that does not hold up the end of the process, unlike those of an executor."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def tell(error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def work() -> None:
        error: BaseException | None = None
        try:
            function()
        except Exception as failure:  # noqa: BLE001 - handed to whoever waits
            error = failure
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, error)

    threading.Thread(target=work, name="blocking", daemon=True).start()
    await done
