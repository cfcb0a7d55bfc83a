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
    boundary.begin(last, xmin=100, xmax=100)
    assert boundary.settled == last
    return boundary


def test_without_holes_it_moves_on_at_once(now: Now) -> None:
    boundary = begun(now)
    boundary.advance([11, 12, 13], xmin=90, xmax=120)
    assert boundary.settled == 13


def test_a_hole_holds_it_until_those_that_were_open_have_ended(now: Now) -> None:
    boundary = begun(now)
    boundary.advance([11, 13, 14], xmin=100, xmax=105)
    assert boundary.settled == 11
    boundary.advance([13, 14, 15], xmin=104, xmax=120)  # one of them is open still
    assert boundary.settled == 11
    boundary.advance([13, 14, 15], xmin=105, xmax=130)
    assert boundary.settled == 15


def test_a_hole_that_is_filled_holds_nothing(now: Now) -> None:
    boundary = begun(now)
    boundary.advance([11, 13], xmin=100, xmax=105)
    boundary.advance([12, 13, 15], xmin=100, xmax=110)
    assert boundary.settled == 13
    boundary.advance([15], xmin=109, xmax=111)
    assert boundary.settled == 13, "the hole before 15 is a new one"
    boundary.advance([14, 15], xmin=109, xmax=111)
    assert boundary.settled == 15


def test_later_holes_age_while_an_earlier_one_holds(now: Now) -> None:
    boundary = begun(now)
    boundary.advance([12, 14], xmin=100, xmax=105)
    boundary.advance([12, 14], xmin=105, xmax=200)
    assert boundary.settled == 14


def test_somebodys_endless_transaction_is_not_waited_for(now: Now) -> None:
    boundary = begun(now)
    boundary.advance([12], xmin=100, xmax=105)
    now.at = PATIENCE_S - 0.01
    boundary.advance([12], xmin=100, xmax=300)
    assert boundary.settled == 10
    now.at = PATIENCE_S
    boundary.advance([12], xmin=100, xmax=300)
    assert boundary.settled == 12


def test_it_begins_when_whatever_was_open_before_has_ended(now: Now) -> None:
    boundary = Boundary(now)
    boundary.begin(10, xmin=95, xmax=100)
    assert boundary.settled is None
    boundary.begin(12, xmin=101, xmax=101)
    assert boundary.settled == 12
