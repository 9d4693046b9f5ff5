"""The audit trail arrives where the readings do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_energy import client
from edge_energy.devices.shelly_rpc import device_id
from tests.servers.base import HOST, wait_until
from tests.servers.daemon import Daemon, influxdb_section
from tests.servers.shelly import SimulatedShelly

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.influxdb import InfluxDB


def test_commands_and_incidents_arrive_in_influxdb(tmp_path: Path, influxdb: InfluxDB) -> None:
    """What was wanted, by whom, what became of it, and what went wrong: measurements `command` and `incident`."""

    def points(measurement: str) -> list[dict[str, object]]:
        return influxdb.query(
            f'from(bucket: "{influxdb.bucket}") |> range(start: 0, stop: 2200-01-01T00:00:00Z)'
            f' |> filter(fn: (r) => r._measurement == "{measurement}")'
            ' |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value") |> group()'
        )

    with SimulatedShelly(tmp_path, "pro1pm") as shelly:
        device = shelly["pro1pm"]
        relay = device_id(device.id)
        found = (
            f'[[shelly]]\nhost = "{HOST}"\nport = {device.port}\n'
            f'[[relay]]\ndevice = "{relay}"\nsafe_state = "off"\nmax_power = 2000\n'
            + influxdb_section(influxdb.url, influxdb.bucket, influxdb.token, 'batch_age = "100ms"')
        )
        with Daemon(tmp_path / "daemon", found) as daemon:
            daemon.wait_connected()
            wait_until(lambda: not device.state()["output"], 20, "the safe state at the start")
            answer = client.ask(
                daemon.socket, "POST", "/relays/switch", {"device": relay, "state": "on", "for": 3600}
            )
            device.load(2345.0)
            wait_until(lambda: not device.state()["output"], 20, "the cut-out")
            wait_until(lambda: points("incident"), 20, "the incident in InfluxDB")
            daemon.wait_delivered()
            commands = points("command")
    mine = [point for point in commands if point["command"] == answer["command_id"]]
    assert [(p["event"], p["on"], p["origin"], p.get("for"), p.get("outcome")) for p in mine] == [
        ("intent", True, "cli", 3600.0, None),
        ("outcome", True, "cli", None, "confirmed"),
    ]
    assert {point["device"] for point in commands} == {relay}
    (incident,) = points("incident")
    assert (incident["event"], incident["incident"]) == ("opened", f"{relay}/cut out")
    assert "2345 W" in str(incident["text"])
