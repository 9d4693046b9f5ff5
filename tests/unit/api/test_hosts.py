"""The server answers to the names of this machine only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.api.hosts import Hosts, host, same_origin

HOSTS = Hosts("Pi.home", ["energy.example.org", "Other.Example."])


@pytest.mark.parametrize(
    "header",
    [
        "192.0.2.1",
        "192.0.2.1:8000",
        "[::1]:8000",
        "[fe80::1%25eth0]",
        "localhost",
        "LOCALHOST:8000",
        "pi",
        "pi.home:80",
        "PI.local.",
        "energy.example.org",
        "other.example:1",
    ],
)
def test_our_names_are_known(header: str) -> None:
    """Addresses, localhost, the host name with and without .local, and what the operator allows."""
    assert HOSTS.known(header)


@pytest.mark.parametrize(
    "header",
    [
        "evil.example",
        "localhost.evil.example",
        "192.0.2.1.evil.example",
        "",
        " ",
        ":8000",
        "[::1",
        "a b",
        "pi:x",
        "pi:8000:8000",
        "evil@localhost",
        "localhost/",
        "\udc80",
        "[localhost]]",
        "pi.example.org",
    ],
)
def test_other_names_are_not(header: str) -> None:
    """A stranger's name that points here is refused."""
    assert not HOSTS.known(header)


@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    """Nothing raises."""
    name = host(text)
    assert name is None or name == name.lower()
    assert isinstance(HOSTS.known(text), bool)
    assert isinstance(same_origin(text, text), bool)


@pytest.mark.parametrize(
    ("origin", "header", "same"),
    [
        ("http://pi:8000", "pi:8000", True),
        ("https://PI:8000", "pi:8000", True),
        ("http://pi:8000", "pi:8001", False),
        ("http://evil.example", "pi:8000", False),
        ("null", "pi:8000", False),
        ("", "", False),
        ("http://[::1", "[::1", False),
    ],
)
def test_a_page_of_ours_is_told_from_others(origin: str, header: str, same: bool) -> None:  # noqa: FBT001 - a table
    """Host and port must be those that the request was sent to."""
    assert same_origin(origin, header) is same
