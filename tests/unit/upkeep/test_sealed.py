"""Secrets leave the appliance encrypted only, and come back only for who knows the passphrase."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from edge_energy.upkeep import sealed
from edge_energy.upkeep.errors import NotDone

if TYPE_CHECKING:
    from pathlib import Path


COST = dict(sealed._COST)


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sealed._COST, "n", 2)


def test_what_is_sealed_is_unsealed_by_its_passphrase_only() -> None:
    """And every change to it is noticed."""
    made = sealed.seal("correct horse battery", b"secrets")
    assert b"secrets" not in made
    assert made != sealed.seal("correct horse battery", b"secrets")
    assert sealed.unseal("correct horse battery", made) == b"secrets"
    for wrong in (made[:-1], made[:-1] + bytes([made[-1] ^ 1]), made[:40], sealed._MAGIC):
        with pytest.raises(NotDone, match="not the passphrase"):
            sealed.unseal("correct horse battery", wrong)
    with pytest.raises(NotDone, match="not the passphrase"):
        sealed.unseal("correct horse batterz", made)
    with pytest.raises(NotDone, match="does not know"):
        sealed.unseal("correct horse battery", b"x" * 100)


def test_the_passphrase_is_the_first_line_of_a_file(tmp_path: Path) -> None:
    """A short one is refused: whoever has the backup can try as many as he likes."""
    file = tmp_path / "passphrase"
    file.write_text("correct horse battery\r\nsomething else\n")
    assert sealed.read_passphrase(file) == "correct horse battery"
    file.write_text("short\n")
    with pytest.raises(NotDone, match="too short"):
        sealed.read_passphrase(file)
    file.write_bytes(b"\xff" * 20)
    with pytest.raises(NotDone, match="cannot be read"):
        sealed.read_passphrase(file)
    with pytest.raises(NotDone, match="cannot be read"):
        sealed.read_passphrase(tmp_path / "absent")


def test_without_the_library_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is imported only for secrets."""
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers", None)
    with pytest.raises(NotDone, match="pip install cryptography"):
        sealed.seal("correct horse battery", b"")


def test_what_is_sealed_belongs_to_what_it_is_bound_to() -> None:
    """The other files of a backup."""
    made = sealed.seal("correct horse battery", b"secrets", b"files")
    assert sealed.unseal("correct horse battery", made, b"files") == b"secrets"
    with pytest.raises(NotDone, match="somebody has changed the backup"):
        sealed.unseal("correct horse battery", made, b"other files")


def test_a_passphrase_costs_what_is_recommended_to_try() -> None:
    """OWASP's least for scrypt: n = 2^17, or the same work in less memory."""
    least = {2**17: 1, 2**16: 2, 2**15: 3}
    assert COST["r"] == 8
    assert COST["p"] >= least[COST["n"]]
