"""A root file system that nothing is written to, as it is on a card that should last: only the data is writable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.appliance.numbered import Numbered
from tests.servers.base import ServerError
from tests.servers.debian import RELEASES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers.container import Container

DAEMON = "edge-energy.service"
# The daemon needs the first only; mosquitto, where it keeps what is not yet delivered, and its log.
WRITABLE = ("/var/lib/edge-energy", "/var/lib/mosquitto", "/var/log/mosquitto")


@pytest.mark.parametrize("debian", RELEASES)
def test_it_works_and_keeps_its_data_over_reboot_and_power_cut(
    debian: str, container: Callable[..., Container], installed: Callable[..., Path]
) -> None:
    machine = container(debian, on=installed(debian), network=False, read_only=True, writable=WRITABLE)
    machine.run("chown", "mosquitto:", *WRITABLE[1:])
    machine.run("systemctl", "restart", "mosquitto.service")
    machine.wait_active(DAEMON)
    with pytest.raises(ServerError, match="Read-only file system"):
        machine.run("touch", "/etc/edge-energy/something")
    with Numbered(machine) as numbered:
        machine.wait(lambda: len(numbered.acknowledged["http"]) > 3, what="readings are recorded")
        machine.wait(lambda: simulated_devices(machine) > 5, what="the simulated house is heard")
    for end in (machine.stop, machine.kill):
        end()
        machine.start_again()
        machine.wait_active(DAEMON)
        assert numbered.acknowledged["http"] <= numbered.recorded()["http"]
    machine.wait(lambda: simulated_devices(machine) > 5, what="the simulated house is heard again")


def simulated_devices(machine: Container) -> int:
    return machine.run("edge-energy", "devices", check=False).stdout.count("zigbee-0x")
