"""Places in flight, lent to workers: never more than there are, back from the silent, a share for newcomers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.pools.desks import LATE_S, SILENT_S, Desks
from tests.support.jobs import T0

#: Who reports, how long after the last report of anybody, how many of its places are in use then, how many more it wants.
reports = st.lists(st.tuples(st.integers(0, 4), st.floats(0.0, 8.0), st.floats(0.0, 1.0), st.integers(0, 30)), min_size=1, max_size=120)


@given(reports, st.integers(1, 20))
def test_all_workers_together_never_have_more_places_than_there_are(moves: list[tuple[int, float, float, int]], limit: int) -> None:
    desks, now, lent, seen = Desks(), T0, dict.fromkeys(range(5), 0), dict.fromkeys(range(5), T0)
    for who, gap, in_use, waiting in moves:
        now += gap
        desks.seat(f"w{who}", round(lent[who] * in_use), waiting, now)
        lent[who], seen[who] = desks.may_fly(f"w{who}", limit), now
        heard_of = [each for each in lent if now - seen[each] <= SILENT_S]
        assert sum(lent[each] for each in heard_of) <= limit
        for each in lent:
            lent[each] = lent[each] if each in heard_of else 0


@given(reports, st.integers(2, 20), st.integers(1, 10))
def test_a_limit_that_was_cut_takes_nothing_from_who_flies_and_is_kept_once_they_have_landed(
    moves: list[tuple[int, float, float, int]], limit: int, cut: int
) -> None:
    desks, now, lent = Desks(), T0, dict.fromkeys(range(5), 0)
    for who, gap, in_use, waiting in moves:
        now += gap / 10
        desks.seat(f"w{who}", round(lent[who] * in_use), waiting, now)
        lent[who] = desks.may_fly(f"w{who}", limit)
    cut = min(cut, limit)
    for who in lent:
        desks.seat(f"w{who}", lent[who], 5, now)
        assert desks.may_fly(f"w{who}", cut) >= lent[who]
    for who in lent:
        desks.seat(f"w{who}", 0, 5, now)
        lent[who] = desks.may_fly(f"w{who}", cut)
    for who in lent:
        desks.seat(f"w{who}", min(lent[who], cut), 5, now)
        lent[who] = desks.may_fly(f"w{who}", cut)
    assert sum(lent.values()) <= cut


def test_a_lone_worker_may_have_them_all() -> None:
    desks = Desks()
    desks.seat("one", 0, 100, T0)
    assert desks.may_fly("one", 8) == 8


def test_a_newcomer_gets_its_share_as_soon_as_calls_land() -> None:
    desks = Desks()
    desks.seat("one", 0, 100, T0)
    assert desks.may_fly("one", 8) == 8
    desks.seat("two", 0, 100, T0 + 1)
    assert desks.may_fly("two", 8) == 0, "all are out"
    flying = 8
    for second in range(2, 12):
        flying -= 1
        desks.seat("one", flying, 100, T0 + second)
        flying = max(flying, desks.may_fly("one", 8))
        desks.seat("two", 0, 100, T0 + second)
        newcomer = desks.may_fly("two", 8)
    assert (flying, newcomer) == (4, 4)


def test_who_wants_less_than_its_share_leaves_the_rest_to_others() -> None:
    desks = Desks()
    desks.seat("modest", 0, 1, T0)
    assert desks.may_fly("modest", 8) == 1
    desks.seat("modest", 1, 0, T0 + 1)
    desks.seat("greedy", 0, 100, T0 + 1)
    assert desks.may_fly("greedy", 8) == 7


@pytest.mark.parametrize("silent_s", [1.0, SILENT_S - 1.0, SILENT_S])
def test_a_silent_workers_places_stay_lent_for_a_while(silent_s: float) -> None:
    desks = Desks()
    desks.seat("dead", 0, 100, T0)
    desks.may_fly("dead", 8)
    desks.seat("living", 0, 100, T0 + silent_s)
    assert desks.may_fly("living", 8) == 0


def test_then_they_come_back() -> None:
    desks = Desks()
    desks.seat("dead", 0, 100, T0)
    desks.may_fly("dead", 8)
    desks.seat("living", 0, 100, T0 + SILENT_S + 0.1)
    assert desks.may_fly("living", 8) == 8
    assert set(desks.by_worker) == {"living"}


def test_a_thousand_dead_workers_leave_nothing_behind() -> None:
    desks = Desks()
    for number in range(1_000):
        desks.seat(f"w{number}", 1, 1, T0 + number)
    assert len(desks.by_worker) <= SILENT_S + 1


def test_who_waited_and_fell_silent_soon_shares_the_pace_no_more() -> None:
    desks = Desks()
    desks.seat("dead", 2, 5, T0)
    desks.seat("living", 2, 5, T0 + 1)
    assert (desks.in_line(T0 + 1), desks.with_work(T0 + 1)) == (2, 2)
    desks.seat("living", 2, 5, T0 + LATE_S + 1)
    assert (desks.in_line(T0 + LATE_S + 1), desks.with_work(T0 + LATE_S + 1)) == (1, 1)
    assert desks.flying == 4, "but its calls may still be under way"


def test_a_clock_that_was_set_back_keeps_everybody_seated() -> None:
    desks = Desks()
    desks.seat("one", 3, 0, T0)
    desks.may_fly("one", 8)
    desks.shift(-1e7)
    desks.seat("two", 0, 100, T0 - 1e7 + 1)
    assert desks.may_fly("two", 8) == 5
