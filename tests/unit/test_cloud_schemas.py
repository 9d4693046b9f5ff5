"""What config/cloud/ says of messages is what messages are: schemas, and the tables of BigQuery."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from edge_energy.app.chronicle import Chronicle
from edge_energy.clock import Clock
from edge_energy.collector import description
from edge_energy.devices.payload import put
from edge_energy.interfaces import APPLIANCE, COMMAND, INCIDENT, READING, Entry
from edge_energy.messages import Messages
from edge_energy.pubsub.body import COLUMNS, METADATA, MORE, with_more
from edge_energy.relays.audit import Audit
from edge_energy.relays.command import Command, Origin, Outcome, Verdict
from tests.unit.relays.house import HEATER, house, settings
from tests.unit.samples import NOON, entry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_energy.interfaces import NewEntry

CLOUD = Path(__file__).parents[2] / "config" / "cloud"
TABLES = {READING: "readings", COMMAND: "commands", INCIDENT: "incidents", APPLIANCE: "appliance"}
BIGQUERY_TYPES = {"STRING": "string", "FLOAT64": "number", "BOOL": "boolean", "TIMESTAMP": "string", "JSON": "string"}
OWN = {"device", "timestamp", "span"}


class Disk:
    """Keeps what is recorded, as a sink gets it."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.state: dict[str, Any] = {}

    def record(self, entries: Sequence[NewEntry], within: float, state: Mapping[str, Any] | None = None) -> None:
        """See `interfaces.Recorder`."""
        assert within >= 0
        self.state |= state or {}
        for new in entries:
            body = orjson.loads(new.body)
            self.entries.append(Entry(1, new.kind, new.device, new.time or NOON, new.span, 1, new.uptime, body))


def schema(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CLOUD / f"{kind}.schema.json").read_text("utf-8"))
    return found


def told(found: Entry) -> dict[str, Any]:
    """Return the body that Pub/Sub gets."""
    body: dict[str, Any] = orjson.loads(Messages("house-1", "j").message(with_more(found)).body)
    return body


def valid(found: Entry) -> dict[str, Any]:
    """Validate an entry's body, in Pub/Sub and elsewhere; return it."""
    validator = Draft202012Validator(schema(found.kind), format_checker=Draft202012Validator.FORMAT_CHECKER)
    validator.validate(orjson.loads(Messages("house-1", "j").message(found).body))
    body = told(found)
    validator.validate(body)
    return body


def columns(kind: str) -> dict[str, str]:
    """Return the columns of a kind's table and their types."""
    (table,) = re.findall(
        rf"CREATE TABLE DATASET\.{TABLES[kind]} \((.*?)\n\)", (CLOUD / "bigquery.sql").read_text("utf-8"), re.DOTALL
    )
    return dict(re.findall(r"^  `?(\w+)`? (\w+)", table, re.MULTILINE))


@pytest.mark.parametrize("kind", TABLES)
def test_the_schemas_are_schemas(kind: str) -> None:
    Draft202012Validator.check_schema(schema(kind))


@pytest.mark.parametrize("kind", TABLES)
def test_the_columns_are_the_properties_of_the_schema(kind: str) -> None:
    """Under the same names, with types that take what the schema allows; the subscription fills four more."""
    found, properties = columns(kind), schema(kind)["properties"]
    assert found.keys() == properties.keys() | METADATA
    assert found.keys() == COLUMNS[kind] | OWN | METADATA | {MORE}
    for name, what in properties.items():
        types = {what["type"]} if "type" in what else {"string" for value in what["enum"] if isinstance(value, str)}
        assert types == {BIGQUERY_TYPES[found[name]]}, name
    assert [found[name] for name in sorted(METADATA)] == ["JSON", "STRING", "TIMESTAMP", "STRING"]
    assert (found["timestamp"], found[MORE]) == ("TIMESTAMP", "JSON")


numbers = st.one_of(st.floats(), st.booleans(), st.integers())
names = st.one_of(
    st.sampled_from([*COLUMNS[READING], "power_a", "output_1", "Power", "device", MORE]), st.text(max_size=9)
)


@given(st.dictionaries(names, numbers, max_size=12), st.integers(0, 2**62), st.none() | st.integers(0, 10**12))
def test_readings_are_as_their_schema_says(sent: dict[str, Any], time: int, span: int | None) -> None:
    """Whatever devices send: what `payload.put` takes of it is valid."""
    values: dict[str, float | bool] = {}
    for name, value in sent.items():
        put(values, name, value)
    values.pop(MORE, None)
    valid(entry(1, time=time, span=span, body=values))


