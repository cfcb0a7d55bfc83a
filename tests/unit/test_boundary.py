"""How far PostgreSQL's journal can be read: never past a hole that an open transaction may still fill."""

from __future__ import annotations

import pytest

from scheduler.stores.postgres.journal import PATIENCE_S, Boundary


class Now:
    at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def now() -> Now:
    return Now()


def begun(now: Now, last: int = 10) -> Boundary:
    boundary = Boundary(now)
    boundary.begin(last, barrier=100)
    assert boundary.begun(xmin=100)
    assert boundary.settled == last
    return boundary


def test_without_holes_it_moves_on_at_once(now: Now) -> None:
    boundary = begun(now)
    assert not boundary.advance([11, 12, 13], xmin=90)
    assert boundary.settled == 13


def test_a_hole_holds_it_until_those_that_were_open_have_ended(now: Now) -> None:
    boundary = begun(now)
    assert boundary.advance([11, 13, 14], xmin=100)
    assert boundary.settled == 11
    boundary.mark(105)
    assert not boundary.advance([13, 14, 15], xmin=104), "one of them is open still"
    assert boundary.settled == 11
    boundary.advance([13, 14, 15], xmin=105)
    assert boundary.settled == 15


def test_nobody_passes_a_hole_before_its_barrier_is_known(now: Now) -> None:
    boundary = begun(now)
    for _ in range(3):
        assert boundary.advance([12], xmin=10**6)
        assert boundary.settled == 10


def test_a_hole_that_is_filled_holds_nothing(now: Now) -> None:
    boundary = begun(now)
    boundary.advance([11, 13], xmin=100)
    boundary.mark(105)
    assert boundary.advance([12, 13, 15], xmin=100), "the hole before 15 is a new one"
    assert boundary.settled == 13
    boundary.mark(110)
    boundary.advance([15], xmin=109)
    assert boundary.settled == 13
    boundary.advance([14, 15], xmin=109)
    assert boundary.settled == 15


def test_later_holes_age_while_an_earlier_one_holds(now: Now) -> None:
    boundary = begun(now)
    boundary.advance([12, 14], xmin=100)
    boundary.mark(105)
    boundary.advance([12, 14], xmin=105)
    assert boundary.settled == 14


def test_somebodys_endless_transaction_is_not_waited_for(now: Now) -> None:
    boundary = begun(now)
    boundary.advance([12], xmin=100)
    boundary.mark(105)
    now.at = PATIENCE_S - 0.01
    boundary.advance([12], xmin=100)
    assert boundary.settled == 10
    now.at = PATIENCE_S
    boundary.advance([12], xmin=100)
    assert boundary.settled == 12


def test_it_begins_when_whoever_was_open_has_ended_or_took_too_long(now: Now) -> None:
    boundary = Boundary(now)
    boundary.begin(10, barrier=100)
    assert not boundary.begun(xmin=99)
    assert boundary.begun(xmin=100)
    assert boundary.settled == 10
    late = Boundary(now)
    late.begin(10, barrier=100)
    now.at = PATIENCE_S
    assert late.begun(xmin=1)
