"""Attempts begin: due jobs of open lanes become ``processing``, in one call to the server.

What a claim does is ``claim`` in ``migrations/0002_verbs.sql``. Here: what to do when its answer is lost. The jobs may then be
ours without anybody knowing, and nobody takes a job from a living worker; so each call leaves its tag on what it takes, and the
next one first looks for what the lost one took.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Any

from anyio import sleep

from scheduler.errors import StoreBusyError
from scheduler.job import Lease
from scheduler.stores.base import Claim, Claims, Want
from scheduler.stores.postgres import faults
from scheduler.stores.postgres.rows import JOB_COLUMNS
from scheduler.stores.postgres.session import Session
from scheduler.stores.turns import Turns

_CLAIM = "SELECT * FROM @schema@.claim($1::jsonb, $2, $3, $4)"
_TAGGED = f"SELECT {JOB_COLUMNS} FROM @schema@.jobs WHERE finished_us IS NULL AND status = 'processing' AND worker = $1 AND claim_tag = $2"
#: A session that outlived its connection is given so long to go, looked at so often, in seconds.
_GOODBYE_S, _LOOK_S = 3.0, 0.05

Wish = tuple[Sequence[Want], str, float]


class Claiming:
    """Claims for one store; remembers the calls whose answers were lost: worker, tag and the session that was cut."""

    def __init__(self) -> None:
        self._lost: list[tuple[str, int, str]] = []
        self._turns = Turns()

    async def claim(self, session: Session, wishes: Sequence[Wish]) -> list[Claims]:
        return [await self._claim(session, wish) for wish in wishes]

    async def _claim(self, session: Session, wish: Wish) -> Claims:
        wants, worker, now = wish
        found = await self._found_again(session, worker)
        if found:
            return Claims(found)
        tag = secrets.randbits(63)
        try:
            rows = await session.fetch(_CLAIM, _asked(wants, self._turns), worker, session.times.us(now), tag)
        except BaseException as error:
            if faults.is_lost(error):
                self._lost.append((worker, tag, session.name))
            raise
        claims = [_claim_from(session, row[1], row[2:]) for row in sorted(rows, key=lambda row: (row[0], -row[11], row[2]))]
        taken = [0] * len(wants)
        for row in rows:
            taken[row[0]] += 1
        for want in wants:
            mine = [claim.job for claim in claims if claim.job.task_type == want.task_type]
            lowest = min((job.priority for job in mine), default=0)
            self._turns.served(want.task_type, [job.owner or "" for job in mine if job.priority == lowest])
        short = {want.task_type for want, number in zip(wants, taken, strict=True) if number < want.limit}
        return Claims(claims, frozenset(short))

    async def _found_again(self, session: Session, worker: str) -> list[Claim]:
        """What ``worker`` got by a claim that was never answered, once it is certain how that ended."""
        while self._lost:
            who, tag, name = self._lost[0]
            await _see_off(session, name)
            rows = await session.fetch(_TAGGED, who, tag) if who == worker else []
            self._lost.pop(0)
            if rows:
                windows = await session.fetch("SELECT probe, scope FROM @schema@.pauses WHERE probe IS NOT NULL ORDER BY scope")
                return [_claim_from(session, [scope for probe, scope in windows if probe == row[1]], row) for row in rows]
        return []


async def _see_off(session: Session, name: str) -> None:
    """End the session called ``name``: its connection is gone, but the server may not have noticed, and may yet commit.

    Behind a proxy sessions have no names of ours: there the time limit of a statement has to do.
    """
    waited_s = 0.0
    while await session.value("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1", name):
        if waited_s >= _GOODBYE_S:
            raise StoreBusyError(f"{session.database.address.shown}: a session that was cut is still at work: try again")
        await sleep(_LOOK_S)
        waited_s += _LOOK_S


def _asked(wants: Sequence[Want], turns: Turns) -> str:
    return json.dumps(
        [
            {
                "i": place,
                "t": want.task_type,
                "n": want.limit,
                "s": want.scopes,
                "k": want.target_types,
                "c": want.cap,
                "o": turns.last(want.task_type),
                "a": want.avoid,
            }
            for place, want in enumerate(wants)
        ]
    )


def _claim_from(session: Session, probing: Sequence[str], row: Sequence[Any]) -> Claim:
    job = session.times.job(row)
    return Claim(job, Lease(job.seq, job.job_id, job.token, tuple(probing)))
