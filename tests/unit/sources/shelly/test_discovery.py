"""Discovery: what announcements say, who of it is taken, and how each device is heard."""

from __future__ import annotations

import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zeroconf import IPVersion
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from edge_energy.clock import uptime
from edge_energy.errors import Unavailable
from edge_energy.live import Live
from edge_energy.reading import Reading
from edge_energy.sources.shelly import discovery
from edge_energy.sources.shelly.discovery import Discovery, Found
from edge_energy.ways import Ways

LOOPBACK = "127.0.0.1"
GEN2 = {"gen": "2", "app": "Pro1PM", "ver": "1.7.5"}


def heard(device: str, way: str, seconds_ago: float) -> tuple[Live, Ways]:
    """Return parts of a daemon that heard a device once."""
    live, ways = Live(), Ways()
    live.describe(device, "Boiler", "Pro1PM")
    live.locate(device, "192.168.1.7")
    ways.news(Reading(device, None, {"power": 1.0}), way, uptime() - round(seconds_ago * 1e9))
    return live, ways


def test_an_announcement_says_who_and_where() -> None:
    found = discovery.found("shellypro1pm-ec62608ab9a4", ["192.168.1.7"], 80, GEN2)
    assert found == Found("shellypro1pm-ec62608ab9a4", "shelly-ec62608ab9a4", "192.168.1.7", 80, 2, "Pro1PM", "1.7.5")


def test_the_first_generation_says_little() -> None:
    found = discovery.found("shelly1pm-A1B2C3", ["192.168.1.7"], 80, {"id": "shelly1pm-A1B2C3", "fw_id": "x"})
    assert found is not None
    assert (found.device, found.generation) == ("shelly-a1b2c3", 1)


def test_an_address_of_another_network_is_not_offered() -> None:
    assert discovery.found("shellypro1pm-ec62608ab9a4", ["8.8.8.8"], 80, GEN2) is None
    found = discovery.found("shellypro1pm-ec62608ab9a4", ["8.8.8.8", "192.168.1.7"], 80, GEN2)
    assert found is not None
    assert found.address == "192.168.1.7"


properties = st.dictionaries(st.sampled_from(["gen", "app", "ver", "id"]), st.none() | st.text(max_size=200))


@given(
    st.text(max_size=300), st.lists(st.sampled_from(["192.168.1.7", "8.8.8.8"])), st.integers(-1, 99999), properties
)
def test_whatever_a_stranger_announces_can_be_shown(
    name: str, places: list[str], port: int, said: dict[str, str | None]
) -> None:
    found = discovery.found(name, places, port, said)
    if found is not None:
        assert all(text.isprintable() and len(text) <= 64 for text in (found.id, found.model, found.version))
        assert found.generation in range(9)


def test_two_announcements_are_one_device() -> None:
    """Gen2 announces itself as _shelly and as _http; not every firmware says the same in both."""
    one = discovery.found("shellypro1pm-ec62608ab9a4", ["192.168.1.7"], 80, GEN2)
    other = discovery.found("ShellyPro1PM-EC62608AB9A4", ["192.168.1.7"], 80, {})
    assert one is not None
    assert other is not None
    assert discovery.merged([other, one]) == [one]


def test_known_devices_tell_how_long_ago_they_were_heard() -> None:
    live, ways = heard("shelly-ec62608ab9a4", "webhook", 90)
    live.availability("zigbee-0x1", available=True)
    (known,) = Discovery(live, ways).known()
    assert known["ways"].pop("webhook") == pytest.approx(90, abs=5)
    assert known == {
        "device": "shelly-ec62608ab9a4",
        "name": "Boiler",
        "model": "Pro1PM",
        "address": "192.168.1.7",
        "available": None,
        "ways": {},
    }


@pytest.fixture
def announced() -> AsyncServiceInfo:
    service = "_shelly._tcp.local."
    return AsyncServiceInfo(
        service,
        f"shellyplus1pm-0a1b2c3d4e5f.{service}",
        addresses=[socket.inet_aton(LOOPBACK)],
        port=4321,
        properties=GEN2,
        server="shellyplus1pm-0a1b2c3d4e5f.local.",
    )


async def test_an_announced_device_is_found(announced: AsyncServiceInfo) -> None:
    """By multicast on the loopback interface, and with the ways by which it is heard."""
    live, ways = heard("shelly-0a1b2c3d4e5f", "mqtt 127.0.0.1:1883", 5)
    async with AsyncZeroconf(interfaces=[LOOPBACK], ip_version=IPVersion.V4Only) as zeroconf:
        await (await zeroconf.async_register_service(announced))
        devices = {each["id"]: each for each in await Discovery(live, ways).find(4, LOOPBACK)}
    found = devices["shellyplus1pm-0a1b2c3d4e5f"]
    assert list(found.pop("ways")) == ["mqtt 127.0.0.1:1883"]
    assert found == {
        "id": "shellyplus1pm-0a1b2c3d4e5f",
        "device": "shelly-0a1b2c3d4e5f",
        "address": LOOPBACK,
        "port": 4321,
        "generation": 2,
        "model": "Pro1PM",
        "version": "1.7.5",
    }


async def test_a_search_ends_cleanly_when_it_is_cancelled() -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(Discovery(Live(), Ways()).find(30, LOOPBACK), 0.3)


async def test_an_interface_that_is_none_of_ours_is_an_error_in_words() -> None:
    with pytest.raises(Unavailable, match="mDNS"):
        await Discovery(Live(), Ways()).find(0.1, "192.0.2.77")