@pytest.mark.parametrize(
    "body",
    [
        {"timestamp": "2026-11-20T09:30:00.123Z"},
        {"device": "plug", "timestamp": "2026-11-20 09:30"},
        {"device": "plug", "timestamp": "2026-11-20T09:30:00.123Z", "power": "120"},
        {"device": "plug", "timestamp": "2026-11-20T09:30:00.123Z", "output": 1},
        {"device": "plug", "timestamp": "2026-11-20T09:30:00.123Z", "power_a": True},
        {"device": "plug", "timestamp": "2026-11-20T09:30:00.123Z", "power": None},
    ],
)
def test_the_schema_of_readings_refuses_what_none_is(body: dict[str, Any]) -> None:
    """A schema that takes everything would prove nothing."""
    assert not Draft202012Validator(schema(READING)).is_valid(body)


def audited(act: Any) -> list[Entry]:
    """Return what the real audit trail records."""
    disk = Disk()
    act(Audit(disk, Clock(lambda: True), disk.state))  # type: ignore[arg-type]
    return disk.entries


@pytest.mark.parametrize("origin", Origin)
def test_commands_of_all_origins_are_as_their_schema_says(origin: Origin) -> None:
    command = Command("c-1", HEATER, True, origin, 0.0, "because", for_=1800.0, foreign=True)
    for found in audited(lambda audit: audit.intent(command, HEATER)):
        body = valid(found)
        assert (body["event"], body["for"], MORE in body) == ("intent", 1800.0, False)


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("milliseconds", [None, 12.5])
def test_outcomes_of_all_kinds_are_as_their_schema_says(verdict: Verdict, milliseconds: float | None) -> None:
    command = Command("c-1", HEATER, False, Origin.CLOUD, 0.0)
    outcome = Outcome(verdict, "a reason")
    (found,) = audited(lambda audit: audit.outcome(command, HEATER, outcome, milliseconds))
    body = valid(found)
    assert (body["outcome"], MORE in body) == (verdict, False)


def test_what_an_end_of_the_process_interrupted_is_as_the_schema_says() -> None:
    disk = Disk()
    Audit(disk, Clock(lambda: True), {}).intent(Command("c-1", HEATER, True, Origin.CLI, 0.0), HEATER)  # type: ignore[arg-type]
    kept = {key: value for key, value in disk.state.items() if value is not None}
    Audit(disk, Clock(lambda: True), kept).end_interrupted()  # type: ignore[arg-type]
    assert [valid(found)["event"] for found in disk.entries] == ["intent", "outcome"]


def test_incidents_are_as_their_schema_says() -> None:
    """From opened to resolved."""

    def act(audit: Audit) -> None:
        audit.incidents(HEATER, HEATER, {"stuck": "it does not switch"}, 1.0)
        audit.incidents(HEATER, HEATER, {}, 2.0)

    bodies = [valid(found) for found in audited(act)]
    assert [body["event"] for body in bodies] == ["opened", "resolved"]
    assert not any(MORE in body for body in bodies)


async def test_what_a_house_records_is_as_the_schemas_say(tmp_path: Path) -> None:
    """A controller that runs, with a real journal between."""
    async with house(tmp_path, settings({"device": HEATER})) as running:
        await running.switch(HEATER, True, Origin.HTTP, for_=600.0)
        running.drivers[HEATER].error = TimeoutError("no answer")
        await running.switch(HEATER, None, Origin.CLI)
        found = await running.entries()
    assert {kind for kind, _ in found} >= {COMMAND}
    for kind, body in found:
        assert MORE not in valid(entry(1, kind=kind, body=body)), body


def test_what_happens_to_the_appliance_is_as_the_schema_says() -> None:
    """Starts, stops, clocks; and what devices are called."""
    disk = Disk()
    chronicle = Chronicle("house-1", disk, Clock(lambda: True))  # type: ignore[arg-type]
    chronicle.tell("start", version="1.0")
    for event in ("stop", "clock set", "configuration changed"):
        chronicle.tell(event)
    disk.record([description("plug", "Boiler", "SHPLG-S", Clock(lambda: True))], 5.0)
    assert not any(MORE in valid(found) for found in disk.entries)
    assert len(disk.entries) == 5
