"""Both audit trails, the memory store's and SQLite's triggers, tell of a refund and of a reopened window, and alike."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from scheduler.job import Status, Transition
from scheduler.stores.base import Store
from scheduler.stores.sqlite import SqliteStore
from tests.simulation.audited_memory import AuditedMemoryStore
from tests.stores.acts import DONE, claim_one, settle, started
from tests.support.audit import audited_store
from tests.support.checker import Evidence, check
from tests.support.jobs import T0, a_draft, put_off

AGAIN = Transition(Status.RETRY_AI, "provider_error", "500", run_after=T0)


async def an_outage(store: Store) -> None:
    """A job fails, is put off, and gets its failure back while it runs again; a call opens its lane before it ends."""
    first = await started(store, a_draft(job_id="job"))
    await settle(store, first.lease, AGAIN)
    second = await claim_one(store)
    await settle(store, second.lease, put_off("job", T0))
    probe = await claim_one(store, now=T0 + 60)
    assert await store.reopen("lane", T0 + 60)
    assert await store.refund([first.lease], T0 + 60) == 1
    await settle(store, probe.lease, DONE, T0 + 61)


async def test_the_two_trails_tell_the_same_story_and_it_breaks_no_rule(tmp_path: Path) -> None:
    memory = AuditedMemoryStore()
    await an_outage(memory)
    audited_store(tmp_path / "jobs.db")
    file = SqliteStore(tmp_path / "jobs.db")
    await file.open()
    await an_outage(file)
    await file.close()

    connection = sqlite3.connect(tmp_path / "jobs.db")
    connection.row_factory = sqlite3.Row
    trail: list[dict[str, Any]] = [dict(row) for row in connection.execute("SELECT * FROM audit ORDER BY n")]
    connection.close()
    assert [_told(row) for row in memory.audit] == [_told(row) for row in trail]
    assert [row["attempts"] for row in trail if row["kind"] == "refunded"] == [1]
    moves = [row for row in trail if row["kind"] in ("made", "move", "refunded")]
    assert check(Evidence([], [], [], moves, [])) == []


def _told(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(column) for column in ("kind", "now", "token", "attempts", "scope"))
