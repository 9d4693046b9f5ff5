"""How many requests an address may make. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

BURST = 2.0  # seconds' worth of requests that may come at once
MOST_ADDRESSES = 4_096
_ROUNDING = 1e-6  # seconds


class Rates:
    """A token bucket for each address: `rate` requests per second, twice as many at once after a pause.

    A bucket is one number, the instant at which it will be full again.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def wait(self, address: str, now: float) -> float:
        """Take one request at `now` (s): return 0, or without taking it the seconds until there is room."""
        key = owner(address)
        full_at = max(self._full_at.get(key, now), now) + 1 / self._rate
        over = full_at - now - BURST
        if over > _ROUNDING:
            return over
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        if len(self._full_at) > MOST_ADDRESSES:  # the one that was quiet the longest
            self._full_at.popitem(last=False)
        return 0.0


@lru_cache(MOST_ADDRESSES)
def owner(address: str) -> str:
    """Return what stands for one caller: an IPv4 address, or the /64 in which one has all IPv6 addresses."""
    try:
        found: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Network((int(found), 64), strict=False))
