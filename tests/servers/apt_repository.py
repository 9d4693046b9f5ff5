"""A signed Debian repository with a throw-away key, and the packages that install.sh takes from others.

`influxdb2` holds the real InfluxDB. `grafana` holds none: Grafana itself cannot be had for a test, so its package has
the same user, directories and unit, and a program that only shows what systemd hands to it.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from . import influxd
from .base import require

if TYPE_CHECKING:
    from collections.abc import Mapping

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]

INFLUXDB_UNIT = """\
[Unit]
Description=InfluxDB
After=network-online.target

[Service]
User=influxdb
Group=influxdb
EnvironmentFile=-/etc/default/influxdb2
ExecStart=/usr/lib/influxdb/scripts/start.sh
Type=forking
PIDFile=/var/lib/influxdb/influxd.pid
Restart=on-failure
StateDirectory=influxdb
UMask=0027

[Install]
WantedBy=multi-user.target
Alias=influxd.service
"""
INFLUXDB_START = """\
#!/bin/bash -e
# As InfluxData's does: starts it, and ends when it is ready.
influxd &
echo $! >/var/lib/influxdb/influxd.pid
address=$(influxd print-config --key-name http-bind-address)
host=${address%:*}
until curl -s -o /dev/null "http://${host:-localhost}:${address##*:}/ready"; do
    [ -e /proc/$! ] || exit 1
    sleep 0.2
done
"""
# Like InfluxData's: it starts InfluxDB at once, and would listen on every address.
INFLUXDB_POSTINST = """\
#!/bin/sh -e
id influxdb >/dev/null 2>&1 || useradd --system --user-group --home-dir /var/lib/influxdb --shell /bin/false influxdb
mkdir -p /etc/influxdb /var/lib/influxdb
chown influxdb:influxdb /var/lib/influxdb
cat >/etc/influxdb/config.toml <<END
bolt-path = "/var/lib/influxdb/influxd.bolt"
engine-path = "/var/lib/influxdb/engine"
END
echo INFLUXD_CONFIG_PATH=/etc/influxdb/config.toml >/etc/default/influxdb2
systemctl daemon-reload
systemctl enable influxdb
systemctl restart influxdb
"""
GRAFANA_UNIT = """\
[Unit]
Description=Stand-in for Grafana

[Service]
User=grafana
Group=grafana
ExecStart=/usr/sbin/grafana-server
UMask=0027

