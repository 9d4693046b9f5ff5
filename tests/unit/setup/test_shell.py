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


def test_a_failure_tells_the_notes_too(tmp_path: Path) -> None:
    """They may be of what was changed once and for all."""
    assert "  - users were made" in failure("note users were made; fail what how", tmp_path)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("cp /does/not/exist /tmp", '"cp /does/not/exist /tmp" failed'),
        ("path=$(fail first remedy); echo never", "first"),
        ("printf a | { fail first remedy; }", "first"),
        ("false | cat", '"cat" failed'),
    ],
)
def test_what_nobody_foresaw_is_told_once_and_with_its_step(command: str, told: str, tmp_path: Path) -> None:
    """No run ends without a word."""
    script = f"set -o errtrace; trap 'unforeseen \"$BASH_COMMAND\"' ERR; work() {{ {command}; }}; step copying; work"
    words = failure(script, tmp_path)
    assert told in words
    assert words.count("Step:       copying") == 1


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
        ("--port 80", "below 1024"),
        ("--port 8883", "another program"),
        ("--rollback --upgrade", "--rollback or --upgrade"),
        ("--upgrade --dry-run --uninstall", "--upgrade or --uninstall"),
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
    script = 'read_choices; read_options --with-kafka; echo "$MODE $WITH_GRAFANA $WITH_KAFKA $PORT $PATH"'
    words = said(script, tmp_path).split()
    assert words[:4] == ["simulation", "yes", "yes", "8080"]
    assert words[4] != "/evil"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("MODE=simulated", "MODE=simulated: it is hardware or simulation"),
        ("WITH_INFLUXDB=true", "it is yes or no"),
        ("MQTT_BROKER=yes", "it is ours or own"),
        ("WITH_ZIGPY=yes\nWITH_ZIGBEE2MQTT=yes", "one dongle"),
    ],
)
def test_what_cannot_be_chosen_is_refused(line: str, complaint: str, tmp_path: Path) -> None:
    """Rather than half of one thing and half of the other being done."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/install.conf").write_text(f"{line}\n")
    ran = bash("read_choices; read_options", tmp_path)
    assert ran.returncode == 2
    assert f"{tmp_path}/etc/install.conf" in ran.stderr
    assert complaint in ran.stderr


def test_a_dongle_is_no_part_of_a_simulation(tmp_path: Path) -> None:
    """Where the mode is of an earlier run it is asked for; where it is chosen now, the wish is kept and told."""
    ran = bash("MODE=simulation; read_options --with-zigbee2mqtt", tmp_path)
    assert ran.returncode == 2
    assert "add --hardware" in ran.stderr
    both = "read_options --with-zigbee2mqtt --simulation; tell_notes; echo $WITH_ZIGBEE2MQTT"
    words = said(both, tmp_path)
    assert "once you choose --hardware" in words
    assert words.endswith("yes\n")


def test_an_influxdb_that_is_named_is_used(tmp_path: Path) -> None:
    assert said("read_options --influxdb-url http://10.0.0.9:8086; echo $WITH_INFLUXDB", tmp_path) == "yes\n"


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
        ("dpkg: error: dpkg frontend lock was locked by /usr/bin/apt with pid 7", "Another program"),
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


def test_what_dpkg_had_begun_is_completed_once_others_are_done(tmp_path: Path) -> None:
    """Dpkg itself does not wait for its lock."""
    pretend = f"""
    dpkg() {{ echo half-installed; }}; dpkg-query() {{ :; }}; sleep() {{ :; }}; : >{tmp_path}/log
    env() {{
        if [[ $* == *--configure* && ! -e {tmp_path}/second ]]; then
            touch {tmp_path}/second; echo "dpkg frontend lock was locked by another process with pid 7"; return 2
        fi
        echo "$*"
    }}"""
    said(f"{pretend}; packages mosquitto", tmp_path)
    log = (tmp_path / "log").read_text()
    assert log.index("locked by") < log.index("apt-get")
    assert "Another program" in failure(f"LOCK_TIMEOUT=0; rm -f {tmp_path}/second; {pretend}; packages x", tmp_path)


RELEASES = """
for release in a b c z; do mkdir -p $OPT/releases/$release; : >$OPT/releases/$release/.complete; done
keep_journal() { :; };
upgrade() { RELEASE=$OPT/releases/$1; switch_release; }
links() { printf 'links %s %s\\n' "$(link_of current)" "$(link_of previous)"; }
link() { [[ $2 != /usr/* ]] || return 0; rm -f "$2"; ln -s "$1" "$2"; }
killed_before() { eval "link_$1() { exit; }"; }
"""


def links(script: str, directory: Path) -> str:
    """Return where the links lead after a script, without "releases/"."""
    if own(directory) != "root:root":
        pytest.skip("links are root's: run as root")
    return said(f"{RELEASES}{script}\nlinks", directory).splitlines()[-1].replace("releases/", "")


START = "ln -s releases/a $OPT/current; ln -s releases/z $OPT/previous"


def test_an_upgrade_knows_its_way_back(tmp_path: Path) -> None:
    assert links(f"{START}; upgrade b", tmp_path) == "links b a"
    assert (tmp_path / "etc/.unfinished").read_text() == "releases/a releases/z\n"


@pytest.mark.parametrize("before", ["previous", "current"])
@pytest.mark.parametrize(("then", "expected"), [("b", "b a"), ("c", "c a"), ("a", "a z")])
def test_an_upgrade_killed_between_its_links(before: str, then: str, expected: str, tmp_path: Path) -> None:
    """Whichever release is installed next, the way back is the one that worked, and never the same one twice."""
    killed = f"{START}; (killed_before {before}; upgrade b)"
    assert links(f"{killed}; upgrade {then}", tmp_path) == f"links {expected}"


def test_a_way_back_that_was_interrupted_goes_on_and_not_forth(tmp_path: Path) -> None:
    """A second --rollback has the same target, whatever the links are meanwhile."""
    pretend = 'check_configuration() { :; }; return_to() { RELEASE=$OPT/$1; link_current; link_previous "$2"; }'
    once = f"{pretend}; ({START}; upgrade b; rm $UNFINISHED; killed_before previous; go_back) >/dev/null"
    assert links(f"{once}; links() {{ echo links $(link_of current); }}", tmp_path) == "links a"
    assert links(f"{pretend}; go_back; ls -a $ETC", tmp_path) == "links a b"
    assert not (tmp_path / "etc/.unfinished").exists()


@pytest.mark.parametrize("fails", ["put-back-journal", "put_units"])
def test_the_daemon_is_started_again_whatever_fails_on_the_way_back(fails: str, tmp_path: Path) -> None:
    """And where the journal cannot be put back, the release that can read it stays."""
    pretend = f"""
    trap leave_no_daemon_stopped EXIT
    systemctl() {{ echo "systemctl $*"; }}; run() {{ "$@"; }}; state_directory() {{ echo /state; }}
    as_daemon() {{ : >$WORK/answer; echo broken >$WORK/error; [[ $2 != {fails} ]]; }}
    put_units() {{ {"fail broken mend" if fails == "put_units" else ":"}; }}; start_units() {{ STOPPED=no; }}
    check_configuration() {{ :; }}
    """
    ran = bash(f"{RELEASES}{pretend}{START}; upgrade b; rm $UNFINISHED; go_back", tmp_path)
    assert ran.returncode == 1
    assert "broken" in ran.stderr
    assert ran.stdout.splitlines()[-1] == "systemctl start --no-block edge-energy.service"
    stays = "b" if fails == "put-back-journal" else "a"
    assert (tmp_path / "opt/current").readlink() == Path(f"releases/{stays}")


def test_a_unit_that_does_not_start_keeps_no_other_from_it(tmp_path: Path) -> None:
    """The daemon is the first; what failed is told at the end."""
    pretend = f"""
    start_daemon() {{ echo daemon; }}; : >{tmp_path}/log
    systemctl() {{ echo "$2" >>{tmp_path}/started; [[ $2 != grafana.service ]]; }}
    restart_later grafana.service x.service edge-energy.service"""
    ran = bash(f"{pretend}; start_units", tmp_path)
    assert ran.stdout == "daemon\n"
    assert (tmp_path / "started").read_text().split() == ["grafana.service", "x.service"]
    assert "grafana.service: " in ran.stderr


def test_udev_is_told_again_after_an_interrupted_run(tmp_path: Path) -> None:
    """Also where the rules are there already: nobody knows whether it was told."""
    script = f"put() {{ :; }}; udevadm() {{ echo $1 >>{tmp_path}/told; }}; put_rules"
    said(script, tmp_path)
    assert not (tmp_path / "told").exists()
    said(f"INTERRUPTED=yes; {script}", tmp_path)
    assert (tmp_path / "told").read_text() == "control\ntrigger\n"
