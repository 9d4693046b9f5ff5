"""Packages of others: only with the pinned key, and with them a whole appliance with InfluxDB and Grafana."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers.appliance import CHECKOUT, copy_repository
from tests.servers.apt_repository import AptRepository, grafana, influxdb2
from tests.servers.debian import RELEASES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers.container import Container

PORT = 8899
WHERE = f"http://127.0.0.1:{PORT}"
SECRETS = "/etc/edge-energy/secrets"
COUNT = """
from(bucket: "energy") |> range(start: -1h) |> filter(fn: (r) => r._field == "power") |> count() |> group() |> sum()
"""
# One step of install.sh alone, as install.sh would do it.
STEP = f"""
set -euo pipefail
export LC_ALL=C
source {CHECKOUT}/systemd/lib.sh
source {CHECKOUT}/systemd/repository.sh
DRY_RUN=${{DRY_RUN:-no}}
STEP=test
repository vendor {WHERE} stable main {WHERE}/key.asc "$1" hello-vendor
packages hello-vendor
echo "CHANGED=$CHANGED"
[[ -z ${{NOTES[*]}} ]] || echo "${{NOTES[*]}}"
"""


@pytest.fixture
def vendor() -> Iterator[AptRepository]:
    """Give a repository; its path is short, gpg's socket has a limit."""
    with tempfile.TemporaryDirectory(prefix="apt-") as directory:
        repository = AptRepository(Path(directory, "r"))
        repository.offer_keys(repository.fingerprint)
        yield repository
        repository.close()


def serve(machine: Container, vendor: AptRepository) -> None:
    """Let the machine itself serve the repository: it needs no network then."""
    copy_into(machine, vendor)
    server = ("python3", "-m", "http.server", str(PORT), "--bind", "127.0.0.1", "--directory", "/srv/vendor")
    machine.run("systemd-run", "--quiet", "--unit=vendor", *server)
    machine.wait(lambda: machine.run("curl", "-sf", f"{WHERE}/key.asc", check=False).returncode == 0)


def copy_into(machine: Container, vendor: AptRepository) -> None:
    for file in vendor.directory.rglob("*"):
        if file.is_file():
            machine.put(f"/srv/vendor/{file.relative_to(vendor.directory)}", file.read_bytes())


def step(machine: Container, fingerprint: str, **environment: str) -> tuple[int, str]:
    """Run one step; return how it ended and what it said."""
    machine.put("/root/step.sh", STEP)
    ran = machine.run("bash", "/root/step.sh", fingerprint, check=False, env=environment, timeout=120)
    return ran.returncode, ran.stdout + ran.stderr


def bare(container: Callable[..., Container], debian: str) -> Container:
    """Boot a Debian without a network, and without Debian's own package servers."""
    machine = container(debian, network=False)
    copy_repository(machine)
    machine.run("sh", "-c", "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*")
    return machine


def tampered(machine: Container, vendor: AptRepository, stranger: str) -> Iterator[str]:
    """Serve lists that the pinned key has not signed; yield in which way."""
    vendor.offer_keys(stranger, vendor.fingerprint)  # as vendors do, with old keys beside the one that signs
    vendor.publish(key=stranger)
    copy_into(machine, vendor)
    yield "signed with another key of the same file"
    vendor.publish()
    copy_into(machine, vendor)
    release = (vendor.directory / "dists/stable/InRelease").read_text()
    machine.put("/srv/vendor/dists/stable/InRelease", release.replace("Suite: stable", "Suite: stablE"))
    yield "changed behind the signature"
    machine.path("/srv/vendor/dists/stable/InRelease").unlink()
    yield "not signed at all"


