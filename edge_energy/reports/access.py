"""Reports for people on tokens. No I/O."""

from __future__ import annotations

from typing import Any

from edge_energy.reports.words import moment, table


def new_token(role: str, text: str) -> str:
    """Return what `edge-energy token create` prints: the token on a line of its own, and what to do with it."""
    lines = ["This is shown once; whoever has it may use it:", "", text, ""]
    if role == "device":
        lines.append(f"In the URL of a webhook:  http://HOST:PORT/webhook/DEVICE?token={text}&power=…")
        lines.append(f"As a Shelly's outbound WebSocket server:  ws://HOST:PORT/shelly/ws/{text}")
    lines.append(f"As a header:  Authorization: Bearer {text}")
    lines.append(f"When it is lost or not needed any more:  edge-energy token revoke {text.split('_')[1]}")
    return "\n".join(lines)


def tokens(report: list[dict[str, Any]]) -> str:
    """Return the table of `edge-energy token list`."""
    if not report:
        return "There are no tokens; `edge-energy token create --role ROLE` makes one."
    rows = [("ID", "ROLE", "CREATED", "EXPIRES", "LAST USED", "NAME")]
    for token in report:
        created, expires, used = (
            None if token[key] is None else moment(token[key] * 1_000_000_000)
            for key in ("created", "expires", "last_used")
        )
        ends = "never" if expires is None else f"EXPIRED {expires}" if token["expired"] else expires
        rows.append((token["id"], token["role"], created or "unknown", ends, used or "not yet", token["name"]))
    return table(rows) + "\nLast used: since the daemon started."
