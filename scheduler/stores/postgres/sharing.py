"""The pools' documents: what all workers know of a quota, changed by one of them at a time.

The row's lock is the turn. Exchanges that wait here for the same pool take one turn together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from scheduler.stores.postgres.session import Session

Change = Callable[[str | None], tuple[str | None, Any]]


@dataclass(frozen=True, slots=True)
class Raised:
    """What a ``change`` raised, on its way to the caller."""

    error: BaseException


async def share(session: Session, wishes: Sequence[tuple[str, Change, float]]) -> list[Any]:
    """See ``Store.share``. An error of ``change`` is an answer here: nothing was written for it."""
    answers: list[Any] = [None] * len(wishes)
    for pool in dict.fromkeys(pool for pool, _, _ in wishes):
        async with session.transaction(synced=False):
            stored = document = await _locked(session, pool)
            now_us = 0
            for place, (name, change, now) in enumerate(wishes):
                if name == pool:
                    document, answers[place] = _changed(document, change)
                    now_us = session.times.us(now)
            if document != stored:
                await session.fetch("UPDATE @schema@.pools SET document = $2, updated_us = $3 WHERE name = $1", pool, document, now_us)
    return answers


async def _locked(session: Session, pool: str) -> str | None:
    read = "SELECT document FROM @schema@.pools WHERE name = $1 FOR UPDATE"
    rows = await session.fetch(read, pool)
    if not rows:  # a row to lock; whoever is second waits for the first's
        await session.fetch("INSERT INTO @schema@.pools (name, updated_us) VALUES ($1, 0) ON CONFLICT DO NOTHING", pool)
        rows = await session.fetch(read, pool)
    document: str | None = rows[0][0]
    return document


def _changed(document: str | None, change: Change) -> tuple[str | None, Any]:
    try:
        new, answer = change(document)
    except BaseException as error:
        return document, Raised(error)
    return (document if new is None else new), answer


async def shared(session: Session, askers: Sequence[None]) -> list[dict[str, str]]:
    """Every pool's document."""
    rows = await session.fetch("SELECT name, document FROM @schema@.pools WHERE document IS NOT NULL")
    return [dict(map(tuple, rows)) for _ in askers]
