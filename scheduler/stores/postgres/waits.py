"""Who waits for whom; inside a transaction.

What a job waits for is held until the wait is stored: a job's row is shared, so that it cannot end meanwhile; a batch has a lock of its
own, which whoever ends one of its jobs takes before he looks who waits (``let_go`` in ``migrations/0006_long_jobs.sql``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from scheduler.errors import OwnerLimitError, UnknownJobError
from scheduler.job import BATCH_PREFIX, Draft, batch_key


class Asks(Protocol):
    """A session, or the user's own connection."""

    async def fetch(self, sql: str, *values: object) -> Sequence[Sequence[object]]: ...


def may_be_refused(drafts: Sequence[Draft]) -> bool:
    """Whether storing ``drafts`` is more than one statement."""
    return any(draft.after or draft.owner_limit is not None or draft.request for draft in drafts)


async def lock(asks: Asks, drafts: Sequence[Draft]) -> None:
    """Who counts an owner's jobs counts alone."""
    for owner in sorted({draft.owner or "" for draft in drafts if draft.owner_limit is not None}):
        await asks.fetch("SELECT pg_advisory_xact_lock(@caps@ + 3, hashtext($1))", owner)


async def check_limits(asks: Asks, created: Sequence[Draft]) -> None:
    """Raises ``OwnerLimitError`` if ``created``, which are stored, are too many."""
    limits = {draft.owner: draft.owner_limit for draft in created if draft.owner_limit is not None}
    counted = (
        "SELECT count(*) FROM (SELECT 1 FROM @schema@.jobs WHERE owner = $1 AND owner IS NOT NULL AND finished_us IS NULL LIMIT $2) AS j"
    )
    for owner, limit in limits.items():
        if (await asks.fetch(counted, owner, limit + 1))[0][0] > limit:  # type: ignore[operator]
            raise OwnerLimitError(f"owner {owner} has {limit} unfinished jobs, as many as it may: let some end, or cancel some")


async def enter(asks: Asks, draft: Draft) -> None:
    """Have the job of ``draft``, which is stored, wait for what it names."""
    if not draft.after:
        return
    seq = (await asks.fetch("SELECT seq FROM @schema@.jobs WHERE job_id = $1", draft.job_id))[0][0]
    blockers, doomed = 0, None
    for name in draft.after:
        is_open, failed = await _stand(asks, draft, name)
        if is_open:
            blockers += 1
            await asks.fetch(
                "INSERT INTO @schema@.waits (awaited, seq, if_failed) VALUES ($1, $2, $3)", _key(draft, name), seq, draft.if_failed
            )
        elif failed and draft.if_failed != "run":
            doomed = f"{draft.if_failed} {name}"
    changed = "SET blockers = $2::bigint, doomed = $3, ready = CASE WHEN $2::bigint > 0 THEN NULL ELSE ready END"
    await asks.fetch(f"UPDATE @schema@.jobs {changed} WHERE seq = $1", seq, 0 if doomed is not None else blockers, doomed)


def _key(draft: Draft, name: str) -> str:
    return batch_key(draft.owner, name.removeprefix(BATCH_PREFIX)) if name.startswith(BATCH_PREFIX) else name


async def _stand(asks: Asks, draft: Draft, name: str) -> tuple[bool, bool]:
    """Whether what is named is still open, and whether it failed."""
    if name.startswith(BATCH_PREFIX):
        batch = name.removeprefix(BATCH_PREFIX)
        await asks.fetch("SELECT @schema@.lock_batch($1, $2)", batch, draft.owner)
        mine = "EXISTS (SELECT 1 FROM @schema@.jobs WHERE batch = $1 AND batch IS NOT NULL AND owner IS NOT DISTINCT FROM $2 AND"
        asked = f"SELECT {mine} finished_us IS NULL), {mine} finished_us IS NOT NULL AND status <> 'completed')"
        row = (await asks.fetch(asked, batch, draft.owner))[0]
        return bool(row[0]), bool(row[1])
    rows = await asks.fetch("SELECT finished_us IS NULL, status <> 'completed', owner FROM @schema@.jobs WHERE job_id = $1 FOR SHARE", name)
    if not rows or (draft.owner is not None and rows[0][2] != draft.owner):
        if not draft.strict:
            return False, True
        raise UnknownJobError(f"after names {name}, but there is no such job: enqueue it first")
    return bool(rows[0][0]), bool(rows[0][1])


async def ended(asks: Asks, seqs: Sequence[int], now_us: int) -> None:
    """Those jobs have ended: let go who waited for them."""
    await asks.fetch("SELECT @schema@.let_go($1::bigint[], $2)", list(seqs), now_us)
