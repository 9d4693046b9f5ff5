"""Reports for people: text made of what the local socket answers. No I/O."""

from edge_energy.reports.access import new_token, tokens
from edge_energy.reports.appliance import devices, status
from edge_energy.reports.entries import journal, rejections, tail
from edge_energy.reports.forwarding import arrived, compact, forward_test, forwarding, topics
from edge_energy.reports.relays import lease_test, switched, why
from edge_energy.reports.shelly import adoption, discovered, shellies
from edge_energy.reports.words import as_json, duration, moment, printable, size, value, values

__all__ = [
    "adoption",
    "arrived",
    "as_json",
    "compact",
    "devices",
    "discovered",
    "duration",
    "forward_test",
    "forwarding",
    "journal",
    "lease_test",
    "moment",
    "new_token",
    "printable",
    "rejections",
    "shellies",
    "size",
    "status",
    "switched",
    "tail",
    "tokens",
    "topics",
    "value",
    "values",
    "why",
]
