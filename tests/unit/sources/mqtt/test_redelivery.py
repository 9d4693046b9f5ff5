"""The same message again is told from another one that looks like it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_energy.sources.mqtt.redelivery import Redelivery

ROUND = 65_535  # packet ids until one comes again
BODY = '{"power":46.9}'


def test_nothing_is_known_at_first() -> None:
    """A DUP flag alone means nothing: the broker may never have got it through to us."""
    redelivery = Redelivery()
    assert not any(redelivery.known(packet, "", "") for packet in range(ROUND + 1))


def test_the_same_message_is_one_of_the_same_id_device_and_values() -> None:
    """All three have to be equal, or a reading would be lost."""
    redelivery = Redelivery()
    redelivery.remember(7, "plug", BODY)
    assert redelivery.known(7, "plug", BODY)
    assert redelivery.known(7, "plug", BODY)  # a broker may repeat it at every reconnect
    assert not redelivery.known(8, "plug", BODY)
    assert not redelivery.known(7, "lamp", BODY)
    assert not redelivery.known(7, "plug", '{"power":47.0}')


def test_ids_that_come_round_again_are_other_messages() -> None:
    """A steady load sends equal values for ever: an id of the last round must not pass for a redelivery."""
    redelivery = Redelivery()
    for packet in range(1, ROUND + 1):
        redelivery.remember(packet, "plug", BODY)
    assert not redelivery.known(1, "plug", BODY)
    assert not redelivery.known(ROUND - 40_000, "plug", BODY)
    assert redelivery.known(ROUND, "plug", BODY)
    assert redelivery.known(ROUND - 30_000, "plug", BODY)
    redelivery.remember(1, "plug", BODY)
    assert redelivery.known(1, "plug", BODY)


def test_what_was_not_recorded_is_forgotten() -> None:
    """After a failed commit the broker's redelivery is recorded, not taken for a repetition."""
    redelivery = Redelivery()
    for packet in (1, 2, 3):
        redelivery.remember(packet, "plug", BODY)
    redelivery.forget([1, 3, 0, 65_535])
    assert [redelivery.known(packet, "plug", BODY) for packet in (1, 2, 3)] == [False, True, False]


def test_after_a_restart_the_newest_message_of_an_id_counts() -> None:
    """What the journal has is known again, and of two entries with one id the newer."""
    redelivery = Redelivery()
    redelivery.restore(iter([(7, "plug", "new"), (8, "lamp", BODY), (7, "plug", "old")]))
    assert redelivery.known(7, "plug", "new")
    assert redelivery.known(8, "lamp", BODY)
    assert not redelivery.known(7, "plug", "old")


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from("ab"), st.sampled_from("xy"), st.booleans())))
def test_it_agrees_with_a_plain_dictionary(story: list[tuple[int, str, str, bool]]) -> None:
    """Known is exactly what was last remembered under an id and not forgotten since."""
    redelivery, model = Redelivery(), dict[int, tuple[str, str]]()
    for packet, device, body, kept in story:
        assert redelivery.known(packet, device, body) == (model.get(packet) == (device, body))
        if kept:
            redelivery.remember(packet, device, body)
            model[packet] = device, body
        else:
            redelivery.forget([packet])
            model.pop(packet, None)
