"""Addresses as an operator writes them, and which of them the daemon speaks to."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.errors import Unavailable
from edge_energy.sources.shelly import addresses
from edge_energy.sources.shelly.addresses import BadAddress, Place


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("192.168.1.7", Place("192.168.1.7", 80)),
        ("192.168.1.7:8080", Place("192.168.1.7", 8080)),
        ("shellypro1pm-ec62608ab9a4.local", Place("shellypro1pm-ec62608ab9a4.local", 80)),
        ("pi.local:8000", Place("pi.local", 8000)),
        ("fd00::7", Place("fd00::7", 80)),
        ("[fd00::7]", Place("fd00::7", 80)),
        ("[fd00::7]:8080", Place("fd00::7", 8080)),
    ],
)
def test_host_and_port_are_read(text: str, place: Place) -> None:
    assert addresses.place(text) == place
    assert addresses.place(str(place)) == place


@pytest.mark.parametrize(
    "text",
    [
        *("", ":80", "192.168.1.7:", "192.168.1.7:0", "192.168.1.7:65536", "192.168.1.7:http", "192.168.1", "a b"),
        *("http://192.168.1.7", "192.168.1.7/rpc", "user@192.168.1.7", "[fd00::7", "[fd00::7]8080", "[]", "a:b:c"),
        "192.168.1.7:\u0661\u0662",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadAddress, match=r"HOST:PORT"):
        addresses.place(text)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        place = addresses.place(text)
    except BadAddress:
        return
    assert place.host
    assert 0 < place.port < 65536


@pytest.mark.parametrize(
    "address",
    ["10.1.2.3", "172.31.0.1", "192.168.0.1", "169.254.7.7", "127.0.0.1", "::1", "fd00::1", "fe80::1%eth0"],
)
def test_the_local_network_is_local(address: str) -> None:
    assert addresses.local(address)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "172.32.0.1",
        "192.169.0.1",
        "0.0.0.0",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "2001:db8::1",
    ],
)
def test_everything_else_is_not(address: str) -> None:
    assert not addresses.local(address)


def test_an_ipv4_address_is_judged_in_its_ipv6_form_too() -> None:
    assert addresses.local("::ffff:192.168.1.7")
    assert not addresses.local("::ffff:8.8.8.8")


async def test_a_name_that_leads_out_of_the_house_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is looked up once, and what it says then is what counts."""

    def lookup(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    found = ["93.184.215.14"]
    with pytest.raises(BadAddress, match=r"93\.184\.215\.14"):
        await addresses.locate(Place("plug.example.org", 80))
    with pytest.raises(BadAddress, match=r"^93\.184\.215\.14 is outside"):
        await addresses.locate(Place("93.184.215.14", 80))
    found = ["93.184.215.14", "192.168.1.7"]
    assert await addresses.locate(Place("plug.example.org", 80)) == Place("192.168.1.7", 80)


async def test_an_unknown_name_is_an_outage_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with pytest.raises(Unavailable, match="IP address"):
        await addresses.locate(Place("plug.local", 80))


def test_our_own_address_is_the_one_on_the_way_to_the_device() -> None:
    assert addresses.own_address("127.0.0.1") == "127.0.0.1"
    assert addresses.own_address("127.0.0.2").startswith("127.")
