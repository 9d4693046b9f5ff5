"""The journal opens whatever state its file and its disk are in, and holds what can be held."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_energy.errors import ConfigError, JournalError, JournalFull
from edge_energy.journal.files import PAGE, RESERVE, reserve, suspect_mark
from edge_energy.journal.opening import GAP, Lock, open_store
from edge_energy.journal.reader import Reader
from edge_energy.journal.store import Commit, Store
from tests.conftest import skipped_if_missing
from tests.servers.small_disk import small_disk
from tests.unit.samples import BOOT, NOON, SECOND, new_entries

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 10_000
NEXT_BOOT = "22222222-aaaa-bbbb-cccc-000000000002"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def opened(path: Path, boot: str = BOOT) -> tuple[dict[str, Any], str | None]:
    """Open as a start of the daemon does, and close: what is in the file, and what had to be repaired."""
    store, words = open_store(path, boot)
    with closing(store), closing(Reader(path)) as reader:
        entries = reader.read(1, 10**9, 10**6, store.boot).entries
        return {
            "id": store.journal_id,
            "newest": store.newest,
            "entries": {(entry.position, entry.device, entry.boot, entry.body["power"]) for entry in entries},
            "pending": reader.pending("influxdb"),
            "set_aside": reader.set_aside(),
            "state": reader.state("counter/"),
            "boot": store.boot,
        }, words


def fill(path: Path) -> dict[str, Any]:
    """Make a journal of 3,000 entries from 30 devices, closed in good order."""
    store, _ = open_store(path, BOOT)
    entries = [entry._replace(device=f"plug-{n % 30}") for n, entry in enumerate(new_entries(ROWS))]
    with closing(store):
        store.commit(
            Commit(
                entries=entries,
                debts={"influxdb": [(7, 9), (2_000, None)]},
                set_aside=[("influxdb", 5, "bad")],
                state={"counter/plug": 5.5},
                anchors=[(0, NOON, "set")],
            )
        )
    return opened(path)[0]


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def root_page(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    return int(page)


def destroy_the_header(path: Path) -> None:
    overwrite(path, 0, bytes(PAGE))


def destroy_the_root(path: Path) -> None:
    overwrite(path, (root_page(path, "entries") - 1) * PAGE, b"\xaa" * PAGE)


def cut_in_half(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2 // PAGE * PAGE)


def make_it_suspect(path: Path) -> None:
    suspect_mark(path).write_text("an error while writing\n")


def kept_aside(path: Path) -> list[Path]:
    return [file for file in path.parent.glob("*damaged*") if not file.name.endswith("-wal")]


def test_a_new_file_and_a_whole_one_need_no_repair(path: Path) -> None:
    """What is not damaged is opened as it is."""
    before = fill(path)
    after, words = opened(path)
    assert words is None
    assert after == before
    assert len(after["entries"]) == ROWS
    assert {file.name for file in path.parent.iterdir()} == {"journal.db", "journal.reserve"}


@pytest.mark.parametrize(
    ("damage", "lost"),
    [(destroy_the_header, 0), (destroy_the_root, 0), (make_it_suspect, 0), (cut_in_half, ROWS)],
)
def test_a_damaged_file_is_moved_aside_and_what_is_intact_taken_over(
    path: Path, damage: Callable[[Path], None], lost: int
) -> None:
    """Names, boots, debts and facts stay what they were; identity is new, positions go on far above."""
    before = fill(path)
    damage(path)
    after, words = opened(path, NEXT_BOOT)
    assert after["entries"] <= before["entries"]
    assert len(before["entries"] - after["entries"]) <= lost
    assert len(after["entries"]) > ROWS / 5
    assert after["newest"] >= max(after["entries"])[0] + GAP
    assert after["id"] != before["id"]
    assert after["boot"] != before["boot"], "entries of this boot are not mixed up with those of an earlier one"
    assert words is not None
    assert f"{len(after['entries'])} entries were recovered" in words
    assert len(kept_aside(path)) == 1
    if "delivered again" not in words:
        assert after["pending"] == before["pending"]
    assert opened(path, NEXT_BOOT) == (after, None), "the second start finds nothing to repair"


def test_what_sinks_owe_and_refused_outlives_a_repair(path: Path) -> None:
    """Where these tables can be read, nothing is delivered twice and no counter begins at zero."""
    before = fill(path)
    make_it_suspect(path)
    after, words = opened(path)
    for what in ("pending", "set_aside", "state", "boot", "entries"):
        assert after[what] == before[what]
    assert "delivered again" not in (words or "")


def test_where_it_is_unknown_what_is_owed_everything_is_delivered_again(path: Path) -> None:
    """Half of what a sink owes is worse than none: at least once comes first, and the operator is told."""
    fill(path)
    overwrite(path, (root_page(path, "pending") - 1) * PAGE, b"\xaa" * PAGE)
    after, words = opened(path)
    assert after["pending"] is None
    assert words is not None
    assert words.endswith("and everything is delivered again")
    assert len(after["entries"]) == ROWS


def test_positions_only_ever_grow_over_repairs(path: Path) -> None:
    """Repairs in a row give no position twice, also where the appliance died right after one."""
    newest = fill(path)["newest"]
    for _ in range(3):
        destroy_the_header(path)
        after, _ = opened(path)
        assert after["newest"] >= newest + GAP
        store, words = open_store(path, BOOT)
        with closing(store):
            assert (store.newest, words) == (after["newest"], None)
            newest = store.commit(Commit(entries=new_entries(1)))
            assert newest == after["newest"] + 1
    assert len(kept_aside(path)) == 1, "one damaged file is enough on a small disk"


def test_an_emptied_file_does_not_cost_its_log(path: Path, tmp_path: Path) -> None:
    """SQLite would take the file for a new one, and delete the write-ahead log that holds everything."""
    store, _ = open_store(path, BOOT)
    with closing(store):
        store.commit(Commit(entries=new_entries(100)))
        copy = tmp_path / "crashed" / "journal.db"
        copy.parent.mkdir()
        for suffix in ("", "-wal"):
            copy.with_name(copy.name + suffix).write_bytes(path.with_name(path.name + suffix).read_bytes())
    copy.write_bytes(b"")
    after, words = opened(copy)
    assert len(after["entries"]) == 100
    assert words is not None


class PowerCutError(BaseException):
    """The appliance loses power here."""


@pytest.mark.parametrize(
    ("owner", "name", "times"),
    [
        *((Store, "adopt", times) for times in (0, 1, 10)),
        *((Store, "begin", times) for times in (0, 1)),
        *((Store, "close", times) for times in (0,)),
        *((Path, "rename", times) for times in (0, 1, 2)),
        *((Path, "unlink", times) for times in (0, 4, 5)),
    ],
)
def test_a_power_cut_during_a_repair_costs_nothing(
    path: Path, owner: Any, name: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever step of it was the last, the next start completes the repair with every entry."""
    before = fill(path)
    destroy_the_header(path)
    original, done = getattr(owner, name), 0

    def step_or_cut(*arguments: Any, **options: Any) -> Any:
        nonlocal done
        done += 1
        if done > times:
            raise PowerCutError
        return original(*arguments, **options)

    with monkeypatch.context() as power:
        power.setattr(owner, name, step_or_cut)
        with pytest.raises(PowerCutError):
            open_store(path, BOOT)
    after, _ = opened(path)
    assert after["entries"] == before["entries"]
    assert after["newest"] >= ROWS + GAP
    assert opened(path) == (after, None)


