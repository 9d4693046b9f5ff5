"""Finding or building influxd, version 2: Debian has only version 1, so it is built from its Go module."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from .base import CACHE, MissingError, apt_install, find_binary, making, say

NAME = "influxd"
VERSION = "v2.7.12"

_MODULE = f"""\
module influxd

go 1.23

require github.com/influxdata/influxdb/v2 {VERSION}

replace github.com/nats-io/nats-streaming-server v0.11.2 => \
github.com/influxdata/nats-streaming-server v0.11.3-0.20201112040610-c277f7560803
"""

# Keeps the daemon's own package among the module's requirements; never compiled.
_TOOLS = """\
//go:build tools

package tools

import _ "github.com/influxdata/influxdb/v2/cmd/influxd"
"""

# Flux denies warnings, and compilers newer than it have new ones; RUSTFLAGS would not reach what the
# build scripts depend on.
_RUSTC = """\
#!/bin/sh
case "$*" in
  *--cap-lints*) exec "$@" ;;
  *) exec "$@" --cap-lints warn ;;
esac
"""


def find() -> Path | None:
    """Return an influxd of version 2: $INFLUXD, on PATH, or in the cache."""
    binary = find_binary(NAME, "INFLUXD")
    if binary is None or "v2." in _version(binary):
        return binary
    cached = CACHE / NAME  # a version 1 on PATH must not hide the one in the cache
    return cached if cached.exists() else None


def make() -> Path:
    """Build it into the cache: about five minutes, once."""
    with making(NAME) as cache:
        if binary := find():  # another run may have built it while this one waited
            return binary
        _require_compilers()
        say(f"{NAME}: building {VERSION}, about five minutes, once")
        with tempfile.TemporaryDirectory(dir=cache, prefix="build-") as directory:
            built = _build(Path(directory), cache / f"{NAME}.log")
            return built.replace(cache / NAME)


def _version(binary: Path) -> str:
    return subprocess.run([binary, "version"], check=False, capture_output=True, text=True).stdout


def _require_compilers() -> None:
    lacking = [tool for tool in ("go", "cargo") if not shutil.which(tool)]
    if lacking:
        raise MissingError(f"building {NAME} needs Go 1.23 or newer and Rust; not found: {', '.join(lacking)}")
    if not all(shutil.which(tool) for tool in ("clang", "gcc", "pkg-config")):
        apt_install("clang", "gcc", "libc6-dev", "pkg-config")


def _build(directory: Path, log: Path) -> Path:
    module, tools, rustc = directory / "module", directory / "bin", directory / "rustc"
    module.mkdir()
    (module / "go.mod").write_text(_MODULE)
    (module / "tools.go").write_text(_TOOLS)
    rustc.write_text(_RUSTC)
    rustc.chmod(0o755)
    built = module / NAME
    environment = {
        **os.environ,
        "CGO_ENABLED": "1",
        "GOBIN": str(tools),
        "GOFLAGS": "-mod=mod",
        "PKG_CONFIG": str(tools / "pkg-config"),  # builds the Rust half of Flux when cgo asks for its flags
        "RUSTC_WRAPPER": str(rustc),
        "RUSTUP_TOOLCHAIN": "stable",
    }
    package = "github.com/influxdata/influxdb/v2/cmd/influxd"
    tags = "sqlite_foreign_keys,sqlite_json"
    commands = [
        ["go", "install", "github.com/influxdata/pkg-config@latest"],
        ["go", "build", "-tags", tags, "-ldflags", f"-X main.version={VERSION}", "-o", str(built), package],
    ]
    with log.open("w") as output:
        for command in commands:
            made = subprocess.run(command, check=False, cwd=module, env=environment, stdout=output, stderr=output)
            if made.returncode:
                tail = log.read_text(errors="replace").splitlines()[-15:]
                raise MissingError("\n".join([f"building {NAME} failed, see {log}:", *tail]))
    return built
