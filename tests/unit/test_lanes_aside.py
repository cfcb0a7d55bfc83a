"""Lanes aside: they take no slots from others, and others none from them."""

from __future__ import annotations

from scheduler.lanes import Lane, share_out


def shares(lanes: list[Lane], free: int, most: float = float("inf")) -> dict[str, int]:
    return {want.task_type: want.limit for want in share_out(lanes, free, {}, 0.0, most)}


def hooks(**more: int) -> Lane:
    return Lane("hooks", limit=16, aside=True, ready=True, **more)


def test_a_lane_aside_gets_its_own_room_whatever_is_free() -> None:
    assert shares([Lane("work", ready=True), hooks(running=6)], 4) == {"work": 4, "hooks": 10}
    assert shares([Lane("work", ready=True), Lane("more", ready=True), hooks()], 4) == {"work": 2, "more": 2, "hooks": 16}
    assert shares([Lane("work", ready=True), hooks()], 0) == {"hooks": 16}
    assert shares([hooks(running=16)], 10) == {}


def test_all_together_get_no_more_than_may_be_claimed() -> None:
    assert shares([Lane("work", ready=True), hooks()], 4, most=6) == {"work": 4, "hooks": 2}
    assert shares([Lane("work", ready=True), hooks()], 4, most=4) == {"work": 4}
