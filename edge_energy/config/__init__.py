"""Every setting that an operator may change: where it comes from, what it must be, what to say when it is not."""

from edge_energy.config.brokers import Mqtt, Sensor
from edge_energy.config.forwarding import Cloud, Forwarding, Influxdb, Kafka, Pubsub
from edge_energy.config.network import Http, Sender, Shelly
from edge_energy.config.relays import Budget, Homeassistant, Interlock, Relay, Schedule
from edge_energy.config.settings import Appliance, Journal, Settings, load
from edge_energy.config.sources import DEFAULT_PATH, config_path
from edge_energy.config.tuya import Tuya, TuyaCode

__all__ = [
    "DEFAULT_PATH",
    "Appliance",
    "Budget",
    "Cloud",
    "Forwarding",
    "Homeassistant",
    "Http",
    "Influxdb",
    "Interlock",
    "Journal",
    "Kafka",
    "Mqtt",
    "Pubsub",
    "Relay",
    "Schedule",
    "Sender",
    "Sensor",
    "Settings",
    "Shelly",
    "Tuya",
    "TuyaCode",
    "config_path",
    "load",
]
