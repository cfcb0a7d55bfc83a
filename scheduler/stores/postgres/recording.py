"""What long jobs record of their items.

A pass and its items change in the transaction that checks the guard and holds the job's row, so that whoever lost the lease
records nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.job import Item, Job, Lease, Ledger, Oks
from scheduler.stores.postgres.session import Session

Entry = tuple[Lease, Ledger, Sequence[Item], float, str | None]

_HOLD = (
    "UPDATE @schema@.jobs SET progress_json = coalesce($3, progress_json), crashes = CASE WHEN $4 THEN 0 ELSE crashes END "
    "WHERE seq = $1 AND token = $2 AND status = 'processing' RETURNING 1"
)
_SAVE = (
    "INSERT INTO @schema@.ledgers AS l (seq, name, begun_us, total, next, done, failed, counters_json) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) "
    "ON CONFLICT (seq, name) DO UPDATE SET total = excluded.total, next = excluded.next, done = excluded.done, failed = excluded.failed, "
    "counters_json = excluded.counters_json"
)
_ITEMS = (
    "INSERT INTO @schema@.items (seq, name, position, key, ok, error, value_json) "
    "SELECT $1, $2, i.* FROM unnest($3::bigint[], $4::text[], $5::boolean[], $6::text[], $7::text[]) AS i "
    "ON CONFLICT (seq, name, position) DO UPDATE SET key = excluded.key, ok = excluded.ok, error = excluded.error, "
    "value_json = excluded.value_json"
)


async def record(session: Session, entries: Sequence[Entry]) -> list[bool]:
    """See ``Store.record``."""
    held: list[bool] = []
    async with session.transaction(synced=True):
        for lease, ledger, items, now, progress_json in entries:
            holds = bool(await session.fetch(_HOLD, lease.seq, lease.token, progress_json, bool(items)))
            held.append(holds)
            if holds:
                await session.fetch(_SAVE, lease.seq, ledger.name, session.times.us(now), *ledger[1:])
                last = {item.position: item for item in items}
                if last:
                    await session.fetch(_ITEMS, lease.seq, ledger.name, *map(list, zip(*last.values(), strict=True)))
    return held


async def ledgers(session: Session, job_ids: Sequence[str]) -> list[list[Ledger]]:
    sql = (
        "SELECT l.name, l.total, l.next, l.done, l.failed, l.counters_json FROM @schema@.ledgers AS l "
        "JOIN @schema@.jobs AS j ON j.seq = l.seq WHERE j.job_id = $1 ORDER BY l.begun_us, l.name"
    )
    return [[Ledger(*row) for row in await session.fetch(sql, job_id)] for job_id in job_ids]


async def items(session: Session, questions: Sequence[tuple[str, str, Oks | None, int, int]]) -> list[list[Item]]:
    answers: list[list[Item]] = []
    for job_id, name, ok, after, limit in questions:
        only = "" if ok is None else f" AND ({' OR '.join(_IS[outcome] for outcome in ok) or 'false'})"
        rows = await session.fetch(
            "SELECT i.position, i.key, i.ok, i.error, i.value_json FROM @schema@.items AS i "
            "WHERE i.seq = (SELECT j.seq FROM @schema@.jobs AS j WHERE j.job_id = $1) "
            f"AND i.name = $2 AND i.position > $3{only} ORDER BY i.position LIMIT $4",
            job_id,
            name,
            after,
            max(0, limit),
        )
        answers.append([Item(*row) for row in rows])
    return answers


_IS = {True: "i.ok", False: "(NOT i.ok AND i.ok IS NOT true)", None: "(i.ok IS NULL AND i.ok IS NOT true)"}  # for the partial index


async def again(session: Session, jobs: Sequence[Job], *, restart: bool) -> None:
    """What a retry does to the ledgers of ``jobs``."""
    seqs = [job.seq for job in jobs]
    if restart:
        await session.fetch("DELETE FROM @schema@.items WHERE seq = ANY ($1::bigint[])", seqs)
        await session.fetch("DELETE FROM @schema@.ledgers WHERE seq = ANY ($1::bigint[])", seqs)
        return
    rows = await session.fetch("UPDATE @schema@.ledgers SET failed = 0 WHERE seq = ANY ($1::bigint[]) AND failed > 0 RETURNING seq", seqs)
    if rows:
        await session.fetch(
            "UPDATE @schema@.items SET ok = NULL, error = NULL, value_json = NULL WHERE seq = ANY ($1::bigint[]) "
            "AND NOT ok AND ok IS NOT true",
            [row[0] for row in rows],
        )
