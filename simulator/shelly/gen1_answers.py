"""What a Gen1 device answers over HTTP. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.shelly.gen1 import MAX_POWER, TEMPERATURE, UPDATE_PERIOD, USER
from simulator.shelly.product import GEN1_FIRMWARE

if TYPE_CHECKING:
    from simulator.shelly.gen1 import Gen1Device
    from simulator.shelly.rpc import Json


def shelly(device: Gen1Device) -> Json:
    """Answer /shelly, which needs no password."""
    return {
        "type": device.identity.product.model,
        "mac": device.identity.mac,
        "auth": device.protected,
        "fw": GEN1_FIRMWARE,
        "discoverable": True,
        "longid": 0,
        "num_outputs": 1,
        "num_meters": 1,
    }


def status(device: Gen1Device) -> Json:
    """Answer /status; time is empty and unixtime 0 until the date is known."""
    unixtime, celsius = device.clock.unixtime or 0, TEMPERATURE
    return {
        "wifi_sta": {"connected": True, "ssid": "house", "ip": "127.0.0.1", "rssi": -61},
        "cloud": {"enabled": False, "connected": False},
        "mqtt": {"connected": device.mqtt_connected},
        "time": f"{unixtime // 3600 % 24:02}:{unixtime // 60 % 60:02}" if unixtime else "",
        "unixtime": unixtime,
        "serial": 1,
        "has_update": False,
        "mac": device.identity.mac,
        "cfg_changed_cnt": 0,
        "actions_stats": {"skipped": 0},
        "relays": [relay(device)],
        "meters": [meter(device)],
        "inputs": [{"input": 0, "event": "", "event_cnt": 0}],
        "ext_sensors": {},
        "ext_temperature": {},
        "ext_humidity": {},
        "temperature": celsius,
        "overtemperature": False,
        "tmp": {"tC": celsius, "tF": round(celsius * 1.8 + 32, 2), "is_valid": True},
        "temperature_status": "Normal",
        "update": {"status": "idle", "has_update": False, "new_version": "", "old_version": GEN1_FIRMWARE},
        "ram_total": 51_688,
        "ram_free": 38_164,
        "fs_size": 233_681,
        "fs_free": 149_094,
        "uptime": int(device.clock.uptime),
    }


def settings(device: Gen1Device) -> Json:
    """Answer /settings."""
    identity = device.identity
    hardware = {"type": identity.product.model, "mac": identity.mac, "hostname": identity.id}
    mqtt = {"enable": device.mqtt_server is not None, "server": device.mqtt_server, "id": identity.id}
    output = {"name": None, "appliance_type": "General", "default_state": "last", "auto_on": 0, "auto_off": 0}
    return {
        "device": hardware | {"num_outputs": 1, "num_meters": 1},
        "mqtt": mqtt | {"update_period": int(UPDATE_PERIOD), "max_qos": 0, "retain": False},
        "coiot": {"enabled": False, "update_period": 15, "peer": ""},
        "login": {"enabled": device.protected, "unprotected": False, "username": USER},
        "name": None,
        "fw": GEN1_FIRMWARE,
        "discoverable": True,
        "max_power": MAX_POWER,
        "mode": "relay",
        "relays": [output | {"ison": device.outlet.output, "has_timer": device.relay.timer is not None}],
    }


def relay(device: Gen1Device) -> Json:
    """Answer /relay/0."""
    timer = device.relay.timer
    return {
        "ison": device.outlet.output,
        "has_timer": timer is not None,
        "timer_started": int(timer.started) if timer else 0,
        "timer_duration": device.relay.duration,
        "timer_remaining": round(device.relay.remaining),
        "overpower": device.overpower,
        "source": device.relay.source,
    }


def meter(device: Gen1Device) -> Json:
    """Answer /meter/0; everything is in Watt-minutes."""
    return {
        "power": round(abs(device.outlet.sample.power), 2),
        "overpower": 0.0,
        "is_valid": True,
        "timestamp": device.clock.unixtime or 0,
        "counters": [round(energy * 60, 3) for energy in device.counter.by_minute],
        "total": device.total,
    }
