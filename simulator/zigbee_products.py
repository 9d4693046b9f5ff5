"""The Zigbee products in the house, as Zigbee2MQTT knows them. No I/O."""

from __future__ import annotations

import math

from simulator.zigbee_model import GET, STATE, Attribute, Model, Reporting

POLLED = Reporting(60, 60, math.inf)
ELECTRICAL, METERING, TUYA = "haElectricalMeasurement", "seMetering", "manuSpecificTuya"

# Zigbee2MQTT configures a longest interval of 65,000 s for the Innr, so that a steady load is silent for hours; its
# owner here has asked for five minutes.
SP_240 = Model(
    "SP 240",
    "Innr",
    "Smart plug (EU)",
    "SP 240",
    "innr",
    "0x842e14",
    (
        Attribute("power", "W", 1, ELECTRICAL, Reporting(10, 300, 5), STATE | GET),
        Attribute("voltage", "V", 0, ELECTRICAL, Reporting(10, 300, 5), STATE | GET),
        Attribute("current", "A", 2, ELECTRICAL, Reporting(10, 300, 0.05), STATE | GET),
        Attribute("energy", "kWh", 2, METERING, Reporting(10, 300, 0.1), STATE | GET),
    ),
)

TUYA_SETTINGS = {
    "child_lock": "UNLOCK",
    "countdown": 0,
    "indicator_mode": "off/on",
    "power_outage_memory": "restore",
    "update": {"installed_version": 192, "latest_version": 192, "state": "idle"},
}


def _tuya_plug(electrical: Reporting, energy: Reporting, current: float, voltage: float) -> tuple[Attribute, ...]:
    return (
        Attribute("power", "W", 0, ELECTRICAL, electrical),
        Attribute("current", "A", 2, ELECTRICAL, electrical._replace(change=current)),
        Attribute("voltage", "V", 0, ELECTRICAL, electrical._replace(change=voltage)),
        Attribute("energy", "kWh", 2, METERING, energy),
    )


TS011F_POLLED = Model(
    "TS011F_plug_3",
    "Tuya",
    "Smart plug (with power monitoring by polling)",
    "TS011F",
    "_TZ3000_w0qqde0g",
    "0xa4c138",
    _tuya_plug(POLLED, POLLED, math.inf, math.inf),
    settings=TUYA_SETTINGS,
)
TS011F = Model(
    "TS011F_plug_1",
    "Tuya",
    "Smart plug (with power monitoring)",
    "TS011F",
    "_TZ3000_cphmq0q7",
    "0xa4c138",
    _tuya_plug(Reporting(5, 600, 10), Reporting(5, 600, 0.01), 0.05, 5),
    settings=TUYA_SETTINGS,
)
DIN_RELAY = Model(
    "TS011F_din_smart_relay",
    "Tuya",
    "Din smart relay (with power monitoring)",
    "TS011F",
    "_TZ3000_8bxrzyxz",
    "0xa4c138",
    _tuya_plug(Reporting(5, 300, 10), Reporting(5, 300, 0.01), 0.05, 5),
    settings={"power_outage_memory": "restore"},
)
# Meters with a current clamp and no relay; Tuya's datapoints report every few seconds while something moves.
SPM01 = Model(
    "SPM01",
    "Tuya",
    "Smart energy monitor for 1P+N system",
    "TS0601",
    "_TZE200_bcusnqt8",
    "0xa4c138",
    (
        Attribute("voltage", "V", 1, TUYA, Reporting(10, 60, 2)),
        Attribute("power", "W", 0, TUYA, Reporting(10, 60, 10)),
        Attribute("current", "A", 3, TUYA, Reporting(10, 60, 0.05)),
        Attribute("energy", "kWh", 2, METERING, Reporting(60, 600, 0.01)),
        Attribute("produced_energy", "kWh", 2, METERING, Reporting(60, 600, 0.01)),
    ),
    relay=False,
)
SNZB_02D = Model(
    "SNZB-02D",
    "SONOFF",
    "Temperature and humidity sensor with screen",
    "SNZB-02D",
    "SONOFF",
    "0xd44867",
    (
        Attribute("battery", "%", 0, "genPowerCfg", Reporting(3600, 65000, 1), STATE | GET),
        Attribute("temperature", "°C", 2, "msTemperatureMeasurement", Reporting(10, 3600, 0.2), STATE | GET),
        Attribute("humidity", "%", 2, "msRelativeHumidity", Reporting(10, 3600, 1), STATE | GET),
    ),
    relay=False,
    battery=True,
)
