"""Sizes, durations, hosts and MQTT topics as an operator writes them. No I/O.

A function returns what was meant, or raises a ValueError that says what was expected; with no text where the
description of the setting says enough.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from ipaddress import ip_address
from itertools import zip_longest
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

_NUMBER = r"([0-9]{1,15}(?:\.[0-9]{1,9})?)"
_PLAIN = re.compile(_NUMBER)
_DURATION = re.compile("".join(rf"(?:{_NUMBER} ?{unit} ?)?" for unit in ("d", "h", "m", "s", "ms")))
_SECONDS = (86400, 3600, 60, 1, 0.001)
_SIZE = re.compile(_NUMBER + r" ?(B|[KMGT]i?B)", re.IGNORECASE)
_HOST = re.compile(r"\w(?:[\w.-]{0,252}\w)?\.?")
QUANTITY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
DEVICE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_CHANNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]{0,31}")
_SEGMENT = re.compile(r"\{([1-9][0-9]?)\}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Zigbee2MQTT's list of all known devices is large, no measurement, and published again at every change.
_DEFINITIONS = "zigbee2mqtt/bridge/definitions"


def duration(value: object) -> float:
    """Return seconds: "250ms", "5s", "1h30m", "7d", or a plain number of seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if abs(value) < 1e15 else float("inf")  # float() fails above 1e308
    if isinstance(value, str) and (text := value.strip()):
        if _PLAIN.fullmatch(text):
            return float(text)
        if found := _DURATION.fullmatch(text):
            return sum(float(n) * unit for n, unit in zip(found.groups(), _SECONDS, strict=True) if n)
    raise ValueError


def size(value: object) -> int:
    """Return bytes: "1GiB", "500MB", or a plain number of bytes."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = value.strip()
        if text.isdecimal() and _PLAIN.fullmatch(text):
            return int(text)
        if found := _SIZE.fullmatch(text):
            unit = found[2].upper()
            return int(float(found[1]) * (1024 if "I" in unit else 1000) ** "BKMGT".index(unit[0]))
    raise ValueError


def number(value: object) -> object:
    """Refuse `true` where a number is expected, which would pass for 1."""
    if isinstance(value, bool):
        raise ValueError  # noqa: TRY004 - a ValueError is what becomes a problem of the configuration
    return value


def host(value: str) -> str:
    """Return a host name or IP address, without the brackets that an IPv6 address has in a URL."""
    try:
        return str(ip_address(value.removeprefix("[").removesuffix("]")))
    except ValueError:
        # What ends in a number is a mistyped address, never a name.
        if _HOST.fullmatch(value) and not value.rstrip(".").rpartition(".")[2].isdecimal():
            return value
    raise ValueError


def brokers(value: str) -> str:
    """Return Kafka brokers, each a host name or address with its port, with commas between them."""
    found = []
    for part in value.split(","):
        name, colon, port = part.strip().rpartition(":")
        if not colon or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError
        known = host(name)
        found.append(f"[{known}]:{port}" if ":" in known else f"{known}:{port}")
    return ",".join(found)


def address(value: str) -> str:
    """Return an IP address in its usual form."""
    try:
        return str(ip_address(value))
    except ValueError:
        raise ValueError from None


def device_id(value: str) -> str:
    """Return the id of a device as a URL can carry it."""
    if not DEVICE_ID.fullmatch(value):
        raise ValueError
    return value


def channel(value: object) -> str:
    """Return which output of a device is meant: "" for its only or first one, "1" for its second, "l2" on Zigbee."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not (value == "" or _CHANNEL.fullmatch(value)):
        raise ValueError
    return "" if value == "0" else value


def http_url(value: str) -> str:
    """Return an http or https URL without a slash at its end."""
    try:
        url = urlsplit(value)
        valid = url.scheme in ("http", "https") and host(url.hostname or "") and url.port != 0
    except ValueError:
        valid = False
    if not valid or url.username is not None or url.query or url.fragment or re.search(r"\s", value):
        raise ValueError
    return value.rstrip("/")


def loopback(name: str) -> bool:
    """Tell whether a host name or an IP address leads to this machine."""
    name = name.rstrip(".")
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def timezone(value: str) -> str:
    """Return the name of a time zone that this machine knows."""
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        near = get_close_matches(value, available_timezones(), 1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise ValueError(f'expected the name of a time zone, like "Europe/Paris"{hint}') from None
    return value


def quantity(value: str) -> str:
    """Return the name of a quantity: a letter, then letters, digits and _; not a name that messages use."""
    if value in ("device", "time", "timestamp"):
        raise ValueError(f'expected another name: every message has a "{value}" of its own')
    if not QUANTITY.fullmatch(value):
        raise ValueError
    return value


def plain_text(value: str) -> str:
    """Return a text without line breaks and other control characters."""
    if not value or _CONTROL.search(value):
        raise ValueError
    return value


def topic(value: str) -> str:
    """Return an MQTT topic without wildcards, as a base of other topics."""
    if re.search(r"[+#]", plain_text(value)) or value[0] in "/$" or value.endswith("/"):
        raise ValueError
    return value


def topic_prefix(value: str) -> str:
    """Return the beginning of topics, with + for any one level."""
    if value.endswith("/") or "#" in value:
        raise ValueError
    return topic_filter(f"{value}/online").removesuffix("/online")


def topic_filter(value: str) -> str:
    """Return an MQTT topic filter that one sensor, or sensors of one kind, can be behind."""
    levels = plain_text(value).split("/")
    if any("#" in level for level in levels[:-1]) or ("#" in levels[-1] and levels[-1] != "#"):
        raise ValueError("expected # only as the last level, alone, like house/#")
    if any("+" in level and level != "+" for level in levels):
        raise ValueError("expected + only as a whole level, like house/+/power")
    if levels[0] == "$share":
        raise ValueError("expected no shared subscription: another client would get a part of the messages")
    if set(levels) <= {"+", "#"}:
        raise ValueError("expected a filter that does not catch everything: name at least one level")
    if overlapping(value, _DEFINITIONS):
        raise ValueError(f"expected a filter that does not catch {_DEFINITIONS}: name more levels")
    return value


def overlapping(one: str, other: str) -> bool:
    """Tell whether some topic matches both filters."""
    if (one[:1] == "$" and other[:1] in "+#") or (other[:1] == "$" and one[:1] in "+#"):
        return False  # a wildcard at the beginning does not match $SYS and its like
    for a, b in zip_longest(one.split("/"), other.split("/")):
        if "#" in (a, b):
            return True
        if a is None or b is None or (a != b and "+" not in (a, b)):
            return False
    return True


def device_template(value: str, topic: str) -> str:
    """Return a device id in which {1}, {2}… stand for the + levels of the topic, if the topic has so many."""
    wildcards = topic.split("/").count("+")
    if re.search(r"[{}]", _SEGMENT.sub("", plain_text(value))):
        raise ValueError("expected braces only around the number of a + in the topic, like {1}")
    if any(int(number) > wildcards for number in _SEGMENT.findall(value)):
        known = f"at most {{{wildcards}}}" if wildcards else "no {…}"
        raise ValueError(f"expected {known}: the topic has {wildcards} +")
    return value
