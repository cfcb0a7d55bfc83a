"""Jobs in: what callers hand over at the same time goes into the table in one statement.

The server looks up what already stands for a draft; see ``enqueue`` in ``migrations/0002_verbs.sql``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scheduler.job import Draft, Receipt
from scheduler.stores.postgres.rows import Times
from scheduler.stores.postgres.session import Session

_COLUMNS = 14
ENQUEUE = "SELECT place, job_id, unchanged FROM @schema@.enqueue(" + ", ".join(f"${number}" for number in range(1, _COLUMNS + 1)) + ")"


async def enqueue(session: Session, batches: Sequence[tuple[Sequence[Draft], float]]) -> list[list[Receipt]]:
    """Store all batches in one transaction; receipts for each."""
    drafts = [(draft, session.times.us(now)) for batch, now in batches for draft in batch]
    if not drafts:
        return [[] for _ in batches]
    rows = await session.fetch(ENQUEUE, *columns_of(drafts, session.times))
    receipts = receipts_of([draft for draft, _ in drafts], rows)
    return [[next(receipts) for _ in batch] for batch, _ in batches]


def columns_of(drafts: Sequence[tuple[Draft, int]], times: Times) -> list[list[object]]:
    """One array for each argument of the function."""
    return [list(column) for column in zip(*(times.draft(draft, created_us) for draft, created_us in drafts), strict=True)]


def receipts_of(drafts: Sequence[Draft], rows: Sequence[Sequence[object]]) -> Iterator[Receipt]:
    """The receipts in order; ``rows`` name the drafts that were superfluous."""
    standing = {place: Receipt(str(job_id), created=False, unchanged=bool(unchanged)) for place, job_id, unchanged in rows}
    return (standing.get(place) or Receipt(draft.job_id) for place, draft in enumerate(drafts, start=1))
