"""What only the SQLite store promises of pools' documents: several processes on one file take turns, nobody waits for the disk."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scheduler.stores.base import Store
from scheduler.stores.sqlite import SqliteStore, writer
from tests.stores.sharing import counted, looked_at
from tests.support.jobs import T0, a_draft

ROOT = Path(__file__).parents[2]
PROCESSES, SHARES = 3, 60

SHARER = """
import asyncio, sys
from scheduler.stores.sqlite import SqliteStore
from tests.stores.sharing import counted

async def main() -> None:
    store = SqliteStore(sys.argv[1])
    await store.open()
    print("ready", flush=True)
    sys.stdin.readline()
    print(*[await store.share("main", counted, 1.7e9) for _ in range(int(sys.argv[2]))])
    await store.close()

asyncio.run(main())
"""


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[Store, Store]]:
    """Two stores on one file, as two processes have them."""
    stores = SqliteStore(tmp_path / "jobs.db"), SqliteStore(tmp_path / "jobs.db")
    for store in stores:
        await store.open()
    yield stores
    for store in stores:
        await store.close()


async def test_two_stores_on_one_file_take_turns(two: tuple[Store, Store]) -> None:
    numbers = await asyncio.gather(*(two[turn % 2].share("main", counted, T0) for turn in range(200)))
    assert sorted(numbers) == list(range(200))
    assert await two[0].shared() == await two[1].shared() == {"main": "200"}


async def test_what_one_stored_the_other_reads_at_once(two: tuple[Store, Store]) -> None:
    for turn in range(10):
        assert await two[turn % 2].share("main", counted, T0) == turn
        assert await two[1 - turn % 2].share("main", looked_at, T0) == str(turn + 1)


def test_processes_that_share_at_once_never_interleave(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SHARER, str(tmp_path / "jobs.db"), str(SHARES)]
    started = [subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0] for process in started]
    assert sorted(int(number) for text in said for number in text.split()) == list(range(PROCESSES * SHARES))


async def test_a_share_does_not_wait_for_the_disk(two: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(writer, "_sync_data", synced.append)
    await two[0].share("main", counted, T0)
    await two[0].refund([], T0)
    await two[0].reopen("lane", T0)
    assert synced == []
    await two[0].enqueue([a_draft()], T0)
    assert len(synced) == 1


async def test_a_change_that_raises_does_not_have_its_group_repeated(two: tuple[Store, Store]) -> None:
    calls: list[str] = []

    def noted(document: str | None) -> tuple[str, None]:
        calls.append("noted")
        return "{}", None

    def broken(document: str | None) -> tuple[str, None]:
        raise ValueError

    shares = [two[0].share("main", change, T0) for change in (noted, broken, noted)]
    await asyncio.gather(*shares, return_exceptions=True)
    assert calls == ["noted"] * 2
