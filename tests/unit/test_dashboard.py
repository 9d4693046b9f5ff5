"""Grafana's dashboard: its queries on the real InfluxDB, of what the real sink has written, give true figures."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr

from edge_energy.config import Influxdb
from edge_energy.interfaces import APPLIANCE, COMMAND, INCIDENT, READING, Entry
from edge_energy.sinks.influxdb import InfluxdbSink

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.servers.influxdb import InfluxDB

GRAFANA = Path(__file__).parents[2] / "config" / "grafana"
HOUSE = json.loads((GRAFANA / "house.json").read_text())
PANELS: dict[str, dict[str, Any]] = {panel["title"]: panel for panel in HOUSE["panels"]}
PARIS = ZoneInfo("Europe/Paris")
NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

_position = itertools.count(1)


def entry(time: datetime, body: dict[str, Any], device: str = "plug", kind: str = READING) -> Entry:
    nanoseconds = int((time - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)) * 1000
    return Entry(next(_position), kind, device, nanoseconds, None, 1, 0, body)


async def write(influxdb: InfluxDB, entries: Iterable[Entry], appliance: str = "house-1") -> None:
    """Deliver entries as the daemon does."""
    settings = Influxdb(url=influxdb.url, org="home", bucket=influxdb.bucket, token=SecretStr(influxdb.token))
    async with InfluxdbSink(settings, appliance) as sink:
        for batch in _batches(list(entries)):
            await sink.write(batch)


def _batches(entries: list[Entry]) -> Iterable[list[Entry]]:
    return (entries[first : first + 5000] for first in range(0, len(entries), 5000))


def flux(text: str, influxdb: InfluxDB, start: datetime, stop: datetime, window: str) -> str:
    """Replace what Grafana replaces before it sends a query."""
    for name, value in {
        "v.defaultBucket": f'"{influxdb.bucket}"',
        "v.timeRangeStart": start.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "v.timeRangeStop": stop.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "v.windowPeriod": window,
        "${appliance:doublequote}": '"house-1"',
        "${timezone}": "Europe/Paris",
    }.items():
        text = text.replace(name, value)
    assert not re.search(r"\$\{|\bv\.", text), "Grafana is to replace something that this test does not know"
    return text


def rows(
    influxdb: InfluxDB, title: str, start: datetime = NOON - DAY, stop: datetime = NOON + DAY, window: str = "10m0s"
) -> list[dict[str, Any]]:
    """Return what a panel gets."""
    return influxdb.query(flux(PANELS[title]["targets"][0]["query"], influxdb, start, stop, window))


def kilowatt_hours(found: list[dict[str, Any]]) -> dict[str, float]:
    """Return the energy of each local day."""
    days = {datetime.fromisoformat(row["_time"]).astimezone(PARIS).date().isoformat(): row["_value"] for row in found}
    assert len(days) == len(found)
    return days


@pytest.mark.parametrize("title", PANELS)
def test_every_query_runs_before_there_is_anything(influxdb: InfluxDB, title: str) -> None:
    """A new appliance shows empty panels, not errors."""
    assert rows(influxdb, title) == []


async def test_energy_per_day_is_what_the_counter_went_up(influxdb: InfluxDB) -> None:
    """By local days, from midnight to midnight; the day before the range is not shown."""
    start = datetime(2026, 11, 8, 0, 0, 30, tzinfo=PARIS).astimezone(UTC)
    counted = ((start + minute * MINUTE, 5000 + 2.0 * minute) for minute in range(3 * 24 * 60))
    await write(influxdb, [entry(time, {"energy": count}) for time, count in counted])
    found = kilowatt_hours(rows(influxdb, "Energy per day", start + DAY + 5 * HOUR, start + 4 * DAY))
    assert found == pytest.approx({"2026-11-09": 2.88, "2026-11-10": 2.88})


async def test_a_counter_that_begins_again_is_counted_on(influxdb: InfluxDB) -> None:
    """A reset neither makes energy nor takes any away: what is counted since zero is added."""
    start = datetime(2026, 11, 9, tzinfo=PARIS).astimezone(UTC)
    before = [(start + minute * MINUTE, 10_000 + 2.0 * minute) for minute in range(607)]
    after = [(start + minute * MINUTE, 2.0 * (minute - 606)) for minute in range(607, 1440)]
    await write(influxdb, [entry(time, {"energy": count}) for time, count in before + after])
    found = kilowatt_hours(rows(influxdb, "Energy per day", start, start + DAY))
    assert found == pytest.approx({"2026-11-09": 2.0 * 1439 / 1000})


async def test_a_counter_that_jitters_makes_no_energy(influxdb: InfluxDB) -> None:
    """A count that is a little less than the one before is no reset: ten thousand kilowatt-hours were not used."""
    start = datetime(2026, 11, 9, tzinfo=PARIS).astimezone(UTC)
    counts = [10_000_000.0 - (minute % 2) * 0.1 for minute in range(1440)]
    await write(influxdb, [entry(start + n * MINUTE, {"energy": count}) for n, count in enumerate(counts)])
    assert sum(kilowatt_hours(rows(influxdb, "Energy per day", start, start + DAY)).values()) < 0.05


async def test_what_is_used_in_a_silence_counts_when_the_device_is_heard_again(influxdb: InfluxDB) -> None:
    """It is neither lost nor spread over days of which nobody knows."""
    start = datetime(2026, 11, 9, 18, tzinfo=PARIS).astimezone(UTC)
    told = [(start, 1000.0), (start + 10 * MINUTE, 1100.0), (start + 2 * DAY, 9100.0)]
    await write(influxdb, [entry(time, {"energy": count}) for time, count in told])
    found = kilowatt_hours(rows(influxdb, "Energy per day", start - DAY, start + 3 * DAY))
    assert found == pytest.approx({"2026-11-09": 0.1, "2026-11-11": 8.0})


async def test_the_day_on_which_the_clocks_go_back_has_25_hours(influxdb: InfluxDB) -> None:
    """And the one on which they go forward 23."""
    for day, hours in ((datetime(2026, 10, 25, tzinfo=PARIS), 25), (datetime(2026, 3, 29, tzinfo=PARIS), 23)):
        start = day.astimezone(UTC) - DAY
        counted = [(start + step * 10 * MINUTE, 100.0 * step) for step in range(3 * 24 * 6)]
        await write(influxdb, [entry(time, {"energy": count}) for time, count in counted])
        found = kilowatt_hours(rows(influxdb, "Energy per day", start, start + 3 * DAY))
        assert found[day.date().isoformat()] == pytest.approx(0.6 * hours)


@pytest.mark.parametrize("seed", range(3))
async def test_energy_is_that_of_a_house_with_resets_and_gaps(influxdb: InfluxDB, seed: int) -> None:
    """Of three days of reports at odd moments, compared with an account of every single report."""
    chance = random.Random(seed)
    start = datetime(2026, 11, 8, tzinfo=PARIS).astimezone(UTC)
    time, count = start, 50_000.0
    entries: list[Entry] = []
    expected: dict[str, float] = defaultdict(float)
    resets = 0.0
    while time < start + 3 * DAY:
        used = chance.uniform(0, 20)
        if chance.random() < 0.002 and (time - start).total_seconds() > resets + 3600:
            resets = (time - start).total_seconds()  # one in a quarter of an hour at most
            count = 0.0
        count += used
        if entries:
            expected[time.astimezone(PARIS).date().isoformat()] += used / 1000
        entries.append(entry(time, {"energy": count}))
        time += timedelta(seconds=chance.choice([7, 10, 60, 61, 300]))
    await write(influxdb, entries)
    found = kilowatt_hours(rows(influxdb, "Energy per day", start, start + 3 * DAY))
    assert found == pytest.approx(dict(expected))


async def test_power_is_the_mean_of_what_was_measured_and_nothing_in_between(influxdb: InfluxDB) -> None:
    """No window without a measurement has a value, and the picture does not draw one."""
    told = [(NOON, 100.0), (NOON + MINUTE, 300.0), (NOON + 3 * HOUR, 50.0)]
    await write(influxdb, [entry(time, {"power": power}) for time, power in told])
    found = [(row["_time"], row["_value"]) for row in rows(influxdb, "Power")]
    assert found == [("2026-11-10T12:00:00Z", 200.0), ("2026-11-10T15:00:00Z", 50.0)]
    for title in ("Power", "Temperature", "Humidity"):
        custom = PANELS[title]["fieldConfig"]["defaults"]["custom"]
        assert custom["lineInterpolation"] == "stepAfter"
        assert not custom["spanNulls"]
        assert custom["insertNulls"] == timedelta(minutes=65) / timedelta(milliseconds=1)


async def test_power_now_is_not_that_of_yesterday(influxdb: InfluxDB) -> None:
    """A device that is silent has no power now; how long it has been silent is told."""
    now = datetime.now(UTC)
    await write(influxdb, [entry(now - 5 * MINUTE, {"power": 10.0}), entry(now - MINUTE, {"power": 20.0})])
    await write(influxdb, [entry(now - HOUR, {"power": 5.0, "output": True}, "silent")])
    assert [(row["label"], row["_value"]) for row in rows(influxdb, "Power now")] == [("plug", 20.0)]
    silent = {row["label"]: row["_value"] for row in rows(influxdb, "Silence")}
    assert silent == pytest.approx({"silent": 3600, "plug": 60}, abs=20)


async def test_devices_have_their_newest_names(influxdb: InfluxDB) -> None:
    """Two with one name stay two; one without a name has its id; phases and channels say which they are."""
    names = [(NOON - DAY, "plug", "Old"), (NOON, "plug", 'Café "1"'), (NOON, "second", 'Café "1"')]
    about = [
        entry(time, {"event": "device", "name": name, "model": "m"}, device, APPLIANCE)
        for time, device, name in names
    ]
    readings = [entry(NOON, {"power": 1.0}, device) for device in ("plug", "second", "nameless")]
    await write(influxdb, [*about, *readings, entry(NOON, {"power_a": 2.0, "power_1": 3.0}, "meter")])
    series = rows(influxdb, "Power")
    assert len({row["table"] for row in series}) == 5
    found = sorted((row["label"], row["device"], row["_value"]) for row in series)
    assert found == [
        ('Café "1"', "plug", 1.0),
        ('Café "1"', "second", 1.0),
        ("meter power_1", "meter", 3.0),
        ("meter power_a", "meter", 2.0),
        ("nameless", "nameless", 1.0),
    ]


async def test_what_another_appliance_wrote_is_not_ours(influxdb: InfluxDB) -> None:
    """Several may share a database."""
    bodies = {"power": 1.0, "energy": 1.0, "temperature": 20.0, "humidity": 50.0, "output": True}
    await write(influxdb, [entry(datetime.now(UTC), bodies)], "house-2")
    for title in PANELS:
        assert rows(influxdb, title, datetime.now(UTC) - DAY, datetime.now(UTC) + DAY) == []


async def test_climate_and_relays(influxdb: InfluxDB) -> None:
    """A mean of two is one; a relay's last word in an interval counts."""
    body = [
        {"temperature": 20.0, "humidity": 40.0, "output": True},
        {"temperature": 21.0, "humidity": 50.0, "output": False},
    ]
    await write(influxdb, [entry(NOON + n * MINUTE, each) for n, each in enumerate(body)])
    assert [row["_value"] for row in rows(influxdb, "Temperature")] == [20.5]
    assert [row["_value"] for row in rows(influxdb, "Humidity")] == [45.0]
    assert [row["_value"] for row in rows(influxdb, "Relays")] == [False]


