"""A worker that is killed again and again in the midst of a long job: each item is recorded once, and little is done twice."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from scheduler import Registry, Scheduler, Status
from tests.support.chunking_process import AT_ONCE, ITEMS, SIZE
from tests.support.engine import in_real_time
from tests.support.postgres_server import a_schema, a_server, with_schema

pytestmark = pytest.mark.slow
#: On PostgreSQL fewer: what it is about, leases and guarded writes there, has campaigns of its own.
KILLS = {"sqlite": 25, "postgres": 8}


def lines(effects: Path) -> int:
    return effects.read_bytes().count(b"\n") if effects.exists() else 0


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty store that outlives its workers."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/jobs.db"
        return
    with a_server() as url:
        yield with_schema(url, a_schema("chunks"))


@in_real_time
async def test_many_kills_in_the_midst_of_five_thousand_items(store: str, tmp_path: Path) -> None:
    wanted = KILLS["sqlite" if store.startswith("sqlite") else "postgres"]
    effects = tmp_path / "effects"
    rng = random.Random(5)
    command = [sys.executable, "-m", "tests.support.chunking_process", store, str(effects)]
    async with Scheduler.open({"scheduler": {"store": store}}, Registry(), logs=False) as scheduler:
        job_id = (await scheduler.enqueue("long")).job_id
        kills = 0
        while True:
            process = await asyncio.create_subprocess_exec(*command, cwd=Path(__file__).parents[2])
            if kills < wanted:
                # More than one round, so that something was recorded: a job that only takes its workers down is parked after three.
                enough = lines(effects) + rng.randint(SIZE * AT_ONCE + 1, 2 * SIZE * AT_ONCE)
                with anyio.fail_after(60.0):
                    while lines(effects) < enough and process.returncode is None:  # noqa: ASYNC110 - another process writes them
                        await anyio.sleep(rng.uniform(0.001, 0.02))
                assert process.returncode is None, "it ended before all kills were made: give it more to do"
                process.kill()
                kills += 1
                await process.wait()
            else:
                with anyio.fail_after(120.0):
                    assert await process.wait() == 0
                break
        job = await scheduler.get(job_id)
        (ledger,) = await scheduler.ledgers(job_id)
        items = await scheduler.items(job_id, limit=2 * ITEMS)
    assert job is not None
    assert (job.status, job.attempts, job.result) == (Status.COMPLETED, 1, ITEMS), job.error
    assert (ledger.done, ledger.failed, ledger.total, ledger.counters) == (ITEMS, 0, ITEMS, {"sum": sum(range(ITEMS))})
    assert [(item.position, item.ok, item.value) for item in items] == [(n, True, 2 * n) for n in range(ITEMS)]
    done = Counter(map(int, effects.read_text().split()))
    assert set(done) == set(range(ITEMS))
    assert done.total() - ITEMS <= wanted * SIZE * AT_ONCE, "nothing is repeated beyond the chunks in flight"
