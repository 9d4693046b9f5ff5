"""The tables of relays: what they mean, and every mistake in them that would make a load less safe."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_energy.config import Budget, Homeassistant, Relay, Schedule, Settings, load, relay_checks, times, values
from edge_energy.config.tree import Sources
from edge_energy.devices.shelly_rpc import device_id
from edge_energy.errors import ConfigError

A, B = "shelly-ec62608ab9a4", "zigbee-0x70ac08fffe5d1a2b"
RELAY = f'[[relay]]\ndevice = "{A}"\nsafe_state = "off"\n'
OTHER = f'[[relay]]\ndevice = "{B}"\nsafe_state = "off"\n'
DEVICE = '[[relay]]\nsafe_state = "off"\ndevice = '
WINDOW = RELAY + f'[[schedule]]\nrelay = "{A}"\nstart = "22:30"\n'
SURPLUS = RELAY + f'[[schedule]]\nrelay = "{A}"\nsurplus = 1500\n'


def problems(folder: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    """Return the problems of a configuration without the name of its file."""
    file = folder / "edge-energy.toml"
    file.write_text(text, "utf-8")
    try:
        load(file, environ or {})
    except ConfigError as error:
        return [problem.replace(f"{file}: ", "") for problem in error.problems]
    return []


def both(lease: str = '"2m"', first: str = "on", second: str = "off") -> str:
    """Return two relays in one interlock."""
    return (
        f'[[relay]]\ndevice = "{A}"\nsafe_state = "{first}"\nlease = {lease}\n'
        f'[[relay]]\ndevice = "{B}"\nsafe_state = "{second}"\nlease = "0s"\n[[interlock]]\nrelays = ["{A}", "{B}"]'
    )


MISTAKES = {
    f'[[relay]]\ndevice = "{A}"': "relay[0].safe_state: missing; expected the state without us",
    f'[[relay]]\ndevice = "{A}"\nsafe_state = true': 'safe_state = true: expected the state without us: "off"',
    '[[relay]]\nsafe_state = "off"': "relay[0].device: missing; expected the id of a device",
    '[[relay]]\ndevice = "plug/#"\nsafe_state = "off"': "expected the id of a device",
    RELAY + 'channel = "/"': 'channel = "/": expected the name of an output',
    RELAY + "channel = true": "channel = true: expected the name of an output",
    RELAY + 'lease = "1s"': 'lease = "1s": expected a duration from 2s to 1h, like "2m", or 0s for none',
    RELAY + 'lease = "2h"': "expected a duration from 2s to 1h",
    RELAY + 'lease = "-1s"': "expected a duration from 2s to 1h",
    f'[[relay]]\ndevice = "{A}"\nsafe_state = "leave"\nlease = "2m"': (
        'relay[0].lease: expected only with safe_state = "off" or "on"'
    ),
    RELAY + "timer = true": "timer = true: expected only with a Zigbee device",
    RELAY + "power = 0": "power = 0: expected a number of watts from 1 to 1000000",
    RELAY + "power = nan": "expected a number of watts",
    RELAY + "max_power = inf": "expected a number of watts",
    RELAY + "max_power = true": "expected a number of watts",
    RELAY + "power = 2400\nmax_power = 2000": "max_power = 2000: expected at least power",
    RELAY + 'min_on = "1h"\nmax_on = "30m"': 'max_on = "30m": expected at least min_on',
    RELAY + "max_on = 0": "expected a duration from 1s to 365d",
    RELAY + "max_temperature = 60": "max_temperature = 60: expected temperature with it",
    RELAY + "frost = 5": "frost = 5: expected temperature with it",
    RELAY + 'temperature = "t"\nfrost = 60\nmax_temperature = 60': "frost = 60: expected less than max_temperature",
    RELAY + "max_pover = 5": "no such setting; did you mean max_power?",
    RELAY + RELAY: "relay[1].device: expected another one than that of relay[0]",
    RELAY + RELAY + 'channel = "0"': "relay[1].device: expected another one",
    f'{DEVICE}"{A}_1"': (f'relay[0].device: expected the id of the device alone, "{A}", and channel = "1" beside it'),
    f'{DEVICE}"shelly-EC62608AB9A4"': (
        f'relay[0].device: expected "{A}", in lower case, as `edge-energy devices` shows it'
    ),
    f'{DEVICE}"zigbee-0X70AC08FFFE5D1A2B"': f'relay[0].device: expected "{B}", in lower case',
    f'{DEVICE}"dht11"': (
        'relay[0].device: "dht11" cannot be switched, only Shelly devices and those of Zigbee2MQTT can; expected'
    ),
    f'{DEVICE}"shellyplug-s-a1b2c3"': '"shellyplug-s-a1b2c3" cannot be switched',
    f'{DEVICE}"shelly-a1b2c"': '"shelly-a1b2c" cannot be switched',
    f'{DEVICE}"shelly-a1b2c3d"': '"shelly-a1b2c3d" cannot be switched',
    f'{DEVICE}"shelly-{A}"': "cannot be switched",
    f'{DEVICE}"zigbee-Boiler"': '"zigbee-Boiler" cannot be switched',
    f'{DEVICE}"zigbee-0x"': '"zigbee-0x" cannot be switched',
    RELAY
    + "channel = 8": 'relay[0].channel: "8" is no output of a Shelly; expected "" for the first one, or "1" to "7"',
    RELAY + 'channel = "l2"': 'relay[0].channel: "l2" is no output of a Shelly',
    RELAY + 'channel = "01"': 'relay[0].channel: "01" is no output of a Shelly',
    RELAY + f'[[interlock]]\nrelays = ["{A}"]': "interlock[0].relays: expected a list of two or more relays",
    RELAY + f'[[interlock]]\nrelays = ["{A}", "{A}"]': "interlock[0].relays: expected a list of two or more relays",
    RELAY + f'[[interlock]]\nrelays = ["{A}", "{A}_1"]': (
        f'interlock[0].relays[1]: "{A}_1" is described by no [[relay]] block; did you mean "{A}"?'
    ),
    both(): f'interlock[0].relays[0]: "{A}" has safe_state = "on", and its timer would switch it on',
    both(
        '"0s"', second="on"
    ): f'interlock[0].relays[1]: "{B}" and "{A}" both have safe_state = "on"; expected one at most',
    f'[[budget]]\nlimit = 1\nrelays = ["{A}"]': "is described by no [[relay]] block; add one, or write the id",
    RELAY
    + f'[[budget]]\nlimit = 6000\nrelays = ["{A}"]': "budget[0].relays[0]: expected power in the [[relay]] block",
    RELAY + f'power = 2400\n[[budget]]\nlimit = 2500\nrelays = ["{A}"]': (
        f'budget[0].relays[0]: "{A}" draws 2400 W, which with a margin of 200 W is never free'
    ),
    RELAY + f'power = 1\n[[budget]]\nrelays = ["{A}"]': "budget[0].limit: missing; expected a number of watts",
    RELAY + "[[budget]]\nlimit = 6000\nrelays = []": "budget[0].relays: expected a list of relays",
    RELAY + '[[schedule]]\nrelay = "x"\nstart = "1:00"\nend = "2:00"': 'schedule[0].relay: "x" is described by no',
    RELAY + f'[[schedule]]\nrelay = "{A}"': "schedule[0]: expected either start and end, or surplus and meter",
    WINDOW: "schedule[0]: expected either start and end, or surplus",
    WINDOW + 'end = "6:30"\nsurplus = 5\nmeter = "m"': "schedule[0]: expected either start and end, or surplus",
    WINDOW + 'end = "22:30"': "schedule[0]: expected an end that is not the start",
    WINDOW + 'end = "24:00"': 'schedule[0].end = "24:00": expected a local time from "00:00" to "23:59"',
    WINDOW + 'end = "6:30"\nmeter = "m"': "schedule[0]: expected surplus and meter together",
    WINDOW + 'end = "6:30"\ndays = []': "schedule[0].days: expected a list",
    WINDOW + 'end = "6:30"\ndays = ["mon", "mon"]': "schedule[0].days: expected a list",
    WINDOW + 'end = "6:30"\ndays = ["monday"]': 'schedule[0].days[0] = "monday": expected a list of "mon"',
    WINDOW + 'end = "6:30"\ndelay = "1m"': "schedule[0]: expected no delay: it belongs to surplus",
    SURPLUS: "schedule[0]: expected surplus and meter together",
    SURPLUS + 'meter = "m"\ndays = ["mon"]': "schedule[0]: expected no days: it belongs to start and end",
    SURPLUS.replace("1500", "-1500") + 'meter = "m"': "surplus = -1500: expected a number of watts",
    '[homeassistant]\nprefix = "#"': 'homeassistant.prefix = "#": expected a topic without + and #',
    "[[mqtt]]\nrelays = 3": "mqtt[0].relays = 3: expected true or false",
}


@pytest.mark.parametrize(("text", "expected"), MISTAKES.items(), ids=range(len(MISTAKES)))
def test_a_mistake_is_one_problem_that_says_what_to_do(tmp_path: Path, text: str, expected: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert expected in problem


@pytest.mark.parametrize(
    "text",
    [
        RELAY,
        RELAY + "channel = 0",
        RELAY + "channel = 1\n" + RELAY,
        RELAY + 'channel = "7"',
        f'{DEVICE}"shelly-a1b2c3"',
        f'{DEVICE}"zigbee-0x1"\nchannel = "center"',
        OTHER + "channel = 8",
        OTHER + 'timer = true\nchannel = "l2"',
        both('"0s"'),
        both(first="leave", lease="0"),
        RELAY + 'min_on = "1h"\nmax_on = "1h"',
        RELAY + f'power = 2400\n[[budget]]\nlimit = 2600\nrelays = ["{A}"]',
        RELAY + 'temperature = "{hostile} name"\nfrost = 5',
        WINDOW + "end = 06:30:00",
        SURPLUS + 'meter = "m"\nmargin = 1600',
    ],
)
def test_what_is_no_mistake(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text) == []


def test_relays_come_from_the_environment_too(tmp_path: Path) -> None:
    environ = {
        "EDGE_ENERGY_RELAY__0__DEVICE": A,
        "EDGE_ENERGY_RELAY__0__SAFE_STATE": "off",
        "EDGE_ENERGY_RELAY__0__CHANNEL": "1",
        "EDGE_ENERGY_RELAY__0__POWER": "2400",
        "EDGE_ENERGY_BUDGET__0__LIMIT": "6000",
        "EDGE_ENERGY_BUDGET__0__RELAYS__0": f"{A}_1",
        "EDGE_ENERGY_SCHEDULE__0__RELAY": f"{A}_1",
        "EDGE_ENERGY_SCHEDULE__0__START": "9:00",
        "EDGE_ENERGY_SCHEDULE__0__END": "17:00",
        "EDGE_ENERGY_SCHEDULE__0__DAYS__0": "sun",
    }
    assert problems(tmp_path, "", environ) == []
    settings = load(tmp_path / "edge-energy.toml", environ)
    assert settings.budget == (Budget(limit=6000, relays=(f"{A}_1",)),)
    assert settings.schedule == (Schedule(relay=f"{A}_1", start=time(9), end=time(17), days=(6,)),)
    assert settings.homeassistant is None
    environ["EDGE_ENERGY_RELAY__0__POWER"] = "5900"
    assert "which with a margin of 200 W is never free" in problems(tmp_path, "", environ)[0]


@given(
    st.from_regex(r"(shelly-|zigbee-|zigbee-0x)([0-9a-f]{6}|[0-9a-f]{12}|[0-9a-fA-F_]{0,18})", fullmatch=True),
    st.sampled_from(["", "7", "8", "l2"]),
)
def test_only_what_a_driver_can_ever_reach_is_a_relay(device: str, channel: str) -> None:
    """The ids that decoders make, and the outputs that drivers count."""
    sources = Sources(Settings, Path("edge-energy.toml"))
    sources.tree = {"relay": [{"device": device, "channel": channel, "safe_state": "off"}]}
    shelly = re.fullmatch("shelly-(.{6}|.{12})", device) is not None and device_id(device) == device
    zigbee = re.fullmatch("zigbee-0x[0-9a-f]{1,16}", device) is not None
    wrong = {location[-1] for location, _ in relay_checks.conflicts(sources)}
    assert ("device" not in wrong) == (shelly or zigbee)
    assert ("channel" in wrong) == (device.startswith("shelly-") and channel in ("8", "l2"))


def test_the_names_of_a_relay() -> None:
    """The device alone for its first output, the channel behind it for others; another meter has one power."""
    first, second = Relay(device=A, safe_state="off"), Relay(device=A, channel="1", safe_state="on")
    assert (first.id, first.output, first.metered_by, first.power_name) == (A, "output", A, "power")
    assert (second.id, second.output, second.metered_by, second.power_name) == (f"{A}_1", "output_1", A, "power_1")
    metered = Relay(device=A, channel="1", safe_state="on", meter="m")
    assert (metered.metered_by, metered.power_name) == ("m", "power")


def test_there_is_no_lease_where_no_state_is_safer() -> None:
    assert Relay(device=A, safe_state="leave").lease == 0
    assert Relay(device=A, safe_state="off").lease == 120
    assert Relay(device=A, safe_state="on", lease=0).lease == 0


def test_whoever_writes_the_block_wants_discovery() -> None:
    assert Homeassistant() == Homeassistant(discovery=True, prefix="homeassistant")


@given(st.times().map(lambda moment: moment.replace(microsecond=0)))
def test_a_time_of_day_is_read_as_it_is_written(moment: time) -> None:
    assert times.time_of_day(moment.isoformat()) == moment
    assert times.time_of_day(f"{moment:%H:%M}") == moment.replace(second=0)
    assert times.time_of_day(moment) == moment


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none()))
def test_nonsense_is_a_value_error_at_most(value: Any) -> None:
    for parse in (times.time_of_day, times.weekday, values.channel):
        with suppress(ValueError):
            assert parse(value) is not None


@given(
    st.dictionaries(st.sampled_from(sorted(Schedule.model_fields)), st.sampled_from(["22:30", 5, "m", "mon", None]))
)
def test_a_schedule_is_a_window_or_a_surplus_never_both(fields: dict[str, Any]) -> None:
    try:
        schedule = Schedule(**fields)
    except ValidationError:
        return
    assert (
        (schedule.start is None) == (schedule.end is None) != (schedule.surplus is None) == (schedule.meter is None)
    )
    assert schedule.start != schedule.end or schedule.start is None
