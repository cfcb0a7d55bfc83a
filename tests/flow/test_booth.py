"""A booth before a scripted desk: what was booked and not used goes back, whatever became of its caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from scheduler.booth import Booth, Place
from scheduler.calls import JobPool
from scheduler.clock import LoopClock
from scheduler.errors import RateLimitError
from scheduler.pools.messages import Cost, Grant, Limits, Report
from scheduler.pools.rejection import Rejection
from tests.support.virtual_time import in_virtual_time

COST = Cost(70.0, 30.0)


class Desk:
    """The office of one booth. ``answer`` makes each grant; ``said`` is every report."""

    worker = "ada"

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.said: list[Report] = []
        self.answer: Callable[[Report, float], Grant] = lambda report, now: Grant()
        self.on_room: Callable[[], None] = lambda: None
        self.while_asked: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0)

    async def exchange(self, pool: str, report: Report, limits: Limits, now: float) -> Grant:
        self.said.append(report)
        grant = self.answer(report, now)
        await self.while_asked()
        return grant

    async def tell(self, pool: str, grant: Grant) -> None: ...

    def starts_in(self, *delays_s: float) -> None:
        """Each of the first calls in line gets a place, so many seconds from now; the others wait."""
        self.answer = lambda report, now: Grant(starts=[(n, now + s) for n, (s, _) in enumerate(zip(delays_s, report.wants, strict=False))])

    @property
    def returned(self) -> list[Cost]:
        return [cost for report in self.said for cost in report.unused]


@asynccontextmanager
async def open_booth() -> AsyncIterator[tuple[Desk, Booth]]:
    desk = Desk()
    booth = Booth("main", Limits(), desk)
    running = asyncio.create_task(booth.run())
    try:
        yield desk, booth
    finally:
        running.cancel()


def in_line(booth: Booth) -> tuple[Place, asyncio.Task[None]]:
    place = booth.place("task", 100.0, None)
    return place, asyncio.create_task(booth.enter(place))


@in_virtual_time
async def test_a_place_whose_caller_went_away_before_its_time_goes_back() -> None:
    async with open_booth() as (desk, booth):
        desk.starts_in(10.0)
        _, caller = in_line(booth)
        await anyio.sleep(1.0)
        caller.cancel()
        await anyio.sleep(5.0)
        assert desk.returned == [COST]


@in_virtual_time
async def test_a_place_whose_caller_went_away_just_when_its_time_came_goes_back() -> None:
    async with open_booth() as (desk, booth):
        desk.starts_in(1.0)
        place, caller = in_line(booth)
        place.called.add_done_callback(lambda called: caller.cancel() and None)  # before its task goes on
        await anyio.sleep(5.0)
        assert caller.cancelled()
        assert place.called.done()
        assert desk.returned == [COST]


@in_virtual_time
async def test_a_place_whose_caller_went_away_while_it_was_being_asked_for_goes_back() -> None:
    async with open_booth() as (desk, booth):
        desk.starts_in(1.0)
        _, caller = in_line(booth)

        async def meanwhile() -> None:
            caller.cancel()
            await asyncio.sleep(0.1)

        desk.while_asked = meanwhile
        await anyio.sleep(5.0)
        assert desk.returned == [COST]


@in_virtual_time
async def test_places_that_were_booked_when_a_call_was_turned_away_go_back_and_their_callers_stay_in_line() -> None:
    async with open_booth() as (desk, booth):
        desk.starts_in(0.0, 5.0, 5.0)
        first, call = in_line(booth)
        others = [in_line(booth) for _ in range(2)]
        await call
        desk.starts_in()
        await booth.rejected(first, Rejection("rate", 1.0, (), None, None))
        assert desk.returned == [COST, COST]
        assert desk.said[-1].waiting == 2
        assert sum(len(report.rejections) for report in desk.said) == 1
        desk.starts_in(0.0, 0.0)
        await anyio.sleep(2.0)
        assert [caller.done() for _, caller in others] == [True, True]


@in_virtual_time
async def test_a_place_that_is_used_does_not_go_back() -> None:
    async with open_booth() as (desk, booth):
        desk.starts_in(0.0)
        place, call = in_line(booth)
        await call
        booth.answered(place, None, ())
        await anyio.sleep(10.0)
        assert desk.returned == []
        assert sum(report.answered for report in desk.said) == 1


class TooMany(Exception):
    """What a client raises; ``retry_after_s`` is its provider's hint."""

    def __init__(self, retry_after: str | None) -> None:
        super().__init__("Error code: 429")
        self.status_code, self.body = 429, {"error": {"message": "slow down"}}
        self.headers = {} if retry_after is None else {"retry-after": retry_after}


@pytest.mark.parametrize("raised", [TooMany(None), TooMany("1"), RateLimitError("later"), RateLimitError(retry_after_s=1.0)], ids=repr)
@in_virtual_time
async def test_a_call_that_was_turned_away_tells_its_job_how_long_the_pool_is_held(raised: Exception) -> None:
    async with open_booth() as (desk, booth):
        desk.starts_in(0.0)

        async def turned_away() -> None:
            async with JobPool("main", booth, "task", desk.clock).request(tokens=100):
                desk.answer = lambda report, now: Grant(held_until=now + 45.0, reason="rate_limited")
                raise raised

        with pytest.raises(RateLimitError) as caught:
            await turned_away()
        assert caught.value.retry_after_s == pytest.approx(45.0, abs=0.1)
