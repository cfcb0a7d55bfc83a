"""What SQLite does to pick jobs: it walks the index of ready jobs, forwards or backwards, and sorts nothing. And what it does to count."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from scheduler.stores.sqlite import claiming, overview, schema
from tests.stores.acts import want

ROWS = 2_000
_FILL = """
INSERT INTO jobs (job_id, task_type, target_type, target_id, payload_json, priority, run_after_us, created_us, ready)
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
SELECT 'filled-' || n, 'lane', 'code_entity', n, '{}', n % 7, 1700000000000000, 1700000000000000, 1 FROM numbers
"""


@pytest.mark.parametrize("order", [claiming.FIRST_FIRST, claiming.LAST_FIRST])
@pytest.mark.parametrize("knowledge", ["no statistics", "statistics of an empty table", "analyzed"])
@pytest.mark.parametrize("wanted", [want(), want(target_types=("a", "b")), want(avoid=("filled-7", "filled-14"))], ids=repr)
def test_jobs_are_picked_in_the_order_of_the_index(tmp_path: Path, order: str, knowledge: str, wanted: claiming.Want) -> None:
    schema.prepare(tmp_path / "jobs.db")
    connection = schema.connect(tmp_path / "jobs.db")
    try:
        if knowledge == "statistics of an empty table":
            connection.execute("ANALYZE")
        connection.execute(_FILL, (ROWS,))
        if knowledge == "analyzed":
            connection.execute("ANALYZE")
        plan = _plan(connection, wanted, order)
    finally:
        connection.close()
    assert any("INDEX jobs_ready (task_type=?)" in step for step in plan), plan
    assert not any("TEMP B-TREE" in step or "SCAN jobs" in step for step in plan), plan


def _plan(connection: sqlite3.Connection, wanted: claiming.Want, order: str) -> list[str]:
    statement, values = claiming.question(wanted, 1, 1_700_000_000_000_000, order, wanted.avoid)
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]


@pytest.mark.parametrize("only", ["", " AND owner = :owner"])
def test_what_ended_is_counted_without_looking_at_a_job(tmp_path: Path, only: str) -> None:
    schema.prepare(tmp_path / "jobs.db")
    connection = schema.connect(tmp_path / "jobs.db")
    try:
        values = {"bucket": 300_000_000, "since": 1_700_000_000_000_000, "owner": "ada"}
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {overview.THROUGHPUT.format(only=only)}", values)]
    finally:
        connection.close()
    assert plan[0] == "SEARCH jobs USING COVERING INDEX jobs_finished (finished_us>?)", plan
