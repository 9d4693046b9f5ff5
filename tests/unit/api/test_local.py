"""The local socket: what other parts add to it is served, and errors are explained to the command line."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from click.testing import CliRunner

from edge_energy import cli
from edge_energy.api.answers import ok
from edge_energy.api.local import LocalApi
from edge_energy.api.tokens import Tokens, token_routes
from edge_energy.client import Refused, ask
from edge_energy.clock import Clock
from edge_energy.errors import JournalFull
from edge_energy.live import Live
from tests.unit.samples import running_journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def served(directory: Path, *routes: web.AbstractRouteDef) -> AsyncIterator[Path]:
    """Serve a journal, its tokens and more on a socket."""
    async with running_journal(directory) as journal:
        tokens = Tokens(journal, Clock(lambda: True))
        await tokens.load()
        with tempfile.TemporaryDirectory(prefix="edge-") as short:  # a socket's path is 108 bytes at most
            path = Path(short) / "api.sock"
            api = LocalApi(path, _NoStatus(), journal, [*token_routes(tokens), *routes])  # type: ignore[arg-type]
            task = asyncio.create_task(api.run())
            await asyncio.wait_for(api.up.wait(), 5)
            try:
                yield path
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


class _NoStatus:
    live = Live()


async def call(*arguments: Any, **options: Any) -> Any:
    return await asyncio.to_thread(ask, *arguments, **options)


async def test_parts_add_their_own_routes(tmp_path: Path) -> None:
    """With a JSON body, and with as much time as they need."""

    async def echo(request: web.Request) -> web.Response:
        return ok(got=await request.json())

    async with served(tmp_path, web.post("/echo", echo)) as path:
        assert (await call(path, "POST", "/echo", {"a": [1, "é"]}, timeout=60))["got"] == {"a": [1, "é"]}


async def test_what_a_route_raises_is_explained(tmp_path: Path) -> None:
    """The command line prints the reason, no status and no traceback."""

    async def full(_request: web.Request) -> web.Response:
        raise JournalFull("no space")

    async with served(tmp_path, web.post("/full", full)) as path:
        for method, target, words in (
            ("POST", "/full", "the disk is full"),
            ("GET", "/journal/tail?count=x", "count: expected a number"),
            ("POST", "/journal/retry?sink=x", "no sink named 'x'"),
            ("GET", "/nowhere", "not found"),
        ):
            with pytest.raises(Refused, match=words):
                await call(path, method, target)


async def test_the_token_commands_do_what_they_say(tmp_path: Path) -> None:
    """Create prints the token once, list shows it without the secret, revoke ends it."""
    async with served(tmp_path) as path:

        async def run(*arguments: str, code: int = 0) -> str:
            command = ["token", *arguments, "--socket", str(path)]
            result = await asyncio.to_thread(CliRunner().invoke, cli.main, command)
            assert result.exit_code == code, result.output
            return result.output

        assert "There are no tokens" in await run("list")
        created = await run("create", "--role", "device", "--expires", "90d", "--name", "porch")
        (text,) = (line for line in created.splitlines() if line.startswith("ee_"))
        number = text.split("_")[1]
        assert f"token={text}" in created
        assert f"Authorization: Bearer {text}" in created
        listed = await run("list")
        assert number in listed
        assert "porch" in listed
        assert text not in listed
        assert text not in await run("list", "--json")
        assert number in await run("revoke", number)
        assert "no token has the id" in await run("revoke", number, code=1)
        assert "no token has the id" in await run("revoke", "../status?x=#", code=1)
        assert "expected a duration" in await run("create", "--role", "device", "--expires", "soon", code=2)
        assert "expected 1s to 3650d" in await run("create", "--role", "device", "--expires", "0s", code=1)
        assert "'king'" in await run("create", "--role", "king", code=2)
