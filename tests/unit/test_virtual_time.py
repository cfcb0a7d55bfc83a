"""The virtual clock jumps over idle time, and only over idle time."""

from __future__ import annotations

import asyncio
import hashlib
import random
import threading
from pathlib import Path

import aiosqlite
import anyio
import pytest
from anyio import to_thread

from scheduler.clock import LoopClock
from tests.support import virtual_time
from tests.support.virtual_time import StuckError, VirtualTimeLoop, in_virtual_time, run


def hard_work() -> str:
    """A tenth of a second or so in which the loop has nothing to do."""
    return hashlib.pbkdf2_hmac("sha256", b"word", b"salt", 100_000).hex()[:8]


def loop_time() -> float:
    return asyncio.get_running_loop().time()


@in_virtual_time
async def test_tasks_that_wait_for_the_same_moment_do_not_wake_early_by_turns_for_ever() -> None:
    loop = asyncio.get_running_loop()
    due, turns = 5e-7, 0

    async def waiter(begins_after: int) -> None:
        nonlocal turns
        for _ in range(begins_after):
            await asyncio.sleep(0)
        while loop.time() < due and turns < 1_000:
            turns += 1
            rung = asyncio.Event()
            loop.call_later(due - loop.time(), rung.set)
            await rung.wait()

    await asyncio.gather(waiter(0), waiter(1))
    assert loop.time() == pytest.approx(due)
    assert turns <= 4


@in_virtual_time
async def test_a_day_of_sleep_passes_at_once() -> None:
    real = asyncio.SelectorEventLoop()
    before = real.time()
    for _ in range(24 * 60):
        await anyio.sleep(60)
    assert loop_time() == pytest.approx(86_400)
    assert real.time() - before < 5
    real.close()


@in_virtual_time
async def test_timers_fire_at_their_times_and_in_their_order() -> None:
    fired: list[tuple[float, int]] = []

    async def sleeper(number: int, seconds: float) -> None:
        await anyio.sleep(seconds)
        fired.append((round(loop_time(), 3), number))

    delays = [3.0, 0.25, 7_200.0, 1.5, 0.0]
    async with anyio.create_task_group() as group:
        for number, seconds in enumerate(delays):
            group.start_soon(sleeper, number, seconds)
    assert fired == [(0.0, 4), (0.25, 1), (1.5, 3), (3.0, 0), (7_200.0, 2)]


@in_virtual_time
async def test_a_sleep_ends_neither_early_nor_late() -> None:
    clock = LoopClock()
    await anyio.sleep(1 / 3)
    begun = clock.now()
    await clock.sleep(100.125)
    assert clock.now() - begun == pytest.approx(100.125, abs=1e-5)
    assert clock.monotonic() == pytest.approx(100.125 + 1 / 3, abs=1e-5)


@in_virtual_time
async def test_time_limits_follow_the_virtual_clock() -> None:
    with anyio.move_on_after(3_600) as scope:
        await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert loop_time() == pytest.approx(3_600)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(10):
            await anyio.sleep(11)


def test_the_same_program_runs_the_same_way_every_time() -> None:
    async def program() -> list[tuple[float, int]]:
        dice, seen = random.Random(7), []

        async def walker(number: int) -> None:
            for _ in range(20):
                await anyio.sleep(dice.random() * 100)
                seen.append((loop_time(), number))

        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(walker, number)
        return seen

    assert run(program()) == run(program())


class TestTheClockWaitsFor:
    @in_virtual_time
    async def test_an_anyio_worker_thread(self) -> None:
        with anyio.fail_after(1):
            assert await to_thread.run_sync(hard_work) == hard_work()
        assert loop_time() < 1e-3

    @in_virtual_time
    async def test_several_threads_at_once_and_again(self) -> None:
        for _ in range(3):
            with anyio.fail_after(1):
                async with anyio.create_task_group() as group:
                    for _ in range(3):
                        group.start_soon(to_thread.run_sync, hard_work)

    @in_virtual_time
    async def test_an_executor(self) -> None:
        async with asyncio.timeout(1):
            assert await asyncio.to_thread(hard_work) == hard_work()
        assert loop_time() < 1e-3

    async def test_a_database_thread(self, tmp_path: Path) -> None:
        async def ask() -> float:
            async with aiosqlite.connect(tmp_path / "some.db") as database:
                count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500000) SELECT count(*) FROM n"
                async with asyncio.timeout(1), database.execute(count) as cursor:
                    assert await cursor.fetchone() == (500_000,)
            return loop_time()

        assert await asyncio.to_thread(run, ask()) < 1e-3

    @in_virtual_time
    async def test_work_that_was_announced(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        process = await asyncio.create_subprocess_exec("sleep", "0.1")
        with loop.real_work():
            async with asyncio.timeout(1):
                assert await process.wait() == 0
        assert loop.time() < 1e-3

    @in_virtual_time
    async def test_a_connection_within_the_process(self) -> None:
        async def answer(stream: anyio.abc.SocketStream) -> None:
            async with stream:
                while True:
                    try:
                        await stream.send(await stream.receive())
                    except anyio.EndOfStream:
                        return

        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, answer)
            with anyio.fail_after(1):
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    for _ in range(50):
                        await stream.send(b"x" * 10_000)
                        received = 0
                        while received < 10_000:
                            received += len(await stream.receive())
            group.cancel_scope.cancel()
        await listener.aclose()
        assert loop_time() < 1e-3


@in_virtual_time
async def test_when_a_thread_is_done_the_clock_jumps_again() -> None:
    await to_thread.run_sync(hard_work)
    await asyncio.to_thread(hard_work)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    assert not loop.is_owed()
    await anyio.sleep(3_600)
    assert loop.time() == pytest.approx(3_600)


@in_virtual_time
async def test_a_thread_that_hangs_on_purpose_does_not_hold_the_clock_of_an_impatient_loop() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.patience_s = 0.05
    let_go = threading.Event()
    with anyio.move_on_after(60) as limit:
        await to_thread.run_sync(let_go.wait, abandon_on_cancel=True)
    let_go.set()
    assert limit.cancelled_caught
    assert loop.time() == pytest.approx(60)


def test_tasks_that_wait_for_each_other_for_ever_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_time, "STUCK_AFTER_S", 0.05)

    async def wait_for_nobody() -> None:
        await anyio.Event().wait()

    with pytest.raises(StuckError, match="Task-"):
        run(wait_for_nobody())
