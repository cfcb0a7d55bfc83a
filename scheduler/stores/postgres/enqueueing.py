"""Jobs in: what callers hand over at the same time goes into the table in one statement.

The server looks up what already stands for a draft; see ``enqueue`` in ``migrations/0006_long_jobs.sql``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from scheduler.errors import InvalidJobError
from scheduler.job import Draft, Receipt
from scheduler.stores.postgres import requests, waits
from scheduler.stores.postgres.rows import Times
from scheduler.stores.postgres.session import Session
from scheduler.stores.postgres.sharing import Raised

_COLUMNS = 15
_VALUES = ", ".join(f"${number}" for number in range(1, _COLUMNS + 1))
ENQUEUE = f"SELECT place, job_id, unchanged FROM @schema@.enqueue({_VALUES})"
_ENQUEUE_AND_TELL = f"CALL @schema@.enqueue_and_tell({_VALUES}, ${_COLUMNS + 1}, NULL)"


class Batch(NamedTuple):
    """What one caller hands over at ``now``. ``hint``: whose hint goes out with it; None if that is seen to otherwise."""

    drafts: Sequence[Draft]
    now: float
    hint: str | None = None


async def enqueue(session: Session, batches: Sequence[Batch]) -> list[list[Receipt] | Raised]:
    """Store all batches in one statement; none may be refused. Receipts for each."""
    drafts = [(draft, session.times.us(batch.now)) for batch in batches for draft in batch.drafts]
    if not drafts:
        return [[] for _ in batches]
    columns = columns_of(drafts, session.times)
    hint = next((batch.hint for batch in batches if batch.hint is not None), None)
    if hint is None:
        rows = await session.fetch(ENQUEUE, *columns)
    else:
        rows = json.loads(await session.value(_ENQUEUE_AND_TELL, *columns, hint) or "[]")
    receipts = receipts_of([draft for draft, _ in drafts], rows)
    return [[next(receipts) for _ in batch.drafts] for batch in batches]


class Alone:
    """The action for a batch that may be refused. Equal to no other, so that a line does nobody else's with it: it is a transaction of
    its own, and if that has to be done again, nothing else is."""

    async def __call__(self, session: Session, batches: Sequence[Batch]) -> list[list[Receipt] | Raised]:
        (batch,) = batches
        try:
            async with session.transaction(synced=True):
                return [await store_all(session, session.times, batch.drafts, batch.now)]
        except InvalidJobError as error:
            return [Raised(error)]


async def store_all(asks: waits.Asks, times: Times, drafts: Sequence[Draft], now: float) -> list[Receipt]:
    """Within the transaction: store ``drafts`` and have them wait for what they name. Raises ``InvalidJobError``."""
    created_us = times.us(now)
    await waits.lock(asks, drafts)
    answered = await requests.answered(asks, drafts, created_us)
    new = [draft for place, draft in enumerate(drafts) if place not in answered]
    stored = await _store_new(asks, times, new, created_us)
    names = {draft.job_id: receipt.job_id for draft, receipt in zip(new, stored, strict=True)}
    rest = iter(stored)
    return [_named(answered[place], names) if place in answered else next(rest) for place in range(len(drafts))]


def _named(receipt: Receipt, names: Mapping[str, str]) -> Receipt:
    """The receipt for a request that was made twice in one call: another job may stand for the first."""
    return receipt._replace(job_id=names.get(receipt.job_id, receipt.job_id))


async def _store_new(asks: waits.Asks, times: Times, drafts: Sequence[Draft], created_us: int) -> list[Receipt]:
    if not drafts:
        return []
    rows = await asks.fetch(ENQUEUE, *columns_of([(draft, created_us) for draft in drafts], times))
    receipts = list(receipts_of(drafts, rows))
    created = [draft for draft, receipt in zip(drafts, receipts, strict=True) if receipt.created]
    await waits.check_limits(asks, created)
    for draft in created:
        await waits.enter(asks, draft)
    await requests.remember(asks, drafts, receipts)
    return receipts


def columns_of(drafts: Sequence[tuple[Draft, int]], times: Times) -> list[list[object]]:
    """One array for each argument of the function."""
    return [list(column) for column in zip(*(times.draft(draft, created_us) for draft, created_us in drafts), strict=True)]


def receipts_of(drafts: Sequence[Draft], rows: Sequence[Sequence[object]]) -> Iterator[Receipt]:
    """The receipts in order; ``rows`` name the drafts that were superfluous."""
    standing = {place: Receipt(str(job_id), created=False, unchanged=bool(unchanged)) for place, job_id, unchanged in rows}
    return (standing.get(place) or Receipt(draft.job_id) for place, draft in enumerate(drafts, start=1))
