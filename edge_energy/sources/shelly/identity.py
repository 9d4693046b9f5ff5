"""Who a Shelly is, from what it says of itself. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from edge_energy.devices import shelly_rpc

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST = 64  # characters of a name or model


class Identity(NamedTuple):
    """`device` is our id, `own_id` the device's; `name` is the one that its owner gave it, else its own id."""

    device: str
    own_id: str
    name: str
    model: str
    generation: int
    firmware: str
    realm: str
    """What it wants a password for; its own id."""


def is_gen1(info: Mapping[str, Any]) -> bool:
    """Tell by the answer to `GET /shelly` whether a device is of the first generation."""
    return "gen" not in info and "type" in info


def of_gen2(info: Mapping[str, Any]) -> Identity | None:
    """Return the identity in `GET /shelly` or `Shelly.GetDeviceInfo` of Gen2 and later, None where there is none."""
    own_id, generation = _text(info, "id"), info.get("gen")
    device = shelly_rpc.device_id(own_id)
    if device is None or type(generation) is not int:
        return None
    model = " ".join(filter(None, (_text(info, "app"), _text(info, "model"))))
    name = _text(info, "name") or own_id
    return Identity(device, own_id, name, model, generation, _text(info, "ver"), _text(info, "auth_domain") or own_id)


def of_gen1(info: Mapping[str, Any], settings: Mapping[str, Any]) -> Identity | None:
    """Return the identity in `GET /shelly` and `GET /settings` of Gen1.

    By its host name, which is how MQTT names it too, with 6 or 12 digits; `/shelly` has its whole MAC address.
    """
    about = settings.get("device")
    own_id = _text(about, "hostname") if isinstance(about, dict) else ""
    device = shelly_rpc.device_id(own_id)
    if device is None:
        return None
    return Identity(
        device, own_id, _text(settings, "name") or own_id, _text(info, "type"), 1, _text(info, "fw"), own_id
    )


def _text(info: Mapping[str, Any], key: str) -> str:
    value = info.get(key)
    return value[:_LONGEST] if type(value) is str else ""
