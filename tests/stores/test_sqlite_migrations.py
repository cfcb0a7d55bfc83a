"""A file that an earlier release made opens where it lies, and keeps everything; a later release's is refused."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from scheduler.errors import StoreError, StoreTooNewError
from scheduler.job import Job
from scheduler.pauses import PauseWindow
from scheduler.stores.base import Claim, Store
from scheduler.stores.sqlite import SqliteStore, schema
from tests.stores.acts import DONE, claim, everything, finished, get, put, settle, started
from tests.stores.pausing import paused_by_provider
from tests.stores.sharing import counted
from tests.support.jobs import T0, a_draft

SCRIPTS = schema.migrations()


def version_of(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()


def laid_out(path: Path) -> list[tuple[str, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
    finally:
        connection.close()


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes this the release that knew so many scripts."""
    return lambda scripts: monkeypatch.setattr(schema, "migrations", lambda: SCRIPTS[:scripts])


async def of_the_first_release(path: Path) -> tuple[list[Job], list[PauseWindow], Claim]:
    """A file with jobs of every kind and a pause; what is in it, and a job that still runs. Written by today's code, then cut back."""
    made = path.with_name("made.db")
    with pytest.MonkeyPatch.context() as today:
        today.setattr(schema, "migrations", lambda: SCRIPTS)
        kept = await filled(made)
    schema.prepare(path)
    connection = sqlite3.connect(path)
    connection.execute("ATTACH ? AS made", (str(made),))
    for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").fetchall():
        columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})"))
        connection.execute(f"DELETE FROM main.{table}")
        connection.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM made.{table}")
    connection.commit()
    connection.close()
    return kept


async def filled(path: Path) -> tuple[list[Job], list[PauseWindow], Claim]:
    store = SqliteStore(path)
    await store.open()
    await paused_by_provider(store, "limited")
    await finished(store, a_draft("done", fingerprint="v1", target_id="7"))
    running = await started(store, a_draft("running", unique_key="key", payload_json='{"größe": "🦉"}'))
    await store.note(running.lease, T0, state_json='{"page": 2}')
    await put(store, *[a_draft("later", run_after=T0 + 50, owner="ada", priority=number) for number in range(300)])
    kept = await everything(store), await store.pauses(), running
    await store.close()
    return kept


async def test_a_store_of_schema_1_is_migrated_in_place_and_keeps_its_jobs(tmp_path: Path, release: Callable[[int], None]) -> None:
    path = tmp_path / "jobs.db"
    release(1)
    jobs, windows, running = await of_the_first_release(path)
    assert version_of(path) == 1

    release(len(SCRIPTS))
    store = SqliteStore(path)
    await store.open()
    assert version_of(path) == len(SCRIPTS)
    assert (await everything(store), await store.pauses()) == (jobs, windows)
    assert not (await put(store, a_draft(unique_key="key")))[0].created
    assert (await put(store, a_draft("done", fingerprint="v1", target_id="7")))[0].unchanged
    assert await store.shared() == {}
    assert await store.share("main", counted, T0) == 0
    assert (await settle(store, running.lease, DONE)).applied
    assert (await get(store, running.job.job_id)).result_json == '"done"'
    await store.check()
    await store.close()


async def test_two_processes_that_open_an_old_file_at_once_migrate_it_once(tmp_path: Path, release: Callable[[int], None]) -> None:
    path = tmp_path / "jobs.db"
    release(1)
    jobs, _, _ = await of_the_first_release(path)
    release(len(SCRIPTS))
    stores: list[Store] = [SqliteStore(path) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    for store in stores:
        assert await everything(store) == jobs
        await store.share("main", counted, T0)
    assert await stores[0].shared() == {"main": "4"}
    for store in stores:
        await store.close()


@pytest.mark.parametrize("made_by", range(1, len(SCRIPTS)))
async def test_a_migrated_file_is_laid_out_as_a_new_one(tmp_path: Path, release: Callable[[int], None], made_by: int) -> None:
    for name, scripts in (("old.db", made_by), ("new.db", len(SCRIPTS))):
        release(scripts)
        schema.prepare(tmp_path / name)
    schema.prepare(tmp_path / "old.db")
    assert laid_out(tmp_path / "old.db") == laid_out(tmp_path / "new.db")


async def test_a_migration_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, release: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "jobs.db"
    release(1)
    jobs, _, _ = await of_the_first_release(path)
    before = laid_out(path)
    monkeypatch.setattr(schema, "migrations", lambda: [SCRIPTS[0], "CREATE TABLE half (a INTEGER);\nCREATE TABLE jobs (a INTEGER);\n"])
    with pytest.raises(StoreError, match="already exists"):
        await SqliteStore(path).open()
    assert (laid_out(path), version_of(path)) == (before, 1)
    release(len(SCRIPTS))
    store = SqliteStore(path)
    await store.open()
    assert await everything(store) == jobs
    assert len(await claim(store, now=T0 + 60)) > 0
    await store.close()


async def test_the_first_release_refuses_a_file_of_this_one(tmp_path: Path, release: Callable[[int], None]) -> None:
    schema.prepare(tmp_path / "jobs.db")
    before = (tmp_path / "jobs.db").read_bytes()
    release(1)
    with pytest.raises(StoreTooNewError, match=f"has schema {len(SCRIPTS)}, but this release knows only 1: upgrade"):
        await SqliteStore(tmp_path / "jobs.db").open()
    assert (tmp_path / "jobs.db").read_bytes() == before
