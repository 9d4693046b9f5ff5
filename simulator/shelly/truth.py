"""What a device really measured and did, for tests to compare with what was told. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.shelly.em import PHASES
from simulator.shelly.gen2 import Gen2Device
from simulator.shelly.switch import Switch

if TYPE_CHECKING:
    from simulator.shelly.gen1 import Gen1Device
    from simulator.shelly.rpc import Json


def truth(device: Gen1Device | Gen2Device) -> Json:
    """Give identity, relay, measurements and counters (import and return apart, in Wh), unrounded."""
    identity, clock = device.identity, device.clock
    state: Json = {"name": identity.name, "id": identity.id, "mac": identity.mac, "gen": identity.product.gen}
    state |= {"uptime": clock.uptime, "clock_set": clock.is_set}
    if not isinstance(device, Gen2Device):
        state |= {"mqtt_connected": device.mqtt_connected, "outbound_connected": False}
        energy = device.counter.total(device.outlet.sample.energy)
        return state | _relay(device) | {"energy": energy, "energy_returned": 0.0}
    state |= {"mqtt_connected": device.mqtt.connected, "outbound_connected": device.ws.connected}
    if isinstance(device.meter, Switch):
        return state | _relay(device.meter) | device.meter.counters()
    samples = device.meter.supply.samples
    phases = {
        f"{name}_{phase}": getattr(sample, name)
        for phase, sample in zip(PHASES, samples, strict=True)
        for name in ("power", "voltage", "current")
    }
    return state | {"power": sum(sample.power for sample in samples)} | phases | device.meter.counters()


def _relay(device: Gen1Device | Switch) -> Json:
    sample = device.outlet.sample
    measured = {"power": sample.power, "voltage": sample.voltage, "current": sample.current}
    relay = {"output": device.outlet.output, "edges": device.outlet.edges, "timer": device.relay.remaining}
    return relay | measured
