"""``JobQuery`` as SQL: every value bound, every column from a fixed list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from scheduler.job import TERMINAL, UNFINISHED, Status
from scheduler.stores.base import JobQuery
from scheduler.stores.postgres.rows import FAR_US, JOB_COLUMNS, Times
from scheduler.stores.query import TEXT_COLUMNS, like

JOBS_SQL = f"SELECT {JOB_COLUMNS} FROM @schema@.jobs WHERE {{where}} ORDER BY {{order}} LIMIT {{limit}}"
COUNT_SQL = "SELECT task_type, status, reason, count(*) FROM @schema@.jobs WHERE {where} GROUP BY task_type, status, reason"


def where(query: JobQuery, times: Times, *, paged: bool = True) -> tuple[str, list[Any]]:
    """The condition and its values; ``paged`` includes the cursor."""
    terms: list[str] = []
    values: list[Any] = []

    def one(column: str, operator: str, value: Any) -> None:
        if value is not None:
            values.append(value)
            terms.append(f"{column} {operator} ${len(values)}")

    def any_of(column: str, wanted: Any) -> None:
        if wanted is not None:
            values.append(sorted(map(str, wanted)))
            terms.append(f"{column} = ANY (${len(values)}::text[])")

    any_of("job_id", query.job_ids)
    any_of("status", query.statuses)
    terms.extend(_indexed(query.statuses))
    any_of("reason", query.reasons)
    any_of("task_type", query.task_types)
    one("target_type", "=", query.target_type)
    one("target_id", "=", query.target_id)
    one("owner", "=", query.owner)
    one("worker", "=", query.worker)
    one("batch", "=", query.batch)
    one("created_us", ">=", times.us_or_none(query.created_after))
    one("created_us", "<", times.us_or_none(query.created_before))
    one("finished_us", ">=", times.us_or_none(query.finished_after))
    one("waiting_us", "<=", times.us_or_none(query.waiting_before))
    if query.text is not None:
        values.append(like(query.text))
        terms.append("(" + " OR ".join(f'{column} COLLATE "C" ILIKE ${len(values)}' for column in TEXT_COLUMNS) + ")")
    if query.can_run:
        terms.append(f"blockers = 0 AND (held_us IS NULL OR held_us < {FAR_US} OR status = 'processing')")
    if paged:
        one("seq", "<", query.before_seq)
        one("seq", ">", query.after_seq)
    return " AND ".join(terms) or "true", values


def _indexed(statuses: frozenset[Status] | None) -> Iterator[str]:
    """``statuses`` once more in the words of the partial indexes: only so can they be used."""
    if statuses is None:
        return
    if statuses <= UNFINISHED:
        yield "finished_us IS NULL"
    if statuses <= TERMINAL:
        yield "finished_us IS NOT NULL"
        if Status.COMPLETED not in statuses:
            yield "status <> 'completed'"
    if statuses == {Status.RATE_LIMITED}:
        yield "status = 'rate_limited'"


def jobs_sql(query: JobQuery, times: Times, also: str = "true") -> tuple[str, list[Any]]:
    """The statement for a page of jobs, and its values."""
    condition, values = where(query, times)
    values.append(max(query.limit, 0))
    order = "seq DESC" if query.newest_first else "seq"
    return JOBS_SQL.format(where=f"{condition} AND {also}", order=order, limit=f"${len(values)}"), values
