"""Free slots are shared out one at a time, as far as anybody can tell."""

from __future__ import annotations

import heapq
import time
from copy import deepcopy

from hypothesis import given
from hypothesis import strategies as st

from scheduler.lanes import Lane, share_out

_NUMBERS = st.none() | st.integers(0, 9)
_LANES = st.builds(
    lambda limit, delay_s, pool, cap, running, calls, next_start: Lane(
        "", limit, delay_s, pool, None, cap, running, calls, (), ready=True, next_start=next_start
    ),
    _NUMBERS,
    st.sampled_from([0.0, 0.0, 0.5]),
    st.sampled_from([None, "p", "q"]),
    _NUMBERS,
    st.integers(0, 12),
    st.booleans(),
    st.sampled_from([0.0, 0.0, 1.0, 2.0, 9.0]),
)
_ROOM = st.dictionaries(st.sampled_from(["p", "q", "p\ncalls", "q\ncalls"]), st.integers(-1, 20))


def _one_at_a_time(lanes: list[Lane], free: int, pool_room: dict[str, int]) -> dict[str, int]:
    """What ``share_out`` promises, said plainly."""
    shares: dict[str, int] = {}
    heap = [(lane.running, lane.next_start, place) for place, lane in enumerate(lanes)]
    heapq.heapify(heap)
    while heap and free > 0:
        running, started, place = heapq.heappop(heap)
        lane, share = lanes[place], shares.get(lanes[place].task_type, 0)
        if lane.room() - share < 1 or (lane.delay_s and share) or any(pool_room.get(name, 1) < 1 for name in lane.limits):
            continue
        shares[lane.task_type] = share + 1
        free -= 1
        for name in lane.limits:
            if name in pool_room:
                pool_room[name] -= 1
        heapq.heappush(heap, (running + 1, started, place))
    return shares


@given(st.lists(_LANES, max_size=6), st.integers(0, 60), _ROOM)
def test_slots_go_one_at_a_time_to_the_lane_that_runs_least(lanes: list[Lane], free: int, pool_room: dict[str, int]) -> None:
    for place, lane in enumerate(lanes):
        lane.task_type = f"t{place}"
    here = deepcopy(pool_room)
    now = 5.0
    wants = share_out(lanes, free, here, now)
    able = [lane for lane in lanes if lane.next_start <= now and lane.room() >= 1]
    room = dict(pool_room)
    assert {want.task_type: want.limit for want in wants} == _one_at_a_time(able, free, room)
    assert here == room or len(able) < 2  # what is left for one lane nobody asks


def test_a_thousand_slots_are_shared_out_as_quickly_as_ten() -> None:
    lanes = [Lane(f"t{place}", ready=True, running=place % 3) for place in range(12)]

    def cpu_s(free: int) -> float:
        begun = time.process_time()
        for _ in range(200):
            share_out(lanes, free, {}, 0.0)
        return time.process_time() - begun

    assert min(cpu_s(12_000) for _ in range(5)) < 10 * min(cpu_s(12) for _ in range(5))
