"""What people select jobs by, checked and turned into a ``JobQuery``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from scheduler.errors import SchedulerError
from scheduler.job import Status
from scheduler.stores.base import JobQuery
from scheduler.values import check_text

#: A listing gives at most so many jobs at a time.
MAX_LIMIT = 10_000

Words = str | Iterable[str] | None


def query_for(
    *,
    status: Words = None,
    reason: Words = None,
    task_type: Words = None,
    target_type: str | None = None,
    target_id: str | None = None,
    owner: str | None = None,
    batch: str | None = None,
    text: str | None = None,
    created_after: float | None = None,
    created_before: float | None = None,
) -> JobQuery:
    """The query for these words, each one or several. Times are seconds since the epoch.

    Raises ``SchedulerError`` for a status that does not exist, or no time.
    """
    words = {"target_type": target_type, "target_id": target_id, "owner": owner, "batch": batch, "text": text}
    for what, word in words.items():
        if word is not None:
            check_text(word, what, limit=2_048)
    statuses = _words(status)
    return JobQuery(
        statuses=None if statuses is None else frozenset(map(_status, statuses)),
        reasons=_words(reason),
        task_types=_words(task_type),
        target_type=target_type,
        target_id=target_id,
        owner=owner,
        batch=batch,
        text=text or None,
        created_after=_time(created_after, "created_after"),
        created_before=_time(created_before, "created_before"),
    )


def limited(query: JobQuery, limit: int, *, before_seq: int | None = None, newest_first: bool = True) -> JobQuery:
    """``query`` for one page of at most ``limit`` jobs."""
    if not 1 <= limit <= MAX_LIMIT:
        raise SchedulerError(f"limit must lie between 1 and {MAX_LIMIT}, not {limit}")
    return replace(query, limit=limit, before_seq=before_seq, newest_first=newest_first)


def _time(value: float | None, what: str) -> float | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 9e12):
        raise SchedulerError(f"{what} must be seconds since the epoch, not {value!r}")
    return value


def _words(value: Words) -> frozenset[str] | None:
    if value is None:
        return None
    words = frozenset([str(value)] if isinstance(value, str) else map(str, value))
    return frozenset(check_text(word, "a word to select by") for word in words)


def _status(word: str) -> Status:
    try:
        return Status(word)
    except ValueError:
        raise SchedulerError(f"there is no status {word!r}; there are {', '.join(Status)}") from None
