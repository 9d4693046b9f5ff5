"""The processor of a Raspberry Pi, emulated: `make test-arm64`. Slow, so not among the other tests."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

import pytest

from tests.conftest import skipped_if_missing
from tests.servers import emulator
from tests.servers.appliance import copy_repository, install
from tests.servers.base import require
from tests.servers.debian import RELEASES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.container import Container

pytestmark = [
    pytest.mark.skipif(not os.environ.get("ARM64_TESTS"), reason="slow: `make test-arm64`"),
    pytest.mark.timeout(3600),
]
# The emulator knows neither the mounts of systemd's credentials nor namespaces of users and of IPC. All else of the
# units stays as it is.
EMULATED = """[Service]
PrivateUsers=no
PrivateIPC=no
LoadCredential=
Environment=CREDENTIALS_DIRECTORY=/run/emulated/%N
ExecStartPre=+sh -c 'mkdir -p /run/emulated/%N && cp {} /run/emulated/%N/mqtt.password && chmod -R a+rX /run/emulated'
"""
SECRETS = {
    "edge-energy": "/etc/credstore/edge-energy.mqtt.password",
    "edge-energy-simulator": "/etc/edge-energy/secrets/mqtt-simulator.password",
}


@pytest.fixture(autouse=True)
def _emulated() -> None:
    if platform.machine() != "aarch64":
        with skipped_if_missing():
            require(emulator)


@pytest.mark.parametrize("debian", RELEASES)
def test_install_sh_makes_an_appliance_and_readings_flow(debian: str, container: Callable[..., Container]) -> None:
    machine = container(debian, architecture="arm64")
    assert machine.run("uname", "-m").stdout.strip() == "aarch64"
    for unit, credentials in SECRETS.items():
        machine.put(f"/etc/systemd/system/{unit}.service.d/emulated.conf", EMULATED.format(credentials))
    copy_repository(machine)
    install(machine, "--simulation", timeout=3000)
    machine.wait_active("edge-energy.service", 300)
    machine.wait(lambda: "zigbee-0x" in devices(machine), 300, "the simulated house is heard")


def devices(machine: Container) -> str:
    return machine.run("edge-energy", "devices", check=False, timeout=120).stdout
