"""Who speaks what: the product that stands at each circuit and in each place of the house. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator import house as rooms
from simulator.noise import generator
from simulator.zigbee_device import ZigbeeDevice
from simulator.zigbee_products import DIN_RELAY, SNZB_02D, SP_240, SPM01, TS011F, TS011F_POLLED

if TYPE_CHECKING:
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
    rooms.CHARGING_POST: DIN_RELAY,
    rooms.SOLAR_PANELS: SPM01,
    rooms.LIVING_ROOM: SNZB_02D,
    rooms.BEDROOM: SNZB_02D,
    rooms.GARDEN: SNZB_02D,
}
EXTRAS = (SP_240, TS011F, TS011F_POLLED)


def zigbee_devices(house: House, seed: int) -> list[ZigbeeDevice]:
    """Put a Zigbee device at every circuit and place of the table, and a plug at every extra circuit."""
    products = dict(ZIGBEE)
    extra = [name for name in house.outlets if name not in products]
    products |= {name: EXTRAS[number % len(EXTRAS)] for number, name in enumerate(extra)}
    sources = house.outlets | house.climates
    return [
        ZigbeeDevice(name, model, sources[name], generator(seed, f"{name} radio")) for name, model in products.items()
    ]
