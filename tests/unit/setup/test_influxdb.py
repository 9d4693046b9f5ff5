"""Setting up the real InfluxDB: what is made, who may do what with it, and what a second or a killed run does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_energy.setup import influxdb as steps
from edge_energy.setup.influxdb_api import Server, SetupError, Unreachable
from tests.conftest import skipped_if_missing
from tests.servers.base import free_port
from tests.servers.influxdb import FreshInfluxDB

if TYPE_CHECKING:
    from collections.abc import Iterator

YEAR = 365 * 86_400
EFFECTS = 9
"""Of a whole run: two files, the setup, then for each of two tokens its making, the trial of it, and its file."""
LINE = "energy,appliance=a,device=d power=1.0"


@pytest.fixture
def fresh() -> Iterator[FreshInfluxDB]:
    """Give an InfluxDB that nobody has set up."""
    with skipped_if_missing():
        server = FreshInfluxDB()
    with server:
        yield server


@pytest.fixture
def wanted(fresh: FreshInfluxDB, tmp_path: Path) -> steps.Wanted:
    return steps.Wanted(fresh.url, "home", "energy", YEAR, tmp_path / "secrets", "pi 1234")


def token(wanted: steps.Wanted, name: str) -> str:
    return (wanted.secrets / name).read_text().strip()


def ask(wanted: steps.Wanted, method: str, path: str, body: Any = None, **query: str) -> dict[str, Any]:
    """Ask as the operator."""
    return Server(wanted.url).ask(method, path, body, token(wanted, steps.OPERATOR_FILE), **query).body


def other_bucket(wanted: steps.Wanted) -> None:
    org = ask(wanted, "GET", "/api/v2/orgs", org="home")["orgs"][0]["id"]
    ask(wanted, "POST", "/api/v2/buckets", {"name": "other", "orgID": org})


def write(wanted: steps.Wanted, bucket: str, name: str) -> int:
    """Return how InfluxDB answers a point that is written with the token in this file."""
    path = "/api/v2/write"
    return Server(wanted.url).ask("POST", path, LINE, token(wanted, name), org="home", bucket=bucket).status


def tokens(wanted: steps.Wanted) -> list[str]:
    found = ask(wanted, "GET", "/api/v2/authorizations")["authorizations"]
    return sorted(each["description"] for each in found)


def snapshot(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_fresh_server_gets_organisation_bucket_retention_and_three_tokens(wanted: steps.Wanted) -> None:
    """All of it in one run, each secret in a file that only its owner may read, and no default password."""
    lines = list(steps.set_up(wanted))
    assert len(lines) == 3
    assert not any(secret.decode().strip() in "".join(lines) for secret in snapshot(wanted.secrets).values())
    bucket = ask(wanted, "GET", "/api/v2/buckets", name="energy")["buckets"][0]
    assert bucket["retentionRules"][0]["everySeconds"] == YEAR
    assert {path.name for path in wanted.secrets.iterdir()} == {
        steps.PASSWORD_FILE,
        steps.OPERATOR_FILE,
        steps.WRITE_FILE,
        steps.READ_FILE,
    }
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in wanted.secrets.iterdir())
    assert wanted.secrets.stat().st_mode & 0o777 == 0o700
    assert len(token(wanted, steps.PASSWORD_FILE)) == 24


def test_the_password_is_the_administrators(wanted: steps.Wanted) -> None:
    """Whoever reads it from the file can sign in."""
    list(steps.set_up(wanted))
    server = Server(wanted.url)
    connection = HTTPConnection("127.0.0.1", int(server.url.rpartition(":")[2]), timeout=10)
    from base64 import b64encode  # noqa: PLC0415 - only here

    pair = b64encode(f"admin:{token(wanted, steps.PASSWORD_FILE)}".encode()).decode()
    connection.request("POST", "/api/v2/signin", headers={"Authorization": f"Basic {pair}"})
    assert connection.getresponse().status == 204
    connection.close()


def test_the_write_token_may_write_one_bucket_and_nothing_else(wanted: steps.Wanted) -> None:
    """Whoever steals it from the daemon can neither read nor touch another bucket, nor make tokens."""
    list(steps.set_up(wanted))
    other_bucket(wanted)
    server, mine = Server(wanted.url), token(wanted, steps.WRITE_FILE)
    assert write(wanted, "energy", steps.WRITE_FILE) == 204
    assert write(wanted, "other", steps.WRITE_FILE) in (403, 404)
    assert server.may_read("home", "energy", mine).status == 404
    assert server.ask("GET", "/api/v2/authorizations", token=mine).body["authorizations"] == []
    body = {"orgID": ask(wanted, "GET", "/api/v2/orgs")["orgs"][0]["id"], "permissions": []}
    assert server.ask("POST", "/api/v2/authorizations", body, mine).status in (400, 401, 403)


def test_the_read_token_may_read_one_bucket_and_write_none(wanted: steps.Wanted) -> None:
    """Nobody who gets into Grafana can change a measurement."""
    list(steps.set_up(wanted))
    other_bucket(wanted)
    assert write(wanted, "energy", steps.READ_FILE) == 403
    assert write(wanted, "other", steps.READ_FILE) in (403, 404)
    server, mine = Server(wanted.url), token(wanted, steps.READ_FILE)
    assert server.may_read("home", "energy", mine).status == 200
    assert server.may_read("home", "other", mine).status == 404


def test_a_second_run_changes_nothing(wanted: steps.Wanted) -> None:
    """No file, no token, not a word."""
    list(steps.set_up(wanted))
    before, known = snapshot(wanted.secrets), tokens(wanted)
    assert list(steps.set_up(wanted)) == []
    assert snapshot(wanted.secrets) == before
    assert tokens(wanted) == known


def test_the_retention_of_a_bucket_that_is_there_is_its_operators(wanted: steps.Wanted) -> None:
    """Somebody has changed it: a later run must not delete measurements."""
    list(steps.set_up(wanted))
    bucket = ask(wanted, "GET", "/api/v2/buckets", name="energy")["buckets"][0]
    longer = [{"type": "expire", "everySeconds": 5 * YEAR}]
    ask(wanted, "PATCH", f"/api/v2/buckets/{bucket['id']}", {"retentionRules": longer})
    (wanted.secrets / steps.WRITE_FILE).unlink()
    list(steps.set_up(wanted))
    rules = ask(wanted, "GET", "/api/v2/buckets", name="energy")["buckets"][0]["retentionRules"]
    assert rules[0]["everySeconds"] == 5 * YEAR


def test_a_token_that_works_no_more_is_made_again(wanted: steps.Wanted) -> None:
    """It was deleted in InfluxDB, or its file was damaged; the old one is not left lying about."""
    list(steps.set_up(wanted))
    known = tokens(wanted)
    steps.keep(wanted.secrets / steps.WRITE_FILE, "damaged")
    assert list(steps.set_up(wanted)) == ["made an InfluxDB token that may only write energy"]
    assert write(wanted, "energy", steps.WRITE_FILE) == 204
    assert tokens(wanted) == known


@pytest.mark.parametrize("at", range(1, EFFECTS + 2))
def test_whenever_it_is_killed_the_next_run_completes_it(wanted: steps.Wanted, at: int) -> None:
    """Killed between any two of its effects, requests or files: then everything is there once, and works."""
    program = f"""
