"""Contract, workers' rows and their pulses."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from anyio import to_thread

from scheduler.stores.base import Store, Worker
from tests.support.jobs import T0

ADA = Worker("ada", host="here", boot="boot", pid=12, pid_started=T0 - 3.5, started_at=T0, lease_s=35.0, beat_at=T0)
GRACE = replace(ADA, worker_id="grace", host="there", address="somewhere", started_at=T0 + 1, offers_json='{"task_types":{"größe":{}}}')


class Working:
    async def test_a_registered_worker_is_seen_as_it_described_itself(self, store: Store) -> None:
        assert await store.workers() == []
        pulses = [await store.register(ADA), await store.register(GRACE)]
        assert sorted(await store.workers(), key=lambda worker: worker.worker_id) == [ADA, GRACE]
        for pulse in pulses:
            pulse.close()

    async def test_each_beat_is_counted_and_touches_nobody_else(self, store: Store) -> None:
        await store.register(GRACE)
        pulse = await store.register(ADA)
        assert await to_thread.run_sync(pulse.beat, T0 + 5)
        assert await to_thread.run_sync(pulse.beat, T0 + 10)
        await to_thread.run_sync(pulse.close)
        by_id = {worker.worker_id: worker for worker in await store.workers()}
        assert by_id == {"ada": replace(ADA, beats=2, beat_at=T0 + 10), "grace": GRACE}

    async def test_a_dismissed_worker_learns_it_from_its_next_beat(self, store: Store) -> None:
        pulse = await store.register(ADA)
        await store.dismiss("ada")
        assert await store.workers() == []
        assert not await to_thread.run_sync(pulse.beat, T0 + 5)
        assert await store.workers() == []
        await to_thread.run_sync(pulse.close)

    async def test_dismissing_nobody_is_nothing(self, store: Store) -> None:
        await store.dismiss("nobody")

    async def test_a_duty_is_one_workers_until_its_time_is_up(self, store: Store) -> None:
        assert await store.take_turn("sweep", "ada", T0, 10.0)
        assert not await store.take_turn("sweep", "grace", T0 + 9.9, 10.0)
        assert await store.take_turn("take back", "grace", T0, 10.0)
        assert await store.take_turn("sweep", "ada", T0 + 5, 10.0)
        assert not await store.take_turn("sweep", "grace", T0 + 14.9, 10.0)
        assert await store.take_turn("sweep", "grace", T0 + 15, 10.0)
        assert not await store.take_turn("sweep", "ada", T0 + 16, 10.0)

    async def test_a_clock_that_was_set_back_leaves_no_duty_undone(self, store: Store) -> None:
        assert await store.take_turn("sweep", "ada", T0 + 3_600, 10.0)
        assert await store.take_turn("sweep", "grace", T0, 10.0)

    async def test_of_many_who_ask_at_once_one_gets_the_turn(self, store: Store) -> None:
        taken = await asyncio.gather(*(store.take_turn("sweep", f"w{number}", T0, 10.0) for number in range(20)))
        assert sum(taken) == 1

    async def test_listening_for_hints_is_possible(self, store: Store) -> None:
        address = await store.listen(lambda: None)
        assert address is None or address
