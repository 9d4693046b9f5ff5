"""Command line of the simulated Shelly devices alone: `python -m simulator.shelly --help`."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import click
import orjson

from simulator import house_time
from simulator.house import House
from simulator.shelly.fleet import Fleet, Settings
from simulator.shelly.product import PRODUCTS

STEP = 0.2  # seconds of real time; each is a step of the house

EPILOG = """Every option can also be given in the environment, as SHELLY_PASSWORD, SHELLY_SERVER and so on.

When all devices listen, one line of JSON on the standard output names them with their ports, and the port of the
control door: GET /DEVICE tells the truth about a device; POST /DEVICE/reboot?reset_counters=1, wifi?seconds=3,
slow?seconds=2, garbage?on=1, clock?set=0, load?watts=1500, minute, deaf?on=1 (takes commands, does nothing),
weld?on=1 (the contact sticks) and press (its own button) disturb it."""


@click.command(epilog=EPILOG, context_settings={"show_default": True, "auto_envvar_prefix": "SHELLY"})
@click.option(
    "--device",
    "devices",
    multiple=True,
    default=list(PRODUCTS),
    type=click.Choice(list(PRODUCTS)),
    help="Repeatable.",
)
@click.option("--port", "ports", multiple=True, type=click.IntRange(0, 65535), help="Of each device in turn; 0: any.")
@click.option("--control-port", default=0, type=click.IntRange(0, 65535), help="Of the control door; 0: any.")
@click.option("--password", help="Turns authentication on; better given in the environment.")
@click.option("--firmware", default=1, type=click.IntRange(1, 2), help="Of Gen2 devices: 1.7.5 or 2.0.0.")
@click.option("--rate-limit", type=click.FloatRange(0), help="Requests a second.  [default: 10 with firmware 2]")
@click.option("--nonce-life", default=3600.0, type=click.FloatRange(0, min_open=True), help="Of firmware 2, seconds.")
@click.option("--ntp-delay", default=0.5, help="Seconds after a boot until the clock is set; negative: never.")
@click.option("--boot-time", default=1.0, type=click.FloatRange(0), help="Seconds that a reboot takes.")
@click.option("--server", help="Outbound WebSocket; better given in the environment, since it bears a secret.")
@click.option("--mqtt-port", type=click.IntRange(1, 65535), help="Connect with this broker on 127.0.0.1.")
@click.option("--status-ntf", is_flag=True, help="Publish whole statuses over MQTT, too.")
@click.option("--mdns", is_flag=True, help="Announce the devices on the loopback interface.")
@click.option("--timer-clicks", is_flag=True, help="A timer that is sent again opens the relay for a moment.")
@click.option("--no-restart", is_flag=True, help="A timer that is sent again does not begin anew.")
@click.option("--seed", type=int, help="Repeat a run.  [default: random]", show_default=False)
@click.option("--speed", default=1.0, type=click.FloatRange(0.01, 3600), help="House seconds in a real second.")
def main(seed: int | None, speed: float, **options: Any) -> None:
    """Simulate Shelly devices on loopback ports until SIGTERM."""
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    settings = Settings(**{field.name: options[field.name] for field in fields(Settings)})
    further = sum(count - 1 for count in Counter(settings.devices).values())
    start = house_time.from_datetime(datetime.now(UTC).astimezone())
    asyncio.run(_run(House(seed, start, extra=further), settings, seed, speed))


async def _run(house: House, settings: Settings, seed: int, speed: float) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    fleet = Fleet(house, settings, seed)
    work = [stop.wait(), _live(house, speed), fleet.run(lambda state: click.echo(orjson.dumps(state).decode()))]
    tasks = [asyncio.ensure_future(each) for each in work]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in done:
        task.result()  # raises what ended it, if it was not the signal


async def _live(house: House, speed: float) -> None:
    last = time.monotonic()
    while True:
        await asyncio.sleep(STEP)
        now = time.monotonic()
        house.step((now - last) * speed)
        last = now


if __name__ == "__main__":
    main(prog_name="python -m simulator.shelly")
