"""A backlog goes as fast as its rate and no faster, and ten thousand appliances do not fall upon one cloud."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.config import Kafka, Pubsub
from edge_energy.delivery import LONGEST_WAIT
from edge_energy.journal.journal import RECENT
from edge_energy.pace import EVERY, Pace

APPLIANCES, DEVICES, MESSAGES_A_DAY = 10_000, 200, 500
DAY = 86_400
MEAN = APPLIANCES * DEVICES * MESSAGES_A_DAY / DAY  # at the cloud, messages/s


def pieces(pace: Pace, largest: int, until: float, takes: float = 0.0) -> list[tuple[float, int]]:
    """Return (time, entries) of all pieces of an endless backlog; each keeps the far side busy for `takes` s."""
    now, sent = 0.0, []
    pace.begin(now)
    while (now := max(now, pace.turn(now))) < until:
        count = pace.piece(largest)
        pace.sent(count, now)
        sent.append((now, count))
        now += takes
    return sent


@given(rate=st.floats(0.01, 100_000), name=st.text(max_size=20), largest=st.integers(1, 5000))
def test_no_stretch_of_time_gets_more_than_the_rate_and_one_piece(rate: float, name: str, largest: int) -> None:
    sent = pieces(Pace(rate, name), largest, min(60.0, 2_000 / rate))
    assert all(1 <= count <= max(1, rate * EVERY) for _, count in sent)
    for index, (begin, _) in enumerate(sent):
        for later, (end, _) in enumerate(sent[index:], index):
            between = sum(count for _, count in sent[index : later + 1])
            assert between <= rate * (end - begin) + sent[later][1] + 1e-6


@given(rate=st.floats(1, 1000), takes=st.floats(0, 2))
def test_a_slow_far_side_is_not_slowed_further(rate: float, takes: float) -> None:
    """The time that sending takes is part of the distance between two pieces."""
    pace = Pace(rate, "house-1")
    distance = pace.piece(5000) / rate
    sent = pieces(pace, 5000, 300.0, takes)
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(sent)]
    assert all(abs(gap - max(distance, takes)) < 1e-6 for gap in gaps)


def test_what_could_not_be_sent_for_long_is_not_made_up_for_in_a_rush() -> None:
    """A minute in which the far side was slow ends with one piece, not with twelve."""
    pace = Pace(10, "house-1")
    pace.begin(0.0)
    pace.sent(50, 60.0)
    assert pace.turn(60.0) == 60.0
    pace.sent(50, 60.0)
    assert pace.turn(60.0) == 65.0


def test_without_a_rate_everything_goes_at_once() -> None:
    pace = Pace(0, "house-1")
    pace.begin(7.0)
    pace.sent(1000, 7.0)
    assert (pace.turn(7.0), pace.piece(1000)) == (7.0, 1000)


@pytest.mark.parametrize("back_within", [1.0, LONGEST_WAIT], ids=["a client that waits", "refused, and tried again"])
def test_ten_thousand_appliances_after_a_day_without_their_cloud(back_within: float) -> None:
    """All find it again within seconds, each with 100,000 entries: never more than eight times the mean.

    Each sends at once what is only seconds old, then what is new as it comes, and its backlog at its pace: that of
    Kafka and Pub/Sub unless it is set.
    """
    rate = Kafka(brokers="k:9092").replay_rate
    assert rate == Pubsub(project="project-1").replay_rate
    per_second: Counter[int] = Counter()
    chance = random.Random(1)
    seconds = 3 * 60
    each = MEAN / APPLIANCES
    for number in range(APPLIANCES):
        back = chance.uniform(0, back_within)
        per_second[int(back + 1)] += round(RECENT * each)
        for at, count in pieces(Pace(rate, f"house-{number}"), 1000, seconds - back):
            per_second[int(back + at)] += count
    peak = max(per_second[second] for second in range(seconds)) + MEAN
    steady = sum(per_second[second] for second in range(60, seconds)) / (seconds - 60) + MEAN
    assert peak <= 8 * MEAN
    assert peak <= 1.1 * steady, "evenly spread"
    assert DEVICES * MESSAGES_A_DAY / rate <= 4 * 3600, "and caught up with within hours"
