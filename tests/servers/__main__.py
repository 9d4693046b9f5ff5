"""`python -m tests.servers`: bring every server that lacks; seconds when all are there."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, cast

from . import curl, debian, influxd, java, kafka_jars, kcat, mosquitto, outside, pubsub, shellcheck
from .base import MissingError, say

if TYPE_CHECKING:
    from .base import ServerModule

MODULES = (mosquitto, curl, influxd, java, kcat, kafka_jars, pubsub, debian, outside, shellcheck)
SERVERS = [cast("ServerModule", module) for module in MODULES]


def main() -> int:
    """Say one line per server; without one of them, a run of CI has failed."""
    lacking = 0
    for server in SERVERS:
        begin = time.monotonic()
        try:
            found = server.find()
            binary = found or server.make()
        except MissingError as error:
            lacking += 1
            say(f"{server.NAME}: lacking. {error}")
        else:
            say(f"{server.NAME}: {binary}" + ("" if found else f", made in {time.monotonic() - begin:.0f} s"))
    return 1 if lacking and os.environ.get("CI") == "true" else 0


if __name__ == "__main__":
    sys.exit(main())