@pytest.mark.parametrize("debian", RELEASES)
def test_only_the_pinned_key_is_trusted(
    container: Callable[..., Container], vendor: AptRepository, debian: str
) -> None:
    """The right one installs, once; each way for a package to come from somebody else is refused, and says so."""
    machine = bare(container, debian)
    for name in ("hello-vendor", "bash-of-theirs"):
        vendor.add(name, {f"usr/share/{name}": "hello\n"})
    vendor.publish()
    stranger = vendor.new_key("stranger@example.org")

    code, said = step(machine, vendor.fingerprint)
    assert code == 1
    assert "cannot be fetched" in said, "the server is away"
    assert "run this again" in said

    serve(machine, vendor)
    code, said = step(machine, stranger)
    assert code == 1
    assert f"expected {stranger}, found {vendor.fingerprint}" in said
    assert not machine.path("/etc/apt/sources.list.d/edge-energy-vendor.sources").exists()
    assert not machine.path("/etc/apt/keyrings/edge-energy-vendor.gpg").exists()

    code, said = step(machine, vendor.fingerprint, DRY_RUN="yes")
    assert code == 0, said
    assert not machine.path("/etc/apt/sources.list.d/edge-energy-vendor.sources").exists()

    for what in tampered(machine, vendor, stranger):
        code, said = step(machine, vendor.fingerprint)
        assert code == 1, what
        assert "do not bear the signature of the known key" in said, what
        assert not machine.path("/usr/share/hello-vendor").exists()

    assert not machine.path("/etc/apt/sources.list.d/edge-energy-vendor.sources").exists(), "no ruins in apt"
    package = vendor.directory / "pool/hello-vendor.deb"
    copy_into(machine, vendor)
    machine.put("/srv/vendor/pool/hello-vendor.deb", package.read_bytes()[:-1] + b"x")
    code, said = step(machine, vendor.fingerprint)
    assert code == 1
    assert not machine.path("/usr/share/hello-vendor").exists()

    copy_into(machine, vendor)
    code, said = step(machine, vendor.fingerprint)
    assert code == 0, said
    assert machine.path("/usr/share/hello-vendor").exists()
    kept = machine.run("gpg", "--show-keys", "--with-colons", "/etc/apt/keyrings/edge-energy-vendor.gpg").stdout
    assert kept.count("pub:") == 1
    assert vendor.fingerprint in kept
    assert (
        "Signed-By: /etc/apt/keyrings/edge-energy-vendor.gpg"
        in machine.run("cat", "/etc/apt/sources.list.d/edge-energy-vendor.sources").stdout
    )

    policy = machine.run("apt-cache", "policy", "hello-vendor", "bash-of-theirs").stdout
    assert re.findall(r"Candidate: (\S+)", policy) == ["2.7.12", "(none)"], "nothing else comes from there"

    machine.run("rm", "-rf", "/srv/vendor")
    code, said = step(machine, vendor.fingerprint)
    assert (code, said) == (0, "CHANGED=no\n"), "a second run needs no server and changes nothing"

    the_operators_own_source_is_used(machine, vendor)


def the_operators_own_source_is_used(machine: Container, vendor: AptRepository) -> None:
    """With a key of its own: ours beside it would leave apt useless. Also where an earlier release had put ours."""
    machine.put("/etc/apt/keyrings/operator.asc", (vendor.directory / "key.asc").read_bytes())
    source = f"deb [signed-by=/etc/apt/keyrings/operator.asc] {WHERE}/ stable main\n"
    machine.put("/etc/apt/sources.list.d/operator.list", source)
    code, said = step(machine, vendor.fingerprint)
    assert code == 0, said
    assert "was set up on this machine already (/etc/apt/sources.list.d/operator.list)" in said
    assert "edge-energy" not in machine.run("sh", "-c", "ls /etc/apt/*.d").stdout
    machine.run("apt-cache", "policy", "hello-vendor")


@pytest.fixture
def with_databases(
    container: Callable[..., Container], installed: Callable[..., Path], vendor: AptRepository
) -> tuple[Container, dict[str, str]]:
    """Give an appliance that can reach the vendors' packages, and what install.sh needs to know of them."""
    machine = container("bookworm", on=installed("bookworm"), network=False)
    machine.run("sh", "-c", "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*")
    vendor.add("influxdb2", influxdb2())
    vendor.add("grafana", grafana())
    vendor.publish()
    serve(machine, vendor)
    for name in ("influxdata", "grafana"):  # two addresses: of one, apt wants one key
        machine.run("ln", "-s", ".", f"/srv/vendor/{name}")
    mirrors = {
        f"{name}_{what}": value
        for name in ("INFLUXDATA", "GRAFANA")
        for what, value in {
            "REPOSITORY": f"{WHERE}/{name.lower()}",
            "KEY_URL": f"{WHERE}/{name.lower()}/key.asc",
            "KEY_FINGERPRINT": vendor.fingerprint,
        }.items()
    }
    return machine, mirrors


def install(machine: Container, *options: str, env: dict[str, str], check: bool = True) -> str:
    ran = machine.run(f"{CHECKOUT}/install.sh", *options, env=env, timeout=300, check=check)
    return ran.stdout + ran.stderr


def files(machine: Container) -> str:
    """Return the hashes of everything that an installation writes."""
    places = "/etc /opt/edge-energy /usr/local"
    find = f"find {places} -type f -not -path '*/__pycache__/*' -print0 | sort -z | xargs -0 sha256sum"
    return machine.run("sh", "-c", find).stdout