async def test_incidents_commands_and_the_appliances_own_events(influxdb: InfluxDB) -> None:
    """The newest first, as the daemon records them; values of several types beside each other are no error."""
    trouble = {"event": "opened", "incident": "boiler/draws", "relay": "boiler", "text": "draws 1,200 W"}
    intent = {"event": "intent", "command": "1", "relay": "boiler", "on": True, "origin": "http", "reason": ""}
    outcome = {**intent, "event": "outcome", "outcome": "confirmed", "reason": "because", "milliseconds": 12.5}
    await write(
        influxdb,
        [
            entry(NOON, trouble, kind=INCIDENT),
            entry(NOON + MINUTE, {**trouble, "event": "resolved"}, kind=INCIDENT),
            entry(NOON, intent, kind=COMMAND),
            entry(NOON + MINUTE, outcome, kind=COMMAND),
            entry(NOON, {"event": "start", "version": "1.0"}, "house-1", APPLIANCE),
            entry(NOON + MINUTE, {"event": "clock set"}, "house-1", APPLIANCE),
        ],
    )
    assert [(row["event"], row["text"]) for row in rows(influxdb, "Incidents")] == [
        ("resolved", "draws 1,200 W"),
        ("opened", "draws 1,200 W"),
    ]
    assert [(row["event"], row["outcome"]) for row in rows(influxdb, "Commands to relays")] == [
        ("outcome", "confirmed"),
        ("intent", None),
    ]
    assert [row["event"] for row in rows(influxdb, "Appliance")] == ["clock set", "start"]


async def test_the_appliances_to_choose_from(influxdb: InfluxDB) -> None:
    """Those that have written."""
    for name in ("house-1", "house-2"):
        await write(influxdb, [entry(datetime.now(UTC) - MINUTE, {"power": 1.0})], name)
    (variable,) = (found for found in HOUSE["templating"]["list"] if found["name"] == "appliance")
    found = influxdb.query(flux(variable["query"], influxdb, NOON, NOON, "1m0s"))
    assert [row["_value"] for row in found] == ["house-1", "house-2"]


def test_the_dashboard_is_whole() -> None:
    """Every panel explains itself, asks the provisioned data source, and covers no other."""
    source = re.search(r"uid: (\S+)", (GRAFANA / "datasource.yaml").read_text())
    assert source
    taken: set[tuple[int, int]] = set()
    for panel in PANELS.values():
        assert panel["description"].endswith(".")
        assert panel["datasource"]["uid"] == panel["targets"][0]["datasource"]["uid"] == source[1]
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in PANELS.values()}) == len(HOUSE["panels"])
