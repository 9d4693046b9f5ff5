"""The building blocks of install.sh, one by one: what they write, what they refuse, what they say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PARTS = "lib options preflight release configuration units upgrade uninstall summary"


def bash(script: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a script with all parts of install.sh, and everything it writes in `directory`."""
    parts = "\n".join(f"source {ROOT}/systemd/{part}.sh" for part in PARTS.split())
    places = f"ETC={directory}/etc SECRETS={directory}/etc/secrets LOG={directory}/log WORK={directory} SOURCE={ROOT}"
    return subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{places}\n{parts}\nOPT={directory}/opt\n{script}"],
        check=False,
        capture_output=True,
        text=True,
    )


def said(script: str, directory: Path) -> str:
    ran = bash(script, directory)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def failure(script: str, directory: Path) -> str:
    ran = bash(script, directory)
    assert ran.returncode == 1, ran.stdout
    return ran.stderr


def own(directory: Path) -> str:
    return f"{directory.owner()}:{directory.group()}"


def test_put_writes_only_what_differs(tmp_path: Path) -> None:
    """The second time it is silent, and the file is not touched."""
    once = f"printf 'a\\n\\n' | put - {tmp_path}/deep/file 0640 {own(tmp_path)}; echo $CHANGED"
    assert said(once, tmp_path) == f"wrote {tmp_path}/deep/file\nyes\n"
    before = (tmp_path / "deep/file").stat()
    assert said(once, tmp_path) == "no\n"
    after = (tmp_path / "deep/file").stat()
    assert (tmp_path / "deep/file").read_text() == "a\n\n"
    assert (after.st_mtime_ns, after.st_ino, after.st_mode & 0o777) == (before.st_mtime_ns, before.st_ino, 0o640)


def test_put_mends_content_and_mode(tmp_path: Path) -> None:
    script = f"printf a | put - {tmp_path}/file 0600 {own(tmp_path)}"
    (tmp_path / "file").write_text("b")
    said(script, tmp_path)
    (tmp_path / "file").chmod(0o644)
    said(script, tmp_path)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if "new" in path.name] == []


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    script = f"printf a | put - {tmp_path}/file 0600; run touch {tmp_path}/x; secret a >/dev/null; remove {tmp_path}"
    script = f"DRY_RUN=yes; {script}"
    assert "would write" in said(script, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    """Letters and digits, readable for its owner only, and the same the next time."""
    if own(tmp_path) != "root:root":
        pytest.skip("secrets are root's: run as root")
    path = Path(said("secret mqtt.password 24", tmp_path).strip())
    first = path.read_text()
    assert len(first.strip()) == 24
    assert first.strip().isalnum()
    assert path.stat().st_mode & 0o777 == 0o600
    said("secret mqtt.password 24", tmp_path)
    assert path.read_text() == first


def test_a_failed_command_names_step_words_and_remedy(tmp_path: Path) -> None:
    said_of_it = failure("step 'trying'; run ls /does/not/exist", tmp_path)
    assert "trying" in said_of_it
    assert "cannot access '/does/not/exist'" in said_of_it
    assert str(tmp_path / "log") in said_of_it


def test_a_first_change_marks_the_installation_as_unfinished(tmp_path: Path) -> None:
    """So that the next run starts everything again, whatever was changed and not yet started."""
    said(f"printf a | put - {tmp_path}/file 0600 {own(tmp_path)}", tmp_path)
    assert (tmp_path / "etc/.unfinished").exists()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("--with-zigpy --with-zigbee2mqtt", "one dongle"),
        ("--hardware --simulation", "not both"),
        ("--port 70000", "a port is a number"),
        ("--port", "wants a value"),
        ("--uninstall --purge", "add --yes"),
        ("--purge --yes", "belongs to --uninstall"),
        ("--verbose", "no option --verbose"),
    ],
)
def test_wrong_usage(options: str, complaint: str, tmp_path: Path) -> None:
    ran = bash(f"read_options {options}", tmp_path)
    assert ran.returncode == 2
    assert complaint in ran.stderr


