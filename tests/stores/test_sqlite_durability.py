"""What only the SQLite store promises: who waits for the disk, and who does not."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import anyio
import pytest

from scheduler.errors import StoreFullError
from scheduler.job import Receipt
from scheduler.stores.base import Want
from scheduler.stores.sqlite import SqliteStore, writer
from tests.support.jobs import T0, a_draft

WANT = Want("lane", 5, ("lane",))


@pytest.fixture
async def store(tmp_path: Path):
    store = SqliteStore(tmp_path / "jobs.db")
    await store.open()
    yield store
    await store.close()


async def test_an_enqueue_is_acknowledged_only_when_its_log_is_synced(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = writer._sync_data

    def noted(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(writer, "_sync_data", noted)
    await store.enqueue([a_draft()], T0)
    assert synced == [f"{store.path.resolve()}-wal"]


async def test_a_claim_goes_on_while_the_disk_writes_what_it_claimed(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Event()
    monkeypatch.setattr(writer, "_sync_data", lambda descriptor: disk.wait(10))
    story: list[str] = []

    async def enqueue() -> None:
        await store.enqueue([a_draft()], T0, lambda receipts: story.append("stored"))
        story.append("acknowledged")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(enqueue)
        await anyio.lowlevel.checkpoint()
        claimed = await store.claim([WANT], "ada", T0)
        assert (len(claimed.claims), story) == (1, ["stored"])
        disk.set()
    assert story == ["stored", "acknowledged"]


async def test_a_disk_that_cannot_sync_is_an_error_to_who_asked_for_it(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(writer, "_sync_data", full)
        with pytest.raises(StoreFullError, match="No space left"):
            await store.enqueue([a_draft()], T0)
        assert len((await store.claim([WANT], "ada", T0)).claims) == 1
    assert await store.enqueue([draft := a_draft()], T0) == [Receipt(draft.job_id)]
