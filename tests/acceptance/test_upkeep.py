"""Backups of a daemon at work, made and restored as an operator does: by the commands, over real servers."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from edge_energy import cli
from tests.acceptance.conftest import PLUGS, doubled, lost
from tests.servers.base import wait_until
from tests.servers.daemon import ROOT, Daemon, influxdb_section, mqtt_section
from tests.servers.publisher import Plan, Publisher, announce
from tests.unit.upkeep.forgeries import bad_archives

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.acceptance.conftest import House
    from tests.servers.mosquitto import Mosquitto


SEED = 20_261_121
RATE, BEFORE = 1_000, 2_000
MOST = 90_000  # messages; more than are sent while a backup is made, however slow the machine is
KILLS = 6
MEASURED = """
    SELECT count(*) FROM entries JOIN shapes ON shapes.id = CAST(body AS INTEGER)
    WHERE kind = 0 AND names LIKE '%seq%'
"""


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "edge_energy", *map(str, arguments)]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), check=False, capture_output=True, text=True, cwd=ROOT, timeout=60)


def ask(journal: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(journal)) as db:
        return db.execute(sql).fetchall()


def everything(root: Path) -> dict[str, Any]:
    """Return content and permissions of all that lies below a directory; SQLite's own files come and go."""
    found = (path for path in sorted(root.rglob("*")) if not path.name.endswith(("-shm", "-wal", "log")))
    return {str(path): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"") for path in found}


def test_a_backup_under_load_is_restored_and_delivers_what_was_owed(
    house: Callable[..., House], tmp_path: Path, tell: Callable[[str], None]
) -> None:
    """What was acknowledged before it began is in it, the daemon goes on, and what was owed arrives once."""
    home = house(max_queued_messages=100_000)
    away = influxdb_section("http://127.0.0.1:1", home.influxdb.bucket, "none")
    home.daemon.configure(mqtt_section(home.broker.port, 'commit_interval = "500ms"') + away)
    home.daemon.start()
    home.daemon.wait_connected()
    file = tmp_path / "backup.tar.gz"
    with Publisher(home.broker.port, Plan(MOST, RATE, PLUGS, seed=SEED), limit=BEFORE) as publisher:
        home.daemon.wait_for(lambda status: acknowledged(status, BEFORE), 30)
        publisher.limit = MOST
        publisher.wait_sent(BEFORE + 200)
        began = time.monotonic()
        done = run("backup", "--config", home.daemon.config, file)
        seconds = time.monotonic() - began
        assert done.returncode == 0, done.stderr
        meanwhile = len(publisher.sent)
        assert meanwhile < MOST
        publisher.limit = meanwhile + RATE
        publisher.wait_sent(publisher.limit)
        wait_until(lambda: publisher.acknowledged == len(publisher.sent), 60, "what the broker acknowledges")
    sent = publisher.sent
    home.daemon.wait_for(lambda status: acknowledged(status, len(sent)), 60)
    old = home.daemon.status()["journal"]["id"]

    refused = run("restore", "--config", home.daemon.config, file)
    assert refused.returncode == 1
    assert "systemctl stop edge-energy" in refused.stderr
    home.daemon.kill()

    with Daemon(
        tmp_path / "new", influxdb_section(home.influxdb.url, home.influxdb.bucket, home.influxdb.token)
    ) as new:
        pass
    restored = run("restore", "--keep-config", "--config", new.config, file)
    assert restored.returncode == 0, restored.stdout + restored.stderr
    kept = ask(new.state / "journal.db", MEASURED)[0][0]
    with new:
        new.wait_delivered()
        assert new.status()["journal"]["id"] != old
        wait_until(lambda: home.influxdb.count("seq") >= kept)
    points = home.points()
    tell(f"backed up in {seconds:.2f} s, {BEFORE} acknowledged before it, {kept} in it, {len(points)} delivered")
    assert not lost(sent[:BEFORE], points)
    assert not doubled(points)
    assert len(points) == kept


def acknowledged(status: dict[str, Any], count: int) -> bool:
    source = status["sources"][0]
    return bool(source["live"] == count and source["unacknowledged"] == 0)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Give the directory of a daemon that has stopped, and a backup of an earlier time."""
    directory = tmp_path_factory.mktemp("stopped")
    daemon = Daemon(directory / "house", "")
    with daemon:
        pass
    file = directory / "backup.tar.gz"
    assert run("backup", "--config", daemon.config, file).returncode == 0
    with daemon:  # another start and stop: two more entries
        pass
    return directory / "house", file


def newest(house: Path) -> int:
    return int(ask(house / "state" / "journal.db", "SELECT max(position) FROM entries")[0][0])


def test_a_restore_that_is_killed_is_completed_by_the_next(
    stopped: tuple[Path, Path], tell: Callable[[str], None]
) -> None:
    """At random moments: the journal is the old one or the new one, then the new one."""
    source, file = stopped
    chance = random.Random(SEED)
    before = newest(source)
    moments = []
    for _ in range(KILLS):
        shutil.rmtree(source.with_name("kept"), ignore_errors=True)
        shutil.copytree(source, source.with_name("kept"))
        process = subprocess.Popen(
            command("restore", "--config", source / "edge-energy.toml", file),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        moments.append(chance.uniform(0.2, 0.5))
        try:
            process.wait(moments[-1])
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert newest(source) in (before, before - 2)
        again = run("restore", "--config", source / "edge-energy.toml", file)
        assert again.returncode == 0, again.stderr
        assert newest(source) == before - 2
        assert not (source / "state" / "restoring").exists()
        shutil.rmtree(source)
        source.with_name("kept").rename(source)
    tell(f"killed after {', '.join(f'{moment:.2f}' for moment in moments)} s")


def test_a_bad_archive_is_refused_without_a_trace(stopped: tuple[Path, Path], tmp_path: Path) -> None:
    """Truncated, changed, `../`, links, devices, sizes that nobody has: nothing is written anywhere."""
    source, file = stopped
    before = everything(source)
    bad = tmp_path / "bad.tar.gz"
    for name, content in bad_archives(file.read_bytes()):
        bad.write_bytes(content)
        done = CliRunner().invoke(cli.main, ["restore", "--config", str(source / "edge-energy.toml"), str(bad)])
        assert done.exit_code == 1, (name, done.output)
        assert done.stderr.startswith("Not done: "), (name, done.stderr)
        assert everything(source) == before, name


def test_a_backup_of_a_daemon_shows_its_support_bundle_no_secret(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    """The commands at a running daemon whose configuration has a password."""
    broker = mosquitto(user="edge", password="Hunter-2-Hunter")
    for topic, payload in announce(2).items():
        broker.publish(topic, payload, retain=True)
    more = 'username = "edge"\npassword = "Hunter-2-Hunter" # Hunter-2-Hunter'
    with Daemon(tmp_path / "house", mqtt_section(broker.port, more)) as daemon:
        daemon.wait_connected()
        target = tmp_path / "support.tar.gz"
        done = run("support-bundle", "--config", daemon.config, "--socket", daemon.socket, target)
        assert done.returncode == 0, done.stderr
        with tarfile.open(target) as packed:
            content = b"".join(packed.extractfile(info).read() for info in packed)  # type: ignore[union-attr]
        assert b"Hunter-2" not in content
        assert f"mqtt 127.0.0.1:{broker.port}".encode() in content
