"""Requests that callers may send again, and the job that each got; inside a transaction.

Whoever makes a request stores it first, under the job id that it would get: who makes the same at the same time waits for that row.
"""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.errors import IdempotencyConflictError
from scheduler.job import Draft, Receipt
from scheduler.stores.postgres.session import Session
from scheduler.stores.postgres.waits import Asks

_HASH = "@schema@.digest($1, $2)"
_MADE = (
    f"INSERT INTO @schema@.requests (request_hash, owner, key, body_hash, job_id, at_us) VALUES ({_HASH}, $1, $2, $3, $4, $5) "
    "ON CONFLICT (request_hash) DO NOTHING RETURNING 1"
)
_KNOWN = f"SELECT body_hash, job_id FROM @schema@.requests WHERE request_hash = {_HASH}"


async def answered(asks: Asks, drafts: Sequence[Draft], now_us: int) -> dict[int, Receipt]:
    """The receipts for those requests that were made before, by place; the others are made now.

    Raises ``IdempotencyConflictError`` if a request was made with another body.
    """
    receipts: dict[int, Receipt] = {}
    in_order = sorted((draft.owner or "", draft.request[0], place) for place, draft in enumerate(drafts) if draft.request)
    for _, _, place in in_order:  # all take these rows in one order
        job_id = await _job_of(asks, drafts[place], now_us)
        if job_id != drafts[place].job_id:
            receipts[place] = Receipt(job_id, created=False)
    return receipts


async def _job_of(asks: Asks, draft: Draft, now_us: int) -> str:
    assert draft.request is not None
    key, body_hash = draft.request
    while not await asks.fetch(_MADE, draft.owner, key, body_hash, draft.job_id, now_us):
        for known_hash, job_id in await asks.fetch(_KNOWN, draft.owner, key):  # none: it was just forgotten, and can be made again
            if known_hash != body_hash:
                raise IdempotencyConflictError.of(key)
            return str(job_id)
    return draft.job_id


async def remember(asks: Asks, drafts: Sequence[Draft], receipts: Sequence[Receipt]) -> None:
    """Another job stands for some of ``drafts``, whose requests were just made."""
    for draft, receipt in zip(drafts, receipts, strict=True):
        if draft.request is not None and receipt.job_id != draft.job_id:
            stands = f"UPDATE @schema@.requests SET job_id = $3 WHERE request_hash = {_HASH}"
            await asks.fetch(stands, draft.owner, draft.request[0], receipt.job_id)


_OLD = "SELECT request_hash FROM @schema@.requests WHERE at_us < $1 ORDER BY at_us LIMIT $2 FOR UPDATE SKIP LOCKED"


async def forget(session: Session, wishes: Sequence[tuple[float, int]]) -> list[int]:
    """See ``Store.forget``."""
    deleted = f"DELETE FROM @schema@.requests WHERE request_hash = ANY (ARRAY({_OLD})) RETURNING 1"
    return [len(await session.fetch(deleted, session.times.us(before), limit)) for before, limit in wishes]