import os, signal
from pathlib import Path
from edge_energy.setup import influxdb as steps
from edge_energy.setup.influxdb_api import Server
left = {at}
def counted(effect):
    def instead(*arguments, **named):
        global left
        found = effect(*arguments, **named)
        changes = effect is keep or arguments[1] in ("POST", "DELETE")
        left -= changes
        if changes and not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    return instead
keep = steps.keep
steps.keep = counted(keep)
Server.ask = counted(Server.ask)
print(*steps.set_up(steps.Wanted({wanted.url!r}, "home", "energy", {YEAR}, Path({str(wanted.secrets)!r}), "pi 1234")))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    ended = subprocess.run([sys.executable, "-c", program], check=False, env=environment, capture_output=True)
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr.decode()
    assert (ended.returncode == 0) == (at > EFFECTS)
    list(steps.set_up(wanted))
    assert write(wanted, "energy", steps.WRITE_FILE) == 204
    assert Server(wanted.url).may_read("home", "energy", token(wanted, steps.READ_FILE)).status == 200
    assert len(tokens(wanted)) == 3  # the operator's and the two


def test_an_influxdb_of_somebody_else_is_left_alone(wanted: steps.Wanted, fresh: FreshInfluxDB) -> None:
    """It was set up, nobody gave a token: it says what to do, and nothing is made anywhere."""
    fresh.set_up("home", "energy", "their-token")
    with pytest.raises(SetupError, match=r"(?s)set up by somebody else.*--influxdb-token-file FILE"):
        list(steps.set_up(wanted))
    assert not wanted.secrets.exists()