def test_a_file_of_a_newer_release_is_refused_not_repaired(path: Path) -> None:
    """Going back to an older release must not throw away what the newer wrote."""
    fill(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version=99")
    before = path.read_bytes()
    with pytest.raises(JournalError, match="has schema 99"):
        open_store(path, BOOT)
    assert path.read_bytes() == before
    assert not kept_aside(path)


@pytest.mark.parametrize("boot", [BOOT, NEXT_BOOT])
@pytest.mark.parametrize("released", [False, True])
def test_a_full_disk_is_no_damage(boot: str, *, released: bool) -> None:
    """A start on a full disk uses the reserve, or says so; the journal stays where and what it is."""
    with skipped_if_missing(), small_disk(24) as directory:
        path = directory / "journal.db"
        before = fill(path)
        if released:
            reserve(path).unlink()
        filler = directory / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(512)):
                pass
        if released:
            with pytest.raises(JournalFull, match=r"free some, or lower \[journal\] max_size"):
                open_store(path, boot)
        else:
            assert opened(path, boot)[0]["entries"] == before["entries"]
        assert not kept_aside(path)
        filler.unlink()
        after, words = opened(path, boot)
        assert (after["entries"], after["id"], words) == (before["entries"], before["id"], None)
        assert reserve(path).stat().st_size == RESERVE


def test_the_lock_keeps_others_away_until_it_is_released(tmp_path: Path) -> None:
    """Two daemons on one directory would give positions twice."""
    lock = Lock(tmp_path / "new" / "state")
    with pytest.raises(ConfigError, match="another daemon is using it; give each its own"):
        Lock(tmp_path / "new" / "state")
    lock.release()
    Lock(tmp_path / "new" / "state").release()


def test_a_directory_that_cannot_be_written_is_the_operators_to_correct(tmp_path: Path) -> None:
    """The message names the setting, its value and the reason."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"\[appliance\] state_dir = .*file/state.*cannot write there"):
        Lock(tmp_path / "file" / "state")


def test_arrivals_keep_their_dates_over_a_repair(path: Path) -> None:
    """Anchors are taken over: what had no time yet is dated as it would have been."""
    store, _ = open_store(path, BOOT)
    with closing(store):
        store.commit(Commit(entries=new_entries(1, time=None, uptime=SECOND), anchors=[(0, NOON, "set")]))
    destroy_the_header(path)
    store, _ = open_store(path, NEXT_BOOT)
    with closing(store), closing(Reader(path)) as reader:
        (entry,) = reader.read(1, 10, 10, store.boot).entries
    assert (entry.time, entry.span) == (NOON + SECOND, None)


def test_the_lock_follows_no_link_and_truncates_nothing(tmp_path: Path) -> None:
    """Root opens it, too, for a backup or a restore; the directory is the daemon's."""
    victim = tmp_path / "victim"
    victim.write_text("root:secret")
    lock = tmp_path / "lock"
    for target in (victim, tmp_path / "absent"):
        lock.symlink_to(target)
        with pytest.raises(ConfigError, match="cannot write there"):
            Lock(tmp_path)
        lock.unlink()
    lock.hardlink_to(victim)
    Lock(tmp_path).release()
    assert victim.read_text() == "root:secret"
    assert not (tmp_path / "absent").exists()