[Install]
WantedBy=multi-user.target
"""
GRAFANA_PROGRAM = """\
#!/bin/sh -e
# What Grafana would get: its settings and, by $__file{…}, the contents of the credentials.
env | sort >/var/lib/grafana/environment
cat /run/credentials/grafana-server.service/admin.password >/var/lib/grafana/password
cat /run/credentials/grafana-server.service/influxdb.token >/var/lib/grafana/token
cat /etc/grafana/provisioning/datasources/edge-energy.yaml /etc/grafana/edge-energy/house.json >/var/lib/grafana/read
exec sleep infinity
"""
GRAFANA_POSTINST = """\
#!/bin/sh -e
getent group grafana >/dev/null || groupadd --system grafana
id grafana >/dev/null 2>&1 || useradd --system --gid grafana --home-dir /usr/share/grafana --shell /bin/false grafana
mkdir -p /var/lib/grafana /etc/grafana/provisioning/dashboards /etc/grafana/provisioning/datasources
chown grafana:grafana /var/lib/grafana
"""


def influxdb2() -> dict[str, str | Path]:
    """Return the files of the package: contents, or where they are."""
    return {
        "usr/bin/influxd": require(influxd),
        "usr/lib/influxdb/scripts/start.sh": INFLUXDB_START,
        "lib/systemd/system/influxdb.service": INFLUXDB_UNIT,
        "DEBIAN/postinst": INFLUXDB_POSTINST,
    }


def grafana() -> dict[str, str | Path]:
    """Return the files of the stand-in."""
    return {
        "usr/sbin/grafana-server": GRAFANA_PROGRAM,
        "lib/systemd/system/grafana-server.service": GRAFANA_UNIT,
        "DEBIAN/postinst": GRAFANA_POSTINST,
    }


class AptRepository:
    """A directory that any web server can serve: `dists/stable`, `pool` and `key.asc`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._home = directory.with_name(f"{directory.name}-gnupg")
        self._home.mkdir(mode=0o700, parents=True)
        (directory / "pool").mkdir(parents=True)
        self.fingerprint = self.new_key("vendor@example.org")

    def new_key(self, owner: str) -> str:
        """Make a signing key; return its fingerprint."""
        self._gpg("--quick-generate-key", owner, "ed25519", "sign", "never")
        listed = self._gpg("--list-keys", "--with-colons", owner).splitlines()
        return next(line.split(":")[9] for line in listed if line.startswith("fpr"))

    def offer_keys(self, *fingerprints: str) -> None:
        """Let `key.asc` hold these keys."""
        (self.directory / "key.asc").write_text(self._gpg("--armor", "--export", *fingerprints))

    def add(self, name: str, files: Mapping[str, str | Path]) -> None:
        """Make a package of files."""
        tree = self.directory.with_name(f"{self.directory.name}-{name}")
        control = (
            f"Package: {name}\nVersion: 2.7.12\nArchitecture: {ARCHITECTURE}\nMaintainer: nobody <n@example.org>\n"
        )
        for path, content in {**files, "DEBIAN/control": f"{control}Description: for a test\n"}.items():
            target = tree / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copy(content, target)
            else:
                target.write_text(content)
            program = path.startswith(("usr/", "DEBIAN/p"))
            target.chmod(0o755 if program else 0o644)
        package = self.directory / "pool" / f"{name}.deb"
        subprocess.run(
            ["dpkg-deb", "-Zgzip", "-z1", "--root-owner-group", "--build", tree, package],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        shutil.rmtree(tree)

    def publish(self, *, key: str = "") -> None:
        """Write the lists, signed with the vendor's key or another one."""
        lists = self.directory / "dists/stable/main" / f"binary-{ARCHITECTURE}"
        lists.mkdir(parents=True, exist_ok=True)
        packages = "\n".join(self._entry(deb) for deb in sorted((self.directory / "pool").iterdir())).encode()
        (lists / "Packages").write_bytes(packages)
        (lists / "Packages.gz").write_bytes(gzip.compress(packages))
        top = lists.parents[1]
        sums = [_checked(file, top) for file in sorted(lists.iterdir())]
        head = [
            "Origin: test",
            "Suite: stable",
            "Codename: stable",
            f"Architectures: {ARCHITECTURE}",
            "Components: main",
        ]
        date = subprocess.run(["date", "-Ru"], check=True, capture_output=True, text=True).stdout.strip()
        release = "\n".join([*head, f"Date: {date}", "SHA256:", *sums, ""])
        signed = self._gpg("--local-user", key or self.fingerprint, "--clearsign", stdin=release)
        (top / "InRelease").write_text(signed)

    def _entry(self, deb: Path) -> str:
        fields = subprocess.run(["dpkg-deb", "--field", deb], check=True, capture_output=True, text=True).stdout
        content = deb.read_bytes()
        sums = f"Size: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
        return f"{fields}Filename: {deb.relative_to(self.directory)}\n{sums}"

    def _gpg(self, *arguments: str, stdin: str = "") -> str:
        command = ["gpg", "--homedir", str(self._home), "--batch", "--yes", "--pinentry-mode", "loopback"]
        command += ["--passphrase", "", *arguments]
        return subprocess.run(command, check=True, input=stdin, capture_output=True, text=True).stdout

    def close(self) -> None:
        """End gpg's agent."""
        subprocess.run(["gpgconf", "--homedir", self._home, "--kill", "all"], check=False)


def _checked(file: Path, top: Path) -> str:
    content = file.read_bytes()
    return f" {hashlib.sha256(content).hexdigest()} {len(content)} {file.relative_to(top)}"
