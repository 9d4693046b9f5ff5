"""mosquitto: the broker that the appliance is installed with, its limits adjustable, and its own client."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from .base import apt_install, find_binary, require
from .certificates import make_certificates
from .process import Server

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .certificates import Certificates

NAME = "mosquitto"


def find() -> Path | None:
    """Return the broker, when its clients and what makes certificates are there too."""
    return find_binary(NAME) if find_binary("mosquitto_pub") and find_binary("openssl") else None


def make() -> Path:
    """Install Debian's packages."""
    apt_install(NAME, "mosquitto-clients", "openssl")
    return require(sys.modules[__name__])


class Mosquitto(Server):
    """A broker that persists in its own directory; None leaves a limit at mosquitto's default."""

    def __init__(
        self,
        *,
        max_queued_messages: int | None = None,
        max_inflight_messages: int | None = None,
        persistence: bool = True,
        autosave_interval: int | None = None,
        user: str = "",
        password: str = "",
        tls: bool = False,
        require_certificate: bool = False,
        config: Sequence[str] = (),
    ) -> None:
        super().__init__(require(sys.modules[__name__]))
        self.user, self.password = user, password
        self.certificates: Certificates | None = None
        lines = [f"listener {self.port} {self.host}", f"persistence {str(persistence).lower()}"]
        lines += [f"persistence_location {self.directory}/", f"allow_anonymous {str(not user).lower()}"]
        if os.geteuid() == 0:
            lines.append("user root")  # else root becomes `mosquitto`, who may not write to our directory
        if user:
            lines.append(f"password_file {self._password_file()}")
        if tls:
            made = self.certificates = make_certificates(self.directory / "certificates")
            lines += [f"cafile {made.ca}", f"certfile {made.server}", f"keyfile {made.server_key}"]
            lines.append(f"require_certificate {str(require_certificate).lower()}")
        limits = {
            "max_queued_messages": max_queued_messages,
            "max_inflight_messages": max_inflight_messages,
            "autosave_interval": autosave_interval,
        }
        lines += [f"{name} {value}" for name, value in limits.items() if value is not None]
        file = self.directory / "mosquitto.conf"
        file.write_text("\n".join([*lines, *config, ""]))
        self.arguments += ["-c", str(file)]

    def publish(self, topic: str, *payloads: str, qos: int = 1, retain: bool = False) -> None:
        """Publish each payload (one line each) with mosquitto_pub, in order; return when acknowledged."""
        options = ["-t", topic, "-q", str(qos), *(["-r"] if retain else [])]
        self._client("mosquitto_pub", *options, "-l", text="".join(f"{payload}\n" for payload in payloads))

    def receive(self, topic: str, count: int, *, timeout: int = 10) -> list[str]:
        """Subscribe with mosquitto_sub and return the first payloads, retained ones included."""
        options = ["-t", topic, "-q", "1", "-C", str(count), "-W", str(timeout)]
        return self._client("mosquitto_sub", *options).splitlines()

    def _client(self, program: str, *options: str, text: str = "") -> str:
        arguments = [program, "-h", self.host, "-p", str(self.port), *options]
        if self.user:
            arguments += ["-u", self.user, "-P", self.password]
        if made := self.certificates:
            arguments += ["--cafile", str(made.ca), "--cert", str(made.client), "--key", str(made.client_key)]
        return subprocess.run(arguments, input=text, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout

    def _password_file(self) -> Path:
        file = self.directory / "passwords"
        create = ["mosquitto_passwd", "-b", "-c", str(file), self.user, self.password]
        subprocess.run(create, check=True, capture_output=True)
        return file
