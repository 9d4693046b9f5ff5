"""Every setting that an operator may change: where it comes from, what it must be, what to say when it is not."""

from edge_energy.config.settings import (
    DEFAULT_PATH,
    Appliance,
    Http,
    Influxdb,
    Journal,
    Mqtt,
    Sender,
    Sensor,
    Settings,
    Shelly,
    Tuya,
    TuyaCode,
    config_path,
    load,
)

__all__ = [
    "DEFAULT_PATH",
    "Appliance",
    "Http",
    "Influxdb",
    "Journal",
    "Mqtt",
    "Sender",
    "Sensor",
    "Settings",
    "Shelly",
    "Tuya",
    "TuyaCode",
    "config_path",
    "load",
]
