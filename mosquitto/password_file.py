#!/usr/bin/env python3
"""Makes mosquitto's password file: prints what FILE has to contain so that each user has the password in SECRETS.

    password_file.py FILE SECRETS --users NAME… [--remove NAME…]

A user whose password in FILE is right already keeps its line: mosquitto_passwd would write another salt each time,
and an unchanged file would not be one. Users that are not named here were made by the owner, and keep theirs. No
password is ever on a command line, where others see it. Standard library only: Debian's Python runs it.

The form of a line is mosquitto's since 2.0: `name:$7$iterations$salt$hash`, PBKDF2 with HMAC-SHA-512, in base64.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import os
import sys
from base64 import b64decode, b64encode
from pathlib import Path

SALT = 12  # bytes: mosquitto 2.0 takes no other length
ITERATIONS = 101  # mosquitto_passwd's; our passwords are random, and long enough for any number


def line(user: str, password: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """Return a user's line."""
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations)
    return f"{user}:$7${iterations}${b64encode(salt).decode()}${b64encode(digest).decode()}"


def is_right(found: str, password: str) -> bool:
    """Tell whether a line has this password."""
    user, _, rest = found.partition(":")
    try:
        kind, iterations, salt, _ = rest.removeprefix("$").split("$")
        expected = line(user, password, b64decode(salt, validate=True), int(iterations))
    except ValueError:
        return False
    return kind == "7" and hmac.compare_digest(found.encode(), expected.encode())


def password_file(present: str, passwords: dict[str, str], removed: set[str]) -> str:
    """Return the content of the file; `present` is what it contains now."""
    lines = {text.partition(":")[0]: text for text in present.splitlines() if text.partition(":")[0] not in removed}
    for user, password in passwords.items():
        if not is_right(lines.get(user, ""), password):
            lines[user] = line(user, password, os.urandom(SALT))
    return "".join(f"{text}\n" for text in lines.values())


def main() -> None:
    """Print the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("secrets", type=Path, help="directory of the files mqtt-NAME.password")
    parser.add_argument("--users", nargs="+", default=[])
    parser.add_argument("--remove", nargs="+", default=[], help="those that are not among the users")
    options = parser.parse_args()
    passwords = {user: (options.secrets / f"mqtt-{user}.password").read_text().strip() for user in options.users}
    present = options.file.read_text() if options.file.exists() else ""
    sys.stdout.write(password_file(present, passwords, set(options.remove) - passwords.keys()))


if __name__ == "__main__":
    main()
