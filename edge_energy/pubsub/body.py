"""What Pub/Sub's messages say so that BigQuery can keep them: columns, and everything else in one more. No I/O.

A BigQuery subscription puts each field of a message into the column of its name, and drops a field that has none.
Source: google.pubsub.v1 BigQueryConfig, `use_table_schema`, `write_metadata` and `drop_unknown_fields`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from edge_energy.interfaces import APPLIANCE, COMMAND, INCIDENT, READING
from edge_energy.messages import RESERVED

if TYPE_CHECKING:
    from edge_energy.interfaces import Entry

MORE = "more"
"""The field with all values that have no column: a string that holds a JSON object, as a JSON column takes it."""
METADATA = frozenset({"subscription_name", "message_id", "publish_time", "attributes"})
"""The columns that the subscription itself fills."""
COLUMNS = {
    READING: frozenset(
        {
            "power",
            "voltage",
            "current",
            "energy",
            "energy_returned",
            "frequency",
            "power_factor",
            "temperature",
            "humidity",
            "battery",
            "output",
        }
    ),
    COMMAND: frozenset(
        {"event", "command", "relay", "on", "origin", "reason", "for", "outcome", "milliseconds"},
    ),
    INCIDENT: frozenset({"event", "incident", "relay", "text"}),
    APPLIANCE: frozenset({"event", "version", "name", "model"}),
}
"""The values of each kind that have columns of their own in config/cloud/bigquery.sql."""
_TAKEN = RESERVED | METADATA | {MORE}


def with_more(entry: Entry) -> Entry:
    """Return an entry whose values without a column are also in `more`; one that has none is returned as it is.

    BigQuery does not tell `Power` from `power`: a value whose name it would take for another column's gets a `_`
    behind it, as every message does it with its own names.
    """
    columns = COLUMNS.get(entry.kind, frozenset())
    if entry.body.keys() <= columns:
        return entry
    values = {_free(name, columns, entry.body): value for name, value in entry.body.items()}
    others = {name: value for name, value in values.items() if name not in columns}
    return entry._replace(body={**values, MORE: orjson.dumps(others).decode()})


def _free(name: str, columns: frozenset[str], values: dict[str, Any]) -> str:
    if name in columns:
        return name
    taken = columns | _TAKEN
    if name.lower() in taken:
        while name.lower() in taken or name in values:
            name += "_"
    return name
