"""What people and programs get to read."""

from __future__ import annotations

from edge_energy.doctor.finding import Result, failure, not_applicable, not_permitted, ok, warning
from edge_energy.doctor.report import as_data, colour, text

RESULTS = [
    Result("Clock", "clock", ok("synchronised")),
    Result("Disk", "swap", warning("/swapfile", "wears the card", "switch it off")),
    Result("Disk", "errors", failure("3 on mmcblk0p2", "worn out", "replace it")),
    Result("Disk", "journal", not_permitted("/var/lib/edge-energy")),
    Result("Board", "power supply", not_applicable("not a Raspberry Pi")),
]


def test_one_line_for_each_check_and_the_remedy_below_what_is_wrong() -> None:
    assert (
        text(RESULTS)
        == """\
Clock
  ok             clock: synchronised

Disk
  WARNING        swap: /swapfile
                   cause: wears the card
                   remedy: switch it off
  FAILURE        errors: 3 on mmcblk0p2
                   cause: worn out
                   remedy: replace it
  not permitted  journal: /var/lib/edge-energy

Board
  -              power supply: not a Raspberry Pi

1 ok, 1 warning, 1 failure
1 check not permitted: see more with `sudo edge-energy doctor`."""
    )


def test_all_is_well() -> None:
    assert text(RESULTS[:1]).endswith("All is well: 1 ok, 0 warnings, 0 failures.")


def test_programs_get_the_same() -> None:
    data = as_data(RESULTS)
    assert (data["failures"], data["warnings"]) == (1, 1)
    assert data["checks"][2] == {
        "group": "Disk",
        "name": "errors",
        "verdict": "failure",
        "found": "3 on mmcblk0p2",
        "cause": "worn out",
        "remedy": "replace it",
    }


def test_verdicts_have_colours_and_nothing_else_has() -> None:
    assert [colour(word) for word in ("ok", "WARNING", "FAILURE", "-", "", "cause:")] == [
        "green",
        "yellow",
        "red",
        None,
        None,
        None,
    ]
