"""Command line of the simulated house: `python -m simulator --help`."""

from __future__ import annotations

import asyncio
import random
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from simulator import house_time
from simulator.barrage import MOST_PER_DEVICE, Barrage
from simulator.dht11 import Dht11
from simulator.house import House
from simulator.installation import zigbee_devices
from simulator.mqtt import Broker
from simulator.run import Pace, Simulation
from simulator.scenario import Scenario
from simulator.shelly.fleet import Fleet, Settings
from simulator.shelly.product import PRODUCTS
from simulator.zigbee2mqtt import Options, Zigbee2Mqtt
from simulator.zigbee_door import BASE, DISTURBANCES, ZigbeeDoor

if TYPE_CHECKING:
    from collections.abc import Callable

PORT = click.IntRange(0, 65535)
SHELLY = "Shelly devices of the house, repeatable; pro1pm is the charging post."
T = TypeVar("T", Broker, Options, Pace)

EPILOG = f"""{BASE}/<friendly name>/<disturbance> disturbs a relay behind Zigbee2MQTT ({", ".join(DISTURBANCES)}), and
{BASE}/<friendly name>/truth tells what it really does.

Every option can also be given in the environment, as SIMULATOR_HOST, SIMULATOR_PASSWORD and so on.

At a speed other than 1 the house and all report intervals run faster; last_seen stays the real time of
publication, and on_time counts real seconds."""


def shelly_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of the Shelly devices."""
    options = (
        click.option("--shelly", multiple=True, default=["pro1pm"], type=click.Choice(list(PRODUCTS)), help=SHELLY),
        click.option("--no-shelly", "shelly", flag_value=(), is_flag=True, help="None at all."),
        click.option("--shelly-port", multiple=True, type=PORT, help="Of each in turn; 0: any."),
        click.option("--shelly-control-port", default=0, type=PORT, help="Of the door for faults; 0: any."),
        click.option("--shelly-server", help="Outbound WebSocket; better given in the environment."),
        click.option("--shelly-password", help="Turns authentication on; better given in the environment."),
        click.option("--shelly-firmware", default=1, type=click.IntRange(1, 2), help="1.7.5 or 2.0.0."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command(epilog=EPILOG, context_settings={"show_default": True, "auto_envvar_prefix": "SIMULATOR"})
@click.option("--host", default="127.0.0.1", help="MQTT broker.")
@click.option("--port", default=1883, type=click.IntRange(1, 65535), help="Its port.")
@click.option("--username", help="User name at the broker.")
@click.option("--password", help="Its password; better given in the environment.")
@click.option(
    "--ca-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Use TLS, with this CA."
)
@click.option("--base-topic", default="zigbee2mqtt", help="Base topic of Zigbee2MQTT.")
@click.option("--qos", default=1, type=click.IntRange(0, 1), help="QoS of device messages; Zigbee2MQTT's own is 0.")
@click.option("--last-seen/--no-last-seen", default=True, help="Add last_seen; Zigbee2MQTT's own is without.")
@click.option("--cache-state/--no-cache-state", default=True, help="Merge each report into what is known before.")
@click.option("--scenario", default="normal", type=click.Choice([s.value for s in Scenario]), help="What goes wrong.")
@click.option("--seed", type=int, help="Repeat a run.  [default: random]", show_default=False)
@click.option("--start", type=click.DateTime(), help="House time at the start.  [default: now]", show_default=False)
@click.option("--speed", default=1.0, type=click.FloatRange(0.01, 3600), help="House seconds in a real second.")
@click.option("--devices", default=0, type=click.IntRange(0, 5000), help="Further plugs, beyond the house's own.")
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), help="Load test: messages a second, numbered by seq."
)
@click.option("--duration", type=click.FloatRange(0, min_open=True), help="End after so many real seconds.")
@shelly_options
def main(seed: int | None, start: datetime | None, devices: int, rate: float | None, **settings: Any) -> None:
    """Simulate a house that publishes over MQTT as Zigbee2MQTT and a DHT11 sensor do, and whose relays switch.

    Its charging post is a Shelly Pro 1PM with an HTTP server of its own.
    """
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    start = datetime.now(UTC).astimezone() if start is None else start
    scenario, options, pace = Scenario(settings["scenario"]), _pick(Options, settings), _pick(Pace, settings)
    house = House(seed, house_time.from_datetime(start), scenario, devices)
    shelly = () if rate else settings["shelly"]
    bridge = Zigbee2Mqtt(house, zigbee_devices(house, seed, shelly), options, clock=lambda: datetime.now(UTC))
    if rate and rate > MOST_PER_DEVICE * len(bridge.devices):
        raise click.UsageError(f"--rate: at most {MOST_PER_DEVICE} a second and device; give more --devices")
    click.echo(f"seed {seed}, house time {start:%Y-%m-%dT%H:%M:%S}, scenario {scenario}, {pace}, {options}")
    click.echo(f"{len(bridge.devices)} Zigbee devices and a DHT11; messages a second: {rate or 'as devices report'}")
    barrage = Barrage(bridge, rate) if rate else None
    fleet = Fleet(house, _shelly(shelly, settings), seed) if shelly else None
    door = [] if barrage else [ZigbeeDoor(house, bridge.devices, pace.speed)]
    simulation = Simulation(house, [bridge, Dht11(house), *door], pace, barrage, fleet)
    connection = asyncio.run(simulation.run(_pick(Broker, settings), bridge.last_will()))
    click.echo(f"published {connection.published} messages, dropped {connection.dropped}")
    if barrage:
        click.echo(f"last seq {barrage.seq}")


def _shelly(devices: tuple[str, ...], settings: dict[str, Any]) -> Settings:
    return Settings(
        devices=devices,
        ports=settings["shelly_port"],
        control_port=settings["shelly_control_port"],
        password=settings["shelly_password"],
        firmware=settings["shelly_firmware"],
        server=settings["shelly_server"],
    )


def _pick(kind: type[T], settings: dict[str, Any]) -> T:
    """Make one dataclass of the options that bear its fields' names."""
    return kind(**{field.name: settings[field.name] for field in fields(kind)})


if __name__ == "__main__":
    main(prog_name="python -m simulator")
