"""The retained topics by which Zigbee2MQTT 2.x describes itself and its devices. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulator.zigbee_device import ZigbeeDevice

VERSION = "2.14.1"
COORDINATOR = "0x00212effff0a1b2c"
CLUSTERS = {
    "genBasic": 0x0000,
    "genPowerCfg": 0x0001,
    "genIdentify": 0x0003,
    "genOnOff": 0x0006,
    "genOta": 0x0019,
    "msTemperatureMeasurement": 0x0402,
    "msRelativeHumidity": 0x0405,
    "seMetering": 0x0702,
    "haElectricalMeasurement": 0x0B04,
    "manuSpecificTuya": 0xEF00,
}
FILLER_CLUSTERS = 120  # bring `bridge/definitions` to the 230 kB of the real one


def info(base_topic: str, devices: Iterable[ZigbeeDevice], advanced: dict[str, Any], qos: int) -> dict[str, Any]:
    """Compose `bridge/info`: a subset of the real one, which carries its whole configuration and its schema."""
    return {
        "version": VERSION,
        "commit": "simulated",
        "coordinator": {"ieee_address": COORDINATOR, "type": "ConBee2/RaspBee2", "meta": {"version": "0x26780700"}},
        "network": {"channel": 15, "pan_id": 0x1A62, "extended_pan_id": "0x00212effff0a1b2c"},
        "log_level": "info",
        "permit_join": False,
        "restart_required": False,
        "zigbee_herdsman": {"version": "simulated"},
        "zigbee_herdsman_converters": {"version": "simulated"},
        "config": {
            "advanced": {"channel": 15, "elapsed": False, "output": "json", **advanced},
            "availability": {"enabled": True, "active": {"timeout": 10}, "passive": {"timeout": 1500}},
            "device_options": {"qos": qos} if qos else {},
            "devices": {device.ieee_address: {"friendly_name": device.name} for device in devices},
            "mqtt": {"base_topic": base_topic, "version": 4},
        },
        "config_schema": {},
    }


def device_list(devices: Iterable[ZigbeeDevice]) -> list[dict[str, Any]]:
    """Compose `bridge/devices`: the coordinator first; it has no definition."""
    coordinator = {
        "ieee_address": COORDINATOR,
        "type": "Coordinator",
        "network_address": 0,
        "supported": True,
        "friendly_name": "Coordinator",
        "disabled": False,
        "interviewing": False,
        "interview_completed": True,
        "interview_state": "SUCCESSFUL",
        "endpoints": {"1": _endpoint(())},
    }
    return [coordinator, *map(_device, devices)]


def definitions() -> dict[str, Any]:
    """Compose `bridge/definitions`: as large as the real one, of which nothing here is read by anybody."""
    filler = {f"manuSpecificSimulated{n:03}": 0xFC00 + n for n in range(FILLER_CLUSTERS)}
    return {
        "clusters": {name: _cluster(name, number) for name, number in {**CLUSTERS, **filler}.items()},
        "custom_clusters": {},
        "actions": ["raw"],
    }


def _device(device: ZigbeeDevice) -> dict[str, Any]:
    model = device.model
    return {
        "ieee_address": device.ieee_address,
        "type": "EndDevice" if model.battery else "Router",
        "network_address": device.network_address,
        "supported": True,
        "friendly_name": device.name,
        "disabled": False,
        "definition": {
            "source": "native",
            "model": model.model,
            "vendor": model.vendor,
            "description": model.description,
            "exposes": model.exposes(),
            "options": [],
            "supports_ota": True,
        },
        "power_source": "Battery" if model.battery else "Mains (single phase)",
        "model_id": model.model_id,
        "manufacturer": model.manufacturer,
        "interviewing": False,
        "interview_completed": True,
        "interview_state": "SUCCESSFUL",
        "endpoints": {"1": _endpoint(sorted({a.cluster for a in model.attributes}))},
    }


def _endpoint(clusters: Iterable[str]) -> dict[str, Any]:
    return {
        "bindings": [],
        "configured_reportings": [],
        "clusters": {"input": ["genBasic", "genIdentify", *clusters], "output": ["genOta"]},
        "scenes": [],
    }


def _cluster(name: str, number: int) -> dict[str, Any]:
    attributes = {
        f"attribute{n}": {"ID": n, "name": f"attribute{n}", "type": 33, "write": True, "max": 65535}
        for n in range(24)
    }
    return {"ID": number, "name": name, "attributes": attributes, "commands": {}, "commandsResponse": {}}
