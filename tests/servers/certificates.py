"""Throw-away certificates for a server on 127.0.0.1 and one client, made with openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Certificates:
    """The files of one small authority: its certificate, a server's and a client's with their keys."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


def make_certificates(directory: Path, client: str = "edge") -> Certificates:
    """Make an authority, a certificate for 127.0.0.1 and localhost, and one for the named client."""
    directory.mkdir(exist_ok=True)
    names = ("ca", "server", "client")
    certificate = {name: directory / f"{name}.crt" for name in names}
    key = {name: directory / f"{name}.key" for name in names}

    def create(name: str, common_name: str, *extensions: str) -> None:
        signed_by = () if name == "ca" else ("-CA", certificate["ca"], "-CAkey", key["ca"])
        added = [argument for extension in extensions for argument in ("-addext", extension)]
        subject = ["-subj", f"/CN={common_name}", "-days", "2"]
        files = ["-keyout", str(key[name]), "-out", str(certificate[name])]
        new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        subprocess.run([*new, *subject, *files, *signed_by, *added], check=True, capture_output=True)

    create("ca", "test authority", "keyUsage=critical,keyCertSign,cRLSign")
    leaf = "basicConstraints=critical,CA:FALSE"
    create(
        "server",
        "localhost",
        leaf,
        "subjectAltName=IP:127.0.0.1,DNS:localhost",
        "extendedKeyUsage=serverAuth",
    )
    create("client", client, leaf, "extendedKeyUsage=clientAuth")
    return Certificates(certificate["ca"], certificate["server"], key["server"], certificate["client"], key["client"])
