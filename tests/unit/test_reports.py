"""What people read says what is wrong, in words and units of theirs, and shows nothing that is not there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge_energy import reports
from tests.unit.samples import NOON, RELAY_REPORT

SOURCE: dict[str, Any] = {
    "name": "mqtt broker:1883",
    "connected": True,
    "unavailable_seconds": None,
    "last_error": None,
    "kind": "mqtt",
    "last_message_seconds_ago": 3.2,
    "protocol": "5",
    "granted_qos": {"zigbee2mqtt/+": 1, "house/#": "refused"},
    "received_qos": {"0": 7, "1": 5},
    "recorded": 12,
    "live": 11,
    "backlog": 1,
    "redelivered": 0,
    "repeated": 2,
    "retained": 0,
    "unreadable": 4,
    "not_recorded": 6,
    "implausible": 1,
    "unreadable_topics": {"house/odd": {"count": 4, "reason": "not JSON"}},
    "unacknowledged": 3,
    "window": 20,
    "in_backlog": True,
    "sessions_lost": 0,
    "zigbee2mqtt": {"online": False, "version": "2.14.0", "merged_cache": True},
}
SINK: dict[str, Any] = {
    "name": "influxdb",
    "connected": False,
    "unavailable_seconds": 3700.0,
    "last_error": "http://db answered 401: correct [influxdb] token",
    "lag_entries": 1234,
    "lag_seconds": 90.0,
    "backlog_entries": 1200,
    "replay_rate": 0.0,
    "delivered": 10,
    "set_aside": 2,
    "last_success_seconds_ago": None,
    "unanswered_seconds": None,
}
JOURNAL: dict[str, Any] = {
    "bytes": 3 * 2**20,
    "budget_bytes": 2**30,
    "full": False,
    "newest_position": 500,
    "oldest_position": None,
    "oldest_time": None,
    "commits": 9,
    "entries": 500,
    "bytes_written": None,
    "trimmed": 0,
    "dropped_ever": 0,
    "refused": 0,
    "set_aside": 2,
    "recovered": None,
}
REPORT: dict[str, Any] = {
    "appliance": "house-1",
    "version": "0.1.0",
    "up_seconds": 93_784.0,
    "clock_trusted": True,
    "devices": 2,
    "live_updates": 11,
    "sources": [SOURCE],
    "servers": [],
    "outbound": None,
    "commands": [],
    "sinks": [SINK],
    "journal": JOURNAL,
}


@pytest.mark.parametrize(
    "said",
    [
        "house-1: edge-energy 0.1.0, up 1 d 2 h, 2 devices, 11 live updates",
        "mqtt broker:1883  connected (MQTT 5), last message 3 s ago",
        "! the broker refuses the subscription house/#",
        "! most messages come at QoS 0 and are lost while the daemon is away",
        "! still receiving what the broker kept",
        "! 6 messages came while the disk was full",
        "Zigbee2MQTT 2.14.0 OFFLINE",
        "! Zigbee2MQTT repeats old values: set advanced.cache_state to false",
        "! 4 unreadable on house/odd: not JSON",
        "unacknowledged 3 of a window of 20",
        "influxdb  NOT CONNECTED for 1 h 1 min: http://db answered 401: correct [influxdb] token",
        "lag 1234 entries, 1 min 30 s",
        "! 2 entries refused and set aside: see `edge-energy journal rejections`",
        "journal  3.0 MiB of 1.0 GiB, positions 0 to 500, oldest never",
    ],
)
def test_status_says(said: str) -> None:
    """Every trouble has a line, with what to do about it where something can be done."""
    assert said in reports.status(REPORT)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"clock_trusted": False}, "! The date is not known yet"),
        ({"sinks": []}, "No sink is configured: readings stay in the journal."),
        ({"journal": JOURNAL | {"full": True}}, "! THE DISK IS FULL"),
        ({"journal": JOURNAL | {"dropped_ever": 3}}, "! readings were dropped because [journal] max_size is used up"),
        ({"journal": JOURNAL | {"recovered": "the file was damaged"}}, "! the file was damaged"),
        ({"journal": JOURNAL | {"bytes_written": 2048}}, "2.0 KiB written"),
    ],
)
def test_status_says_only_when_it_is_so(change: dict[str, Any], said: str) -> None:
    """A healthy appliance shows no warnings."""
    assert said not in reports.status(REPORT)
    assert said in reports.status(REPORT | change)


def test_a_healthy_source_has_no_warning() -> None:
    """An exclamation mark means that somebody should act."""
    calm = {"granted_qos": {}, "received_qos": {"0": 0, "1": 5}, "not_recorded": 0, "unreadable_topics": {}}
    calm |= {"in_backlog": False, "last_message_seconds_ago": None}
    source = SOURCE | calm | {"zigbee2mqtt": {"online": True, "version": "2", "merged_cache": False}}
    text = reports.status(REPORT | {"sources": [source], "sinks": []})
    assert "!" not in text
    assert "nothing heard yet" in text


def test_devices_stand_in_columns_with_their_units() -> None:
    """The usual quantities come first, a friendly name only where it is another, offline devices say so."""
    report: list[dict[str, Any]] = [
        {"device": "zigbee-1", "name": "salle/é", "available": None, "time": None, "values": {"energy": 12_345.0}},
        {
            "device": "plug",
            "name": "plug",
            "available": False,
            "time": NOON,
            "values": {"voltage": 230.1, "power": 46.94, "output": True, "linkquality": 3.0},
        },
        {"device": "odd", "name": "odd", "available": True, "time": None, "values": {"a": 1.0, "b": 2.0}},
    ]
    head, one, two, three = reports.devices(report).splitlines()
    assert one.split() == ["zigbee-1", "salle/é", "never", "12.35", "kWh"]
    assert two.split() == ["plug", "OFFLINE", "ON", "46.94", "W", "230.1", "V"]
    assert three.endswith("2 other values")
    assert head.index("VALUES") == one.index("12.35") == two.index("ON  46.94")
    assert reports.devices([]) == "No device was heard of yet."


def test_every_shown_quantity_has_a_unit() -> None:
    """A quantity that is added to the table can be printed."""
    for name in reports.words.SHOWN:
        assert reports.value(name, name == "output" or 1234.5)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3_600, "1 h"),
        (3_661, "1 h 1 min"),
        (86_400, "1 d"),
        (90_000, "1 d 1 h"),
        (8_640_000, "100 d"),
    ],
)
def test_durations_have_the_two_units_that_matter(seconds: float, text: str) -> None:
    """Nobody wants to count seconds of a week."""
    assert reports.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (2**20, "1.0 MiB"), (2**30, "1.0 GiB"), (2**41, "2048.0 GiB")],
)
def test_sizes_are_binary(count: int, text: str) -> None:
    """As the settings write them."""
    assert reports.size(count) == text


def test_the_tail_and_the_rejections_are_lines() -> None:
    """One line per entry, whatever is in it; an empty list says that it is empty."""
    entry = {"position": 7, "time": NOON, "kind": "reading", "device": "plug", "body": {"é": 1.0, "b": "x\ny"}}
    assert reports.tail([entry]).endswith('reading    plug  {"é": 1.0, "b": "x\\ny"}')
    assert reports.tail([entry]).count("\n") == 0
    assert reports.tail([]) == "The journal is empty."
    unreadable = {"time": None, "origin": "mqtt t", "reason": "not JSON", "payload": "a\nb" * 200}
    text = reports.rejections(
        {"set_aside": [{"sink": "influxdb", "position": 3, "reason": "bad"}], "unreadable": [unreadable]}
    )
    first, second = text.splitlines()
    assert first == "influxdb refused entry 3: bad"
    assert second.startswith("never  unreadable on mqtt t: not JSON: 'a\\nba")
    assert len(second) < 250
    assert reports.rejections({"set_aside": [], "unreadable": []}) == "Nothing was refused or unreadable."


def test_programs_get_json() -> None:
    """The same report, with every character as it is."""
    assert json.loads(reports.as_json(REPORT)) == REPORT
    assert "é" in reports.as_json({"name": "é"})


def test_a_terminal_obeys_no_name() -> None:
    """Names, topics and reasons come from others; accents and columns stay."""
    assert reports.printable("salon/télévision  5 °C\n\x1b]0;x\x07\x9b2J\r") == "salon/télévision  5 °C\n�]0;x��2J�"


def test_the_tail_stands_in_columns() -> None:
    entry = {"position": 7, "time": NOON, "kind": "reading", "body": {"power": 1}}
    lines = reports.tail([{**entry, "device": "plug"}, {**entry, "device": "shelly-ec62608ab9a4"}]).splitlines()
    assert lines[0].index("{") == lines[1].index("{")


def test_the_server_says_what_became_of_requests() -> None:
    """In words: not everybody knows what a 4xx is."""
    server = {
        "name": "http 0.0.0.0:8000",
        "kind": "http",
        "connected": True,
        "connections": 3,
        "websockets": 1,
        "requests": {"1xx": 1, "2xx": 12, "4xx": 2, "5xx": 1},
        "rate_limited": 0,
        "slow_clients": 0,
        "displaced": 0,
    }
    said = "listening: 1 became WebSockets, 12 accepted, 2 refused, 1 failed; now 3 connected and 1 by WebSocket"
    assert said in reports.status(REPORT | {"servers": [server]})


# -- relays --------------------------------------------------------------------------------------------------

WISH: dict[str, Any] = RELAY_REPORT["wish"]
DECISION: dict[str, Any] = {
    "time": NOON,
    "command": "abc",
    "on": False,
    "origin": "safety",
    "verdict": "confirmed",
    "reason": "budget: more than 6000 W",
    "milliseconds": 1234.5,
    "times": 1,
    "inputs": {"output": True, "power": 2400.4, "wished": True, "by": "cli", "budget total": None, "pump": False},
}


def relay_lines(**changes: Any) -> list[str]:
    """Return what `status` says of a relay."""
    text = reports.status({**REPORT, "relays": [{**RELAY_REPORT, **changes}]})
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if "ec62608ab9a4" in line)
    return lines[first : lines.index("", first)]


def test_a_relay_that_is_well_is_one_line() -> None:
    assert relay_lines() == ["Boiler (shelly-ec62608ab9a4)  ON 2,400 W, safe state off, lease 2 min verified"]
    assert relay_lines(name="shelly-ec62608ab9a4", output=False, power=None, wish=None) == [
        "shelly-ec62608ab9a4  OFF, safe state off, lease 2 min verified"
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"output": None, "power": None}, "unknown, safe state off"),
        ({"output": False, "draws": True, "power": 1230.0}, "said to be OFF, STILL DRAWS 1,230 W"),
        ({"lease_verified": None}, "lease 2 min not verified"),
        ({"lease_verified": False}, "the lease cannot be relied upon"),
        ({"lease": None}, "no device-side safety"),
        ({"lease": None, "timer": None}, "no device-side safety"),
        (
            {"timer": None, "output": None, "power": None, "available": None, "lease_verified": None},
            "unknown, safe state off, never reached yet: device-side safety unknown",
        ),
        ({"timer": None, "lease": None, "safe_state": "leave"}, "safe state leave, nothing to lease"),
        ({"available": False}, "OFFLINE, was ON, safe state off"),
        ({"available": False, "output": None}, ")  OFFLINE, safe state off"),
        (
            {"available": False, "output": False, "draws": True, "power": 1230.0},
            "OFFLINE, was said to be OFF, STILL DRAWS 1,230 W",
        ),
        ({"output": None, "draws": True, "power": None}, ")  unknown, safe state off"),
        ({"lease": None, "safe_state": "leave", "lease_verified": False}, "safe state leave, nothing to lease"),
        ({"findings": ["draws nothing", "was switched off"]}, "  ! draws nothing\n  ! was switched off"),
        (
            {
                "output": False,
                "blocked": "min_off: 3 min more",
                "wish": {**WISH, "origin": "schedule"},
            },
            "  wished ON by a schedule, not done: min_off: 3 min more",
        ),
        (
            {"wish": {**WISH, "seconds_left": 1800.0}},
            "  wished ON by the command line for 30 min more",
        ),
        ({"wish": {**WISH, "on": False, "origin": "new"}}, "  wished OFF by new"),
        (
            {"wish": {**WISH, "on": False, "origin": "device"}},
            "  wished OFF by its own button or another program",
        ),
    ],
)
def test_what_is_not_as_it_should_be_is_said_of_a_relay(changes: dict[str, Any], words: str) -> None:
    assert words in "\n".join(relay_lines(**changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"last": {**DECISION, "verdict": "confirmed"}}, ", not done: budget: more than 6000 W"),
        (
            {"last": {**DECISION, "reason": "safe state: its meter is offline"}},
            ", not done: safe state: its meter is offline",
        ),
        ({"last": {**DECISION, "on": True, "verdict": "failed", "reason": "no answer"}}, ", not done: no answer"),
        ({"blocked": "min_off: 3 min more", "last": DECISION}, ", not done: min_off: 3 min more"),
        ({"last": {**DECISION, "on": True}}, ""),
        ({"last": {**DECISION, "reason": "safe state at the start"}}, ""),
        ({"last": {**DECISION, "origin": "cli", "reason": ""}}, ""),
        (
            {
                "findings": ["its meter m is offline"],
                "last": {**DECISION, "reason": "safe state: its meter m is offline"},
            },
            "\n  ! its meter m is offline",
        ),
        (
            {
                "findings": ["cannot be switched on: no answer"],
                "last": {**DECISION, "on": True, "verdict": "failed", "reason": "schedule 22:30 to 06:30; no answer"},
            },
            "\n  ! cannot be switched on: no answer",
        ),
    ],
)
def test_the_reason_why_a_wish_is_not_done_is_said_once(changes: dict[str, Any], words: str) -> None:
    """A rule in the way, a device that does not answer: with the wish at once, as a finding where that lasts."""
    _, *further = relay_lines(output=False, wish={**WISH, "origin": "http"}, **changes)
    assert "\n".join(further) == f"  wished ON by HTTP{words}"


def test_a_house_without_relays_has_no_lines_on_them() -> None:
    assert reports.status({**REPORT, "relays": []}) == reports.status(REPORT)


def test_why_tells_what_was_known_then() -> None:
    made = {**DECISION, "time": None, "origin": "http", "verdict": "refused", "milliseconds": None, "inputs": {}}
    decisions = [DECISION, {**made, "on": True, "reason": ""}]
    text = reports.why({**RELAY_REPORT, "inputs": {"output": False}, "decisions": decisions})
    assert text.splitlines()[1:] == [
        "  known now: output OFF",
        "",
        f"{reports.moment(NOON)}  OFF  by safety: confirmed after 1.2 s",
        "    because: budget: more than 6000 W",
        "    known then: output ON; power 2,400.4; wished ON; by the command line; budget total not known; pump OFF",
        "",
        "date unknown         ON   by HTTP: refused",
    ]
    repeated = reports.why({**RELAY_REPORT, "inputs": {}, "decisions": [{**DECISION, "times": 12}]})
    assert "by safety: confirmed after 1.2 s, 12 times in a row\n" in repeated
    nothing = reports.why({**RELAY_REPORT, "inputs": {}, "decisions": []})
    assert nothing.splitlines()[1:] == ["", "Nothing was decided about it since the daemon's start."]


# -- forwarding ----------------------------------------------------------------------------------------------

INBOX: dict[str, Any] = {
    "kind": "commands",
    "name": "pubsub commands",
    "connected": True,
    "unavailable_seconds": None,
    "last_error": None,
    "received": 9,
    "acknowledged": 9,
    "repeated": 0,
    "malformed": 0,
    "not_ours": 0,
    "not_switchable": 0,
    "outcomes": {"confirmed": 3, "refused": 0, "failed": 0, "expired": 1, "superseded": 0},
}


def forwarding_lines(sink: dict[str, Any] | None = None, inbox: dict[str, Any] | None = None) -> list[str]:
    """Return what `forward status` says."""
    sinks = [] if sink is None else [{**SINK, "connected": True, "last_error": None, **sink}]
    inboxes = [] if inbox is None else [{**INBOX, **inbox}]
    return reports.forwarding({"sinks": sinks, "commands": inboxes}).splitlines()


def test_a_backlog_is_told_with_the_time_that_it_takes() -> None:
    """Whoever looks knows when the outage will be over for the far side."""
    paced = forwarding_lines({"backlog_entries": 25_200, "replay_rate": 7.0})
    assert paced[1] == "  what is new goes first; 25200 of an outage follow, at most 7 a second: 1 h more"
    assert forwarding_lines({"backlog_entries": 5})[1].endswith("5 of an outage follow, as fast as it goes")
    assert not any("outage" in line for line in forwarding_lines({"backlog_entries": 0}))
    assert not any("outage" in line for line in forwarding_lines({"connected": False}))


def test_a_sink_that_does_not_answer_is_told_before_it_counts_as_away() -> None:
    """A client that waits for its broker is connected only by name."""
    assert (
        forwarding_lines({"backlog_entries": 0, "unanswered_seconds": 12.0})[1] == "  ! it has not answered for 12 s"
    )
    assert len(forwarding_lines({"backlog_entries": 0, "unanswered_seconds": 0.4, "set_aside": 0})) == 1


def test_what_became_of_commands_from_the_cloud_is_told() -> None:
    """What was carried out, what nobody here can do, and what nobody understood."""
    assert forwarding_lines(inbox={}) == ["pubsub commands  connected, received 9: 3 confirmed, 1 expired"]
    assert forwarding_lines(inbox={"outcomes": {}})[0].endswith("received 9: none carried out yet")
    assert forwarding_lines(inbox={"repeated": 2, "not_ours": 5})[1:] == [
        "  2 came again, 5 were for devices that are not here"
    ]
    assert "[[relay]] block" in forwarding_lines(inbox={"not_switchable": 1})[1]
    assert "journal rejections" in forwarding_lines(inbox={"malformed": 1})[1]
    away = forwarding_lines(inbox={"connected": False, "unavailable_seconds": 60.0, "last_error": "no broker"})
    assert away[0].startswith("pubsub commands  NOT CONNECTED for 1 min: no broker, received 9")


def test_status_has_the_sources_of_commands_too() -> None:
    assert "pubsub commands  connected" in reports.status(REPORT | {"commands": [INBOX]})


def test_topics_and_tests_of_forwarding_are_tables() -> None:
    """Each hop in its order, and whether it passed."""
    topics = [{"sink": "kafka", "topic": "shelly_data", "outcome": "created"}]
    assert reports.topics({"topics": topics}) == "kafka  shelly_data  created"
    hops = [
        {"hop": "journal", "passed": True, "text": "recorded at position 7", "milliseconds": 3.2},
        {"hop": "kafka", "passed": False, "text": "not confirmed within 20 s: no broker", "milliseconds": 20_003.0},
    ]
    assert reports.forward_test({"hops": hops}).splitlines() == [
        "journal  passed  recorded at position 7 (3 ms)",
        "kafka    FAILED  not confirmed within 20 s: no broker (20003 ms)",
    ]


def test_what_arrived_is_one_line() -> None:
    """With the place where it is and the id that it has everywhere."""
    message: dict[str, Any] = {
        "topic": "shelly_data",
        "partition": 2,
        "offset": 41,
        "time": "2026-11-20T09:30:00.123Z",
        "attributes": {"ce_id": "abc/7"},
        "body": {"device": "boiler", "power": 1.5},
    }
    line = '2026-11-20T09:30:00.123Z  shelly_data[2]@41  abc/7  {"device":"boiler","power":1.5}'
    assert reports.arrived(message) == line
    del message["partition"]
    assert reports.arrived(message | {"body": "no JSON", "attributes": {}}).endswith("shelly_data  -  no JSON")
