"""How many at once: cut once per round trip, grows while used up and clean, tries beyond a ceiling ever more rarely."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scheduler.pools.inflight import AGAIN_S, CUT, PATIENCE, PATIENCE_MAX, InFlight


def overloaded_at(ceiling: int, rounds: int) -> InFlight:
    """A limit after some thousand rounds at a provider that takes ``ceiling`` at once; each round takes a second."""
    limit, now = InFlight(), 1_000.0
    flying = ceiling + 5
    for _ in range(rounds):
        now += 1.0
        if flying > ceiling:
            limit.overloaded(flying, now - 0.5, now)
        else:
            limit.answered(flying, flying)
        flying = limit.limit or flying
    return limit


def test_it_is_unlimited_until_the_first_overload() -> None:
    limit = InFlight()
    assert not limit.answered(1_000, 1_000)
    assert limit.limit is None


def test_the_first_overload_shows_one_less_than_was_in_flight() -> None:
    limit = InFlight()
    assert limit.overloaded(20, 99.0, 100.0)
    assert limit.limit == 19


def test_calls_sent_before_the_cut_bring_the_same_news_again() -> None:
    limit = InFlight()
    limit.overloaded(20, 99.0, 100.0)
    assert not any(limit.overloaded(19 - each, 99.0 + each / 20, 101.0) for each in range(19))
    assert limit.limit == 19
    assert limit.overloaded(19, 100.5, 101.0)


def test_overloaded_again_soon_after_means_the_cut_was_not_deep_enough() -> None:
    limit = InFlight()
    limit.overloaded(101, 99.0, 100.0)
    limit.overloaded(100, 100.5, 101.0)
    assert limit.limit == int(100 * CUT)
    later = 102.0 + AGAIN_S
    limit.overloaded(limit.limit, later - 0.5, later)
    assert limit.limit == int(100 * CUT) - 1, "much later it is one step again"


@given(st.lists(st.tuples(st.integers(1, 200), st.floats(0.0, 30.0), st.booleans()), max_size=200))
def test_it_never_falls_below_one_and_never_grows_by_more_than_one(moves: list[tuple[int, float, bool]]) -> None:
    limit, now = InFlight(), 1_000.0
    for flying, gap, clean in moves:
        now += gap
        before = limit.limit
        changed = limit.answered(flying, flying) if clean else limit.overloaded(flying, now, now)
        assert changed == (limit.limit != before)
        assert limit.limit is None or limit.limit >= 1
        if clean and before is not None:
            assert limit.limit in (before, before + 1)
        if not clean and before is not None and limit.limit is not None:
            assert limit.limit <= before


def test_it_grows_only_while_all_places_are_taken() -> None:
    limit = InFlight(limit=4)
    assert not any(limit.answered(1, 3) for _ in range(10_000))
    assert limit.limit == 4


def test_below_the_ceiling_it_grows_quickly_and_beyond_it_slowly() -> None:
    limit = InFlight(limit=10, ceiling=20)
    answers = 0
    while limit.limit < 18:
        answers += 1
        limit.answered(1, limit.limit)
    assert answers <= 18 * 8
    limit = InFlight(limit=19, ceiling=20)
    answers = 0
    while limit.limit < 20:
        answers += 1
        limit.answered(1, limit.limit)
    assert answers >= PATIENCE * 19


def test_a_ceiling_that_holds_is_tried_ever_more_rarely() -> None:
    limit = InFlight()
    patience = []
    now = 1_000.0
    for _ in range(10):
        now += 2 * AGAIN_S
        limit.overloaded(20, now, now)
        patience.append(limit.patience)
    assert patience[:3] == [PATIENCE, 2 * PATIENCE, 4 * PATIENCE]
    assert patience[-1] == PATIENCE_MAX


def test_it_settles_just_below_what_the_provider_takes() -> None:
    assert 15 <= (overloaded_at(20, 5_000).limit or 0) <= 21
    assert (overloaded_at(1, 500).limit or 0) <= 2
