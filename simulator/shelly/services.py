"""The components around a relay or a meter, and the settings that they all leave the shop with. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.shelly.component import Component, Connected

if TYPE_CHECKING:
    from simulator.shelly.product import Identity
    from simulator.shelly.rpc import Json

ADDRESS = "127.0.0.1"
NETWORK = "house"


def network(identity: Identity) -> list[Component]:
    """Make Wi-Fi, Bluetooth, cloud and, where there is a socket for it, Ethernet."""
    station = {"enable": True, "is_open": False, "ipv4mode": "dhcp", "ip": None, "netmask": None, "gw": None}
    access_point = {"ssid": identity.id, "is_open": True, "enable": False, "range_extender": {"enable": False}}
    wifi = {
        "ap": access_point,
        "sta": {"ssid": NETWORK, **station, "nameserver": None},
        "sta1": {"ssid": None, **station, "enable": False, "nameserver": None},
        "roam": {"rssi_thr": -80, "interval": 60},
    }
    status = {"sta_ip": ADDRESS, "status": "got ip", "ssid": NETWORK, "bssid": "02:00:00:00:00:01", "rssi": -58}
    parts = [
        Component("BLE", {"enable": False, "rpc": {"enable": True}, "observer": {"enable": False}}),
        Component("Cloud", {"enable": False, "server": None}, {"connected": False}),
        Component("Wifi", wifi, status),
    ]
    if identity.product.ethernet:
        wired = {"enable": True, "ipv4mode": "dhcp", "ip": None, "netmask": None, "gw": None, "nameserver": None}
        parts.append(Component("Eth", wired, {"ip": None}))
    return parts


def inputs(identity: Identity) -> list[Component]:
    """Make the terminals for wall switches, with nothing connected to them."""
    settings = {"name": None, "type": "switch", "enable": True, "invert": False, "factory_reset": True}
    return [
        Component("Input", {"id": n, **settings}, {"id": n, "state": False}, number=n)
        for n in range(identity.product.inputs)
    ]


def outgoing(identity: Identity) -> list[Connected]:
    """Make the outbound WebSocket and MQTT, both off."""
    mqtt = {
        "enable": False,
        "server": None,
        "client_id": identity.id,
        "user": None,
        "ssl_ca": None,
        "topic_prefix": identity.id,
        "rpc_ntf": True,
        "status_ntf": False,
        "use_client_cert": False,
        "enable_rpc": True,
        "enable_control": True,
    }
    return [
        Connected("Mqtt", mqtt, secrets={"pass": None}),
        Connected("Ws", {"enable": False, "server": None, "ssl_ca": "ca.pem"}),
    ]


def relay(*, returned: bool) -> Json:
    """Give the configuration of a relay from the factory, except that the relay comes back as it was."""
    more = {"undervoltage_limit": 0, "input_id": 0, "reverse": False} if returned else {}
    return {
        "id": 0,
        "name": None,
        "in_mode": "follow",
        "initial_state": "restore_last",
        "auto_on": False,
        "auto_on_delay": 60.0,
        "auto_off": False,
        "auto_off_delay": 60.0,
        "power_limit": 4480,
        "voltage_limit": 280,
        "autorecover_voltage_errors": False,
        "current_limit": 16.0,
        **more,
    }
