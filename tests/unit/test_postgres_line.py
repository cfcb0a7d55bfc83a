"""A line to PostgreSQL, without a server: in which order things leave it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from scheduler.stores.postgres.address import parse
from scheduler.stores.postgres.line import GROUP, Line
from scheduler.stores.postgres.session import Database


class Session:
    """A connection that is open."""

    is_open = True

    async def close(self) -> None:
        self.is_open = False


class Server:
    """What reached it, in groups; ``answers_at`` is set when it may answer."""

    def __init__(self) -> None:
        self.groups: list[list[Any]] = []
        self.answers_at = asyncio.Event()
        self.answers_at.set()

    async def ask(self, session: Any, items: Sequence[Any]) -> list[Any]:
        self.groups.append(list(items))
        await self.answers_at.wait()
        await asyncio.sleep(0)
        return [f"answer to {item}" for item in items]


@pytest.fixture
def line() -> Line:
    session: Any = Session()
    return Line(Database(parse("postgresql://localhost/x")), "test", session=session)


async def test_who_was_answered_asks_again_before_those_begin_whom_the_answer_starts(line: Line) -> None:
    """A dispatcher's next claim is on its way before the handlers of the last one begin, which may keep the loop busy."""
    server, order = Server(), []

    async def handler() -> None:
        order.append(len(server.groups))

    handlers = set()
    for number in range(5):
        await line.do(server.ask, number)
        if number < 4:
            handlers.add(asyncio.create_task(handler()))
    await asyncio.gather(*handlers)
    assert order == [2, 3, 4, 5]
    await line.close()


async def test_what_comes_while_one_group_is_done_goes_in_the_next_and_no_group_is_too_large(line: Line) -> None:
    server = Server()
    server.answers_at.clear()
    asked = [asyncio.create_task(line.do(server.ask, number)) for number in range(GROUP + 3)]
    await asyncio.sleep(0)
    asked.insert(0, asyncio.create_task(line.do(server.ask, "late")))
    for _ in range(5):
        await asyncio.sleep(0)
    server.answers_at.set()
    assert await asyncio.gather(*asked) == ["answer to late", *(f"answer to {number}" for number in range(GROUP + 3))]
    assert [len(group) for group in server.groups] == [GROUP, 4]
    assert server.groups[1][-1] == "late"
    await line.close()


async def test_when_nobody_asks_it_ends_and_begins_anew(line: Line) -> None:
    server = Server()
    assert await line.do(server.ask, 1) == "answer to 1"
    for _ in range(10):
        await asyncio.sleep(0)
    assert not any(task.get_name() == "postgres test" for task in asyncio.all_tasks())
    assert await line.do(server.ask, 2) == "answer to 2"
    await line.close()


async def test_closing_answers_what_was_accepted(line: Line) -> None:
    server = Server()
    future = line.put(server.ask, 1)
    await line.close()
    assert await future == "answer to 1"


async def test_a_cancelled_caller_leaves_the_others_answered(line: Line) -> None:
    server = Server()
    server.answers_at.clear()
    gone, stays = (asyncio.create_task(line.do(server.ask, number)) for number in range(2))
    for _ in range(3):
        await asyncio.sleep(0)
    gone.cancel()
    server.answers_at.set()
    assert await stays == "answer to 1"
    with pytest.raises(asyncio.CancelledError):
        await gone
    await line.close()


async def test_an_action_that_fails_for_many_is_done_for_each_so_that_a_bad_one_fails_alone(line: Line) -> None:
    seen: list[list[int]] = []

    async def picky(session: Any, items: Sequence[int]) -> list[int]:
        seen.append(list(items))
        if 2 in items:
            raise asyncpg.DataError("two")
        return [10 * item for item in items]

    asked = [asyncio.create_task(line.do(picky, number)) for number in range(4)]
    told = await asyncio.gather(*asked, return_exceptions=True)
    assert told[:2] + told[3:] == [0, 10, 30]
    assert "two" in str(told[2])
    assert seen == [[0, 1, 2, 3], [0], [1], [2], [3]]
    await line.close()
