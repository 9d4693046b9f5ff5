"""Finding or fetching Apache Kafka: its jars come from Maven Central, as for every Java program that uses them."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from . import java, kcat
from .base import CACHE, MissingError, apt_install, making, say

NAME = "kafka"
VERSION = "3.9.1"

_POM = f"""\
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>tests</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""


def find() -> Path | None:
    """Return the folder of its jars, when there are the Java that runs them and the client that watches it."""
    jars = CACHE / f"{NAME}-{VERSION}"
    return jars if jars.exists() and java.find() and kcat.find() else None


def make() -> Path:
    """Let Maven fetch the jars into the cache: 46 MB, once."""
    java.make()
    kcat.make()
    with making(NAME) as cache:
        if jars := find():
            return jars
        if not shutil.which("mvn"):
            apt_install("maven")
        say(f"{NAME}: fetching {VERSION} with Maven, once")
        with tempfile.TemporaryDirectory(dir=cache, prefix="build-") as directory:
            return _fetch(Path(directory), cache / f"{NAME}.log").replace(cache / f"{NAME}-{VERSION}")


def _fetch(directory: Path, log: Path) -> Path:
    (directory / "pom.xml").write_text(_POM)
    command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=jars"]
    with log.open("w") as output:
        made = subprocess.run(command, check=False, cwd=directory, stdout=output, stderr=output)
    if made.returncode:
        tail = log.read_text(errors="replace").splitlines()[-15:]
        raise MissingError("\n".join([f"Maven could not fetch Kafka {VERSION}, see {log}:", *tail]))
    return directory / "jars"
