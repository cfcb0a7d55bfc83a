"""``JobQuery`` as SQL: every value bound, every column from a fixed list."""

from __future__ import annotations

from typing import Any

from scheduler.stores.base import JobQuery
from scheduler.stores.query import TEXT_COLUMNS, like
from scheduler.stores.sqlite.rows import FAR_US, JOB_COLUMNS, us_or_none

JOBS_SQL = f"SELECT {JOB_COLUMNS} FROM jobs WHERE {{where}} ORDER BY {{order}} LIMIT ?"
COUNT_SQL = "SELECT task_type, status, reason, count(*) FROM jobs WHERE {where} GROUP BY status, task_type, reason"

#: Written out, as the partial indexes have it: only so can they be used.
UNFINISHED_SQL = "status IN ('pending', 'processing', 'rate_limited', 'retry_ai')"


def where(query: JobQuery, *, paged: bool = True) -> tuple[str, list[Any]]:
    """The condition and its values; ``paged`` includes the cursor."""
    terms: list[str] = []
    values: list[Any] = []

    def one(column: str, operator: str, value: Any) -> None:
        if value is not None:
            terms.append(f"{column} {operator} ?")
            values.append(value)

    def any_of(column: str, wanted: Any) -> None:
        if wanted is not None:
            terms.append(f"{column} IN ({', '.join('?' * len(wanted))})")
            values.extend(map(str, wanted))

    any_of("job_id", query.job_ids)
    any_of("status", query.statuses)
    any_of("reason", query.reasons)
    any_of("task_type", query.task_types)
    one("target_type", "=", query.target_type)
    one("target_id", "=", query.target_id)
    one("owner", "=", query.owner)
    one("worker", "=", query.worker)
    one("batch", "=", query.batch)
    one("created_us", ">=", us_or_none(query.created_after))
    one("created_us", "<", us_or_none(query.created_before))
    one("finished_us", ">=", us_or_none(query.finished_after))
    one("waiting_us", "<=", us_or_none(query.waiting_before))
    if query.text is not None:
        terms.append("(" + " OR ".join(f"{column} LIKE ? ESCAPE '\\'" for column in TEXT_COLUMNS) + ")")
        values.extend([like(query.text)] * len(TEXT_COLUMNS))
    if query.can_run:
        terms.append(f"blockers = 0 AND (held_us IS NULL OR held_us < {FAR_US} OR status = 'processing')")
    if paged:
        one("seq", "<", query.before_seq)
        one("seq", ">", query.after_seq)
    return " AND ".join(terms) or "1", values
