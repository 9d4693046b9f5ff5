"""Under which names the server may be called: a stranger's page must not reach it by a name of its own. No I/O.

Such a page can make its own name point to the appliance's address (DNS rebinding); the browser then sends that name.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

_HOST = re.compile(r"(\[[^\]\[]{2,64}\]|[^:\[\]/@\s]{1,253})(?::[0-9]{1,5})?")


class Hosts:
    """Knows the names of this machine."""

    def __init__(self, machine: str, allowed: Iterable[str]) -> None:
        """`machine` is the host name, `allowed` the setting."""
        machine = machine.lower()
        short = machine.partition(".")[0]
        names = ("localhost", machine, short, f"{short}.local", *allowed)
        self._names = {name.lower().rstrip(".") for name in names if name}

    def known(self, header: str) -> bool:
        """Tell whether a Host header names this machine, with or without a port; every IP address does."""
        name = host(header)
        return name is not None and (name in self._names or _is_address(name))


def host(header: str) -> str | None:
    """Return the name or address of a Host header in lower case, without port and brackets; None for nonsense."""
    found = _HOST.fullmatch(header.strip())
    return found[1].lower().strip("[]").rstrip(".") if found else None


def same_origin(origin: str, header: str) -> bool:
    """Tell whether an Origin header is of the host, port included, that the Host header names."""
    try:
        return urlsplit(origin).netloc.lower() == header.strip().lower() != ""
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
