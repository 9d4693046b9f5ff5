"""What happened at one device, for whoever compares. No I/O."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Counts:
    """Since the start of the simulator, over all boots."""

    requests: int = 0
    throttled: int = 0
    unauthorized: int = 0
    notifications: int = 0
    webhooks_sent: int = 0
    webhooks_failed: int = 0
    boots: int = 0
