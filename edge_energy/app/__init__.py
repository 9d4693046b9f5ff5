"""The composition root: the only package that knows all others. Here: the process, its signals and its loop."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
import uvloop

from edge_energy import logs
from edge_energy.app.appliance import run_appliance
from edge_energy.errors import ConfigError
from edge_energy.heartbeat import notify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_energy.config import Settings

log = structlog.get_logger()

SOCKET_NAME = "api.sock"
_M_ARENA_MAX = -8  # mallopt(3)


async def serve(settings: Settings, load: Callable[[], Settings], socket: Path | None) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP loads the settings again and restarts all components with them."""
    loop = asyncio.get_running_loop()
    stop, reload = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    why = "start"
    while not stop.is_set():
        path = socket or settings.appliance.runtime_dir / SOCKET_NAME
        appliance = asyncio.create_task(run_appliance(settings, path, why))
        settings = await _until_signal(appliance, stop, reload, load) or settings
        why = "configuration changed"
        notify("STOPPING=1" if stop.is_set() else "RELOADING=1")
        appliance.cancel()
        await asyncio.wait([appliance])
        gc.unfreeze()
        if not appliance.cancelled() and (error := appliance.exception()) is not None:
            raise error
    log.info("stopped")


async def _until_signal(
    appliance: asyncio.Task[None], stop: asyncio.Event, reload: asyncio.Event, load: Callable[[], Settings]
) -> Settings | None:
    """Wait until the appliance fails or is to stop, or until there are new settings that are valid."""
    stopping, reloading = asyncio.create_task(stop.wait()), asyncio.create_task(reload.wait())
    try:
        while True:
            done, _ = await asyncio.wait([appliance, stopping, reloading], return_when=asyncio.FIRST_COMPLETED)
            if reloading not in done or stopping in done or appliance in done:
                return None
            reload.clear()
            reloading = asyncio.create_task(reload.wait())
            try:
                settings = load()
            except ConfigError as error:
                for problem in error.problems:
                    log.error("the new configuration is invalid, nothing was changed", problem=problem)  # noqa: TRY400
                continue
            logs.configure(settings.appliance.log_level)
            return settings
    finally:
        stopping.cancel()
        reloading.cancel()


def main(settings: Settings, load: Callable[[], Settings], socket: Path | None) -> None:
    """Run the daemon on the fastest loop there is."""
    logs.configure(settings.appliance.log_level)
    _share_memory()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, load, socket))
        # All is closed. The runner would still wait for its threads, one of which may look up a name for a minute.
        os._exit(0)


def _share_memory() -> None:
    """Let all threads allocate from one arena: glibc's arena for each thread costs 4 MB, and they hardly compete."""
    with suppress(OSError, AttributeError):  # another libc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
