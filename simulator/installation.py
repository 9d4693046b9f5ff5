"""Who speaks what: the product that stands at each circuit and in each place of the house. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator import house as rooms
from simulator.noise import generator
from simulator.shelly.product import GEN1_1PM, PLUS_1PM, PRO_1PM
from simulator.zigbee_device import ZigbeeDevice
from simulator.zigbee_products import DIN_RELAY, SNZB_02D, SP_240, SPM01, TS011F, TS011F_POLLED

if TYPE_CHECKING:
    from collections.abc import Collection

    from simulator.house import House

ZIGBEE = {
    rooms.FRIDGE: SP_240,
    rooms.KETTLE: SP_240,
    rooms.WASHING_MACHINE: TS011F_POLLED,
    rooms.TELEVISION: TS011F,
    rooms.DESK: SP_240,
    rooms.WORKSHOP: SP_240,
    rooms.WATER_HEATER: DIN_RELAY,
    rooms.HEAT_PUMP: SPM01,
    rooms.SOLAR_PANELS: SPM01,
    rooms.LIVING_ROOM: SNZB_02D,
    rooms.BEDROOM: SNZB_02D,
    rooms.GARDEN: SNZB_02D,
}
EXTRAS = (SP_240, TS011F, TS011F_POLLED)


SHELLY = {
    PRO_1PM.name: rooms.CHARGING_POST,
    PLUS_1PM.name: rooms.TELEVISION,
    GEN1_1PM.name: rooms.WORKSHOP,
}
"""Circuit of each Shelly product; where one stands there is no Zigbee device. A Pro 3EM meters the supply."""


def zigbee_devices(house: House, seed: int, shelly: Collection[str] = ()) -> list[ZigbeeDevice]:
    """Put a Zigbee device at every circuit and place of the table that has no Shelly, a plug at every extra one."""
    taken = {circuit for name, circuit in SHELLY.items() if name in shelly}
    products = {name: model for name, model in ZIGBEE.items() if name not in taken}
    extra = [name for name in house.outlets if name not in ZIGBEE and name != rooms.CHARGING_POST]
    products |= {name: EXTRAS[number % len(EXTRAS)] for number, name in enumerate(extra)}
    sources = house.outlets | house.climates
    return [
        ZigbeeDevice(name, model, sources[name], generator(seed, f"{name} radio")) for name, model in products.items()
    ]