def test_joining_with_an_all_access_token_makes_bucket_and_tokens(wanted: steps.Wanted, fresh: FreshInfluxDB) -> None:
    """The given token is used once and kept nowhere; a second run needs it no more."""
    fresh.set_up("home", "other", "their-token")
    assert len(list(steps.set_up(wanted, "their-token"))) == 3
    assert {path.name for path in wanted.secrets.iterdir()} == {steps.WRITE_FILE, steps.READ_FILE}
    assert write(wanted, "energy", steps.WRITE_FILE) == 204
    assert list(steps.set_up(wanted)) == []


def test_two_appliances_that_share_an_influxdb_keep_their_tokens(wanted: steps.Wanted, fresh: FreshInfluxDB) -> None:
    """The second one does not take the first one's away."""
    fresh.set_up("home", "energy", "their-token")
    second = wanted._replace(secrets=wanted.secrets.with_name("second"), owner="pi 5678")
    list(steps.set_up(wanted, "their-token"))
    list(steps.set_up(second, "their-token"))
    assert write(wanted, "energy", steps.WRITE_FILE) == write(second, "energy", steps.WRITE_FILE) == 204


def narrow_token(fresh: FreshInfluxDB, *actions: str) -> str:
    """Make what an operator of a shared InfluxDB hands out."""
    server = Server(fresh.url)
    org = server.organisation("home", "their-token")
    bucket = server.bucket(org or "", "energy", "their-token")
    resource = {"type": "buckets", "id": bucket, "orgID": org}
    body = {"orgID": org, "permissions": [{"action": action, "resource": resource} for action in actions]}
    return str(server.ask("POST", "/api/v2/authorizations", body, "their-token").body["token"])


def test_a_narrow_token_is_kept_for_what_it_may_do(wanted: steps.Wanted, fresh: FreshInfluxDB) -> None:
    """A shared InfluxDB whose operator hands out one token that may write."""
    fresh.set_up("home", "energy", "their-token")
    given = narrow_token(fresh, "write")
    assert list(steps.set_up(wanted, given)) == ["the given InfluxDB token is used to write energy"]
    assert token(wanted, steps.WRITE_FILE) == given
    assert list(steps.set_up(wanted)) == []
    with pytest.raises(SetupError, match="may not read"):
        list(steps.set_up(wanted._replace(reader=True), given))


def test_a_token_that_may_do_nothing_here_is_refused(wanted: steps.Wanted, fresh: FreshInfluxDB) -> None:
    """It says so, and keeps nothing."""
    fresh.set_up("home", "energy", "their-token")
    for given in ("made-up", narrow_token(fresh, "read")):
        with pytest.raises(SetupError, match=r"organisation|does not tell|may not write"):
            list(steps.set_up(wanted, given))
    assert not (wanted.secrets / steps.WRITE_FILE).exists()


def test_nothing_answers() -> None:
    """It names the address and what to look at."""
    port = free_port()
    wanted = steps.Wanted(f"http://127.0.0.1:{port}", "home", "energy", 0, Path("/nowhere"), "pi")
    with pytest.raises(Unreachable, match=rf"(?s)127.0.0.1:{port} cannot be reached.*systemctl status influxdb"):
        list(steps.set_up(wanted, patience=0))


@pytest.mark.parametrize("url", ["influxdb:8086", "ftp://a", "http://", "http://user:secret@a", "http://a/?q=1"])
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    """Before anything is asked; credentials do not belong there."""
    with pytest.raises(SetupError, match="no address of an InfluxDB"):
        Server(url)


def test_a_token_file_holds_one_token(tmp_path: Path) -> None:
    """A line end behind it is the editor's; anything else is not a token."""
    path = tmp_path / "token"
    path.write_text("good-token==\n")
    assert steps.read_token(path) == "good-token=="
    for wrong in ("", "two tokens", "x" * 2000, "schlüssel"):
        path.write_text(wrong)
        with pytest.raises(SetupError, match=str(path)):
            steps.read_token(path)


def test_the_command_takes_secrets_from_files_only(wanted: steps.Wanted) -> None:
    """Whoever lists the processes sees none of them, and the output has none."""
    command = [sys.executable, "-m", "edge_energy", "setup", "influxdb", "--url", wanted.url]
    command += ["--secrets", str(wanted.secrets)]
    first = subprocess.run(command, check=True, capture_output=True, text=True)
    assert len(first.stdout.splitlines()) == 3
    for secret in snapshot(wanted.secrets).values():
        assert secret.decode().strip() not in json.dumps([*command, first.stdout, first.stderr])
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == ""
