"""The secrets in a backup: encrypted with a passphrase (scrypt, then AES-256-GCM)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edge_energy.upkeep.errors import NotDone

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SHORTEST = 12
"""Characters of a passphrase: whoever has the file can try as many as he likes."""
_MAGIC = b"edge-energy seal 1\0"
_SALT, _NONCE = 16, 12
# OWASP's least, in the variant that a Raspberry Pi with 512 MiB has the memory for: 32 MiB, three times. A third of a
# second on a PC, some two seconds on a Raspberry Pi 4.
_COST = {"n": 2**15, "r": 8, "p": 3}
_LONGEST = 1024


def read_passphrase(file: Path) -> str:
    """Return the first line of a file. Raises `NotDone`."""
    try:
        with file.open(encoding="utf-8") as lines:
            passphrase = lines.readline(_LONGEST).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise NotDone(f"the passphrase file {file} cannot be read: {error}") from None
    if len(passphrase) < SHORTEST:
        raise NotDone(
            f"the passphrase in {file} is too short: expected {SHORTEST} characters or more in its first line"
        )
    return passphrase


def seal(passphrase: str, content: bytes, bound: bytes = b"") -> bytes:
    """Encrypt; it is decrypted only together with what it is `bound` to. Raises `NotDone` without the library."""
    salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
    return _MAGIC + salt + nonce + _cipher(passphrase, salt).encrypt(nonce, content, _MAGIC + bound)


def unseal(passphrase: str, sealed: bytes, bound: bytes = b"") -> bytes:
    """Decrypt. Raises `NotDone`, also for another passphrase, or where what it is `bound` to has changed."""
    if not sealed.startswith(_MAGIC):
        raise NotDone("the secrets in the backup are encrypted in a way that this release does not know")
    salt, nonce = sealed[len(_MAGIC) :][:_SALT], sealed[len(_MAGIC) + _SALT :][:_NONCE]
    cipher = _cipher(passphrase, salt)
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as below

    try:
        return cipher.decrypt(nonce, sealed[len(_MAGIC) + _SALT + _NONCE :], _MAGIC + bound)
    except (InvalidTag, ValueError):
        raise NotDone(
            "this is not the passphrase with which the secrets were encrypted, or somebody has changed the backup"
        ) from None


def _cipher(passphrase: str, salt: bytes) -> AESGCM:
    try:
        from cryptography.hazmat.primitives.ciphers import aead  # noqa: PLC0415 - 10 MB, for this alone
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt  # noqa: PLC0415
    except ModuleNotFoundError:
        raise NotDone('secrets need the library "cryptography": pip install cryptography') from None
    return aead.AESGCM(Scrypt(salt=salt, length=32, **_COST).derive(passphrase.encode()))