def ask(machine: Container, token: str, flux: str) -> str:
    """Query InfluxDB in the machine with the token in this file."""
    secret = machine.run("cat", f"{SECRETS}/{token}").stdout.strip()
    command = ["curl", "-s", "http://127.0.0.1:8086/api/v2/query?org=home", "-H", f"Authorization: Token {secret}"]
    return machine.run(*command, "-H", "Content-Type: application/vnd.flux", "-d", flux).stdout


def listens(machine: Container, port: int) -> str:
    return machine.run("ss", "-Hltn", f"sport = :{port}").stdout


def test_an_appliance_with_influxdb_and_grafana(with_databases: tuple[Container, dict[str, str]]) -> None:
    """Measurements arrive in the real InfluxDB; everything is closed that must be; a second run changes nothing."""
    machine, env = with_databases
    machine.wait_active("edge-energy.service")
    said = install(machine, "--simulation", "--with-influxdb", "--with-grafana", env=env)
    machine.wait_active("influxdb.service")
    machine.wait(lambda: ",_result," in ask(machine, "influxdb-read.token", COUNT), 60, "measurements in InfluxDB")

    # Only this machine reaches the database; no password is a default one, none was shown.
    assert "127.0.0.1:8086" in listens(machine, 8086)
    assert "*:8086" not in listens(machine, 8086)
    assert "0.0.0.0:8086" not in listens(machine, 8086)
    for path in machine.path(SECRETS).iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.read_text().strip() not in said
        assert path.read_text().strip() not in machine.path("/var/log/edge-energy-install.log").read_text()
    assert (
        machine.run(
            "curl",
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-X",
            "POST",
            "-u",
            "admin:admin",
            "http://127.0.0.1:8086/api/v2/signin",
        ).stdout
        == "401"
    )

    # The daemon's token may only write, Grafana's only read.
    assert "could not find bucket" in ask(machine, "influxdb-write.token", COUNT)
    daemon = machine.run("cat", "/etc/credstore/edge-energy.influxdb.token").stdout
    assert daemon == machine.run("cat", f"{SECRETS}/influxdb-write.token").stdout

    # What Grafana is given: settings, credentials, data source, dashboard, readable for it and not for others.
    machine.wait_active("grafana-server.service")
    machine.wait(lambda: machine.path("/var/lib/grafana/read").exists())
    given = machine.path("/var/lib/grafana")
    settings = dict(line.split("=", 1) for line in (given / "environment").read_text().splitlines())
    assert settings["GF_AUTH_ANONYMOUS_ENABLED"] == settings["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert settings["GF_ANALYTICS_REPORTING_ENABLED"] == "false"
    password_file = settings["GF_SECURITY_ADMIN_PASSWORD"].removeprefix("$__file{").removesuffix("}")
    assert password_file == "/run/credentials/grafana-server.service/admin.password"
    assert (given / "password").read_text() == machine.run("cat", f"{SECRETS}/grafana-admin.password").stdout
    assert (given / "token").read_text() == machine.run("cat", f"{SECRETS}/influxdb-read.token").stdout
    source = machine.path("/etc/grafana/provisioning/datasources/edge-energy.yaml")
    assert source.stat().st_mode & 0o777 == 0o640
    assert 'url: "http://127.0.0.1:8086"' in source.read_text()
    assert "@" not in source.read_text()
    house: dict[str, Any] = json.loads(machine.path("/etc/grafana/edge-energy/house.json").read_text())
    assert house["timezone"] == "Etc/UTC"

    before = files(machine)
    again = install(machine, "--simulation", "--with-influxdb", "--with-grafana", env=env)
    assert "Nothing changed" in again, again
    assert files(machine) == before

    machine.reboot()
    machine.wait_active("influxdb.service", 60)
    machine.wait_active("edge-energy.service", 60)
    machine.wait_active("grafana-server.service")


def test_an_influxdb_of_somebody_else_on_this_machine_is_left_alone(
    with_databases: tuple[Container, dict[str, str]],
) -> None:
    """Installed and set up by hand: without a token the installation says what to do; with one it joins."""
    machine, env = with_databases
    machine.run("sh", "-c", "apt-get -q -y install /srv/vendor/pool/influxdb2.deb", timeout=120)
    owner = {
        "username": "them",
        "password": "their-password",
        "org": "home",
        "bucket": "theirs",
        "token": "their-token",
    }
    machine.run("curl", "-sf", "http://127.0.0.1:8086/api/v2/setup", "-d", json.dumps(owner))
    unit = machine.run("systemctl", "cat", "influxdb").stdout

    said = install(machine, "--simulation", "--with-influxdb", env=env, check=False)
    assert "was set up by somebody else" in said
    assert "--influxdb-token-file FILE" in said

    machine.put("/root/their.token", "their-token\n", 0o600)
    said = install(machine, "--simulation", "--with-influxdb", "--influxdb-token-file", "/root/their.token", env=env)
    assert "their-token" not in said
    assert machine.run("systemctl", "cat", "influxdb").stdout == unit
    kept = {path.name for path in machine.path(SECRETS).iterdir()}
    assert {"influxdb-write.token", "influxdb-read.token"} <= kept
    assert not kept & {"influxdb-operator.token", "influxdb-admin.password"}
    again = install(machine, "--simulation", "--with-influxdb", env=env)
    assert "Nothing changed" in again, again


def test_what_goes_wrong_is_told_before_anything_is_changed(with_databases: tuple[Container, dict[str, str]]) -> None:
    """Options that make no sense, a port that is taken, a key that is not the vendor's; --dry-run does nothing."""
    machine, env = with_databases
    machine.wait_active("edge-energy.service")
    before = files(machine)
    said = install(machine, "--simulation", "--with-grafana", env=env, check=False)
    assert "Add --with-influxdb" in said
    said = install(machine, "--simulation", "--with-influxdb", "--with-grafana", "--dry-run", env=env)
    assert "would install the Debian packages influxdb2" in said
    assert "would install the Debian packages grafana" in said
    assert files(machine) == before

    machine.run("systemd-run", "--quiet", "--unit=taken", "python3", "-m", "http.server", "8086")
    machine.wait(lambda: bool(listens(machine, 8086)))
    said = install(machine, "--simulation", "--with-influxdb", env=env, check=False)
    assert "port 8086 is in use by python3" in said
    assert "--influxdb-url" in said
    machine.run("systemctl", "stop", "taken")

    wrong = {**env, "INFLUXDATA_KEY_FINGERPRINT": "0123456789ABCDEF0123456789ABCDEF01234567"}
    said = install(machine, "--simulation", "--with-influxdb", env=wrong, check=False)
    assert "expected 0123456789ABCDEF0123456789ABCDEF01234567, found" in said
    assert not machine.path("/usr/bin/influxd").exists()

    machine.run("systemctl", "stop", "vendor")
    said = install(machine, "--simulation", "--with-influxdb", env=env, check=False)
    assert "cannot be fetched" in said
    assert machine.active("edge-energy.service"), "the appliance goes on as it was"


# What is there when it is killed, as a power cut would.
MOMENTS = (
    "/etc/systemd/system/influxdb.service.d/edge-energy.conf",
    "/usr/bin/influxd",
    f"{SECRETS}/influxdb-operator.token",
    f"{SECRETS}/influxdb-write.token",
    "/etc/grafana/edge-energy/house.json",
)


def test_it_is_killed_goes_on_and_goes_away(with_databases: tuple[Container, dict[str, str]]) -> None:
    """Whenever it is killed the next run completes it; --uninstall keeps InfluxDB closed, --purge leaves nothing."""
    machine, env = with_databases
    options = ("--simulation", "--with-influxdb", "--with-grafana")
    given = [f"--setenv={name}={value}" for name, value in env.items()]
    for number, moment in enumerate(MOMENTS):
        unit = f"install-{number}"
        machine.run("systemd-run", "--quiet", f"--unit={unit}", *given, f"{CHECKOUT}/install.sh", *options)
        machine.wait(machine.path(moment).exists, 60, moment)
        machine.run("systemctl", "kill", "--signal=KILL", unit)
        machine.wait(lambda unit=unit: not machine.active(unit))  # type: ignore[misc]
    install(machine, *options, env=env)
    machine.wait(lambda: ",_result," in ask(machine, "influxdb-read.token", COUNT), 60, "measurements in InfluxDB")
    machine.wait_active("grafana-server.service")
    again = install(machine, *options, env=env)
    assert "Nothing changed" in again, again

    install(machine, "--uninstall", env=env)
    machine.run("systemctl", "restart", "influxdb.service")
    assert "*:8086" not in listens(machine, 8086)
    assert "127.0.0.1:8086" in listens(machine, 8086)
    machine.put("/var/lib/influxdb/data/energy/of-influxdb-1", "measurements")
    install(machine, "--uninstall", "--purge", "--yes", env=env)
    assert (
        machine.run("find", "/var/lib/influxdb", "-type", "f").stdout
        == "/var/lib/influxdb/data/energy/of-influxdb-1\n"
    )
    left = machine.run(
        "sh", "-c", "ls -d /var/log/influxdb /var/lib/grafana /etc/edge-energy /etc/grafana", check=False
    )
    assert left.stdout == ""
    assert not machine.active("influxdb.service")
    assert "edge-energy" not in machine.run("sh", "-c", "ls /etc/apt/*.d /etc/apt/keyrings").stdout