def test_choices_are_kept(tmp_path: Path) -> None:
    """A later run without options does the same; with an option, only that changes."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/install.conf").write_text(
        "MODE=simulation\nWITH_GRAFANA=yes\nPORT=8080\nPATH=/evil\nPORT=$(x)\n"
    )
    script = 'read_choices; read_options --with-zigpy; echo "$MODE $WITH_GRAFANA $WITH_ZIGPY $PORT $PATH"'
    words = said(script, tmp_path).split()
    assert words[:4] == ["simulation", "yes", "yes", "8080"]
    assert words[4] != "/evil"


def test_the_other_way_to_zigbee_replaces_the_first(tmp_path: Path) -> None:
    script = "WITH_ZIGBEE2MQTT=yes; read_options --with-zigpy; echo $WITH_ZIGBEE2MQTT"
    assert said(script, tmp_path) == "no\n"


@pytest.mark.parametrize(
    ("pretend", "remedy"),
    [
        ("getconf() { echo 32; }", "64-bit"),
        ("dpkg() { echo armhf; }; getconf() { echo 64; }", "64-bit"),
        ("dpkg() { return 1; }", "Debian 12"),
    ],
)
def test_the_wrong_system_is_named(pretend: str, remedy: str, tmp_path: Path) -> None:
    assert remedy in failure(f"{pretend}; require_debian", tmp_path)


@pytest.mark.parametrize("year", [1970, 2019, 2090])
def test_a_clock_that_is_absurd_is_told(year: int, tmp_path: Path) -> None:
    """Every certificate would be refused, with words that nobody understands."""
    pretend = f'date() {{ [[ $1 != +%s ]] || set -- -d {year}-02-03 +%s; command date "$@"; }}'
    assert "timedatectl" in failure(f"{pretend}; require_clock", tmp_path)


def test_too_little_space_says_how_much(tmp_path: Path) -> None:
    pretend = "stat() { echo '10 * 1048576'; }; release_id() { RELEASE=/nowhere; }"
    said_of_it = failure(f"{pretend}; require_space", tmp_path)
    assert "10 MB are free, 350 MB are needed" in said_of_it
    assert "df -h" in said_of_it


@pytest.mark.parametrize(
    ("output", "remedy"),
    [
        ("NewConnectionError: Failed to establish a new connection", "cannot be reached"),
        ("THESE PACKAGES DO NOT MATCH THE HASHES", "not what was tested"),
        ("OSError: [Errno 28] No space left on device", "Make room"),
        ("SSLError: certificate verify failed: certificate is not yet valid", "clock"),
    ],
)
def test_pips_failures_are_explained(output: str, remedy: str, tmp_path: Path) -> None:
    python = tmp_path / "bin/python"
    python.parent.mkdir()
    python.write_text(f"#!/bin/sh\necho '{output}'\nexit 1\n")
    python.chmod(0o755)
    assert remedy in failure(f"RELEASE={tmp_path}; pip_install x", tmp_path)


@pytest.mark.parametrize(
    ("output", "remedy"),
    [
        ("E: Could not get lock /var/lib/dpkg/lock-frontend", "Another program"),
        ("Temporary failure resolving 'deb.debian.org'", "cannot be reached"),
        ("E: You don't have enough free space in /var/cache/apt/archives/.", "Make room"),
        ("E: Release file is not valid yet (invalid for another 3d)", "clock"),
    ],
)
def test_apts_failures_are_explained(output: str, remedy: str, tmp_path: Path) -> None:
    pretend = f'dpkg() {{ :; }}; dpkg-query() {{ :; }}; env() {{ echo "{output}"; return 100; }}; : >{tmp_path}/log'
    assert remedy in failure(f"{pretend}; packages mosquitto", tmp_path)


def test_a_link_is_replaced_in_one_go(tmp_path: Path) -> None:
    said(f"link first {tmp_path}/current; link second {tmp_path}/current", tmp_path)
    assert (tmp_path / "current").readlink() == Path("second")
