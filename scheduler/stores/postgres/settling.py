"""Attempts end: the guarded write, and what hangs on the same lease.

What all callers hand over at the same time goes in one statement. Settlements that set a pause, or are a probe's, go in one
transaction with the windows, under the gates' lock. Does not belong here: what an outcome means (``decide.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from scheduler import pauses
from scheduler.job import LEGAL, WAITING, Lease, Status
from scheduler.pauses import Gate, PauseWindow
from scheduler.stores.base import Settled, Settlement
from scheduler.stores.postgres import enqueueing, faults, gates
from scheduler.stores.postgres.rows import Times
from scheduler.stores.postgres.session import Session

_SETTLE = "SELECT place, lanes FROM @schema@.settle($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
_APPLIED, _LAPSED = Settled(True), Settled(False)

Ends = Sequence[tuple[Settlement, float]]
Batches = Sequence[tuple[Sequence[Settlement], float]]

_AS_SETTLED = (
    "SELECT 1 FROM @schema@.jobs WHERE seq = $1 AND token = $2 AND status = $3 AND reason IS NOT DISTINCT FROM $4 "
    "AND error IS NOT DISTINCT FROM $5 AND ($6::text IS NULL OR result_json = $6)"
)


class Settling:
    """Settles for one store; remembers the leases of calls whose answers were lost.

    Such an end is handed in again and then refused, because it was recorded the first time: it is told to have applied, so that
    its event is not lost. A cancellation is not: there it was as likely somebody else's, who told of it.
    """

    def __init__(self) -> None:
        self._unsure: set[tuple[int, int]] = set()

    async def settle(self, session: Session, batches: Batches) -> list[list[Settled]]:
        leases = {(one.lease.seq, one.lease.token) for batch, _ in batches for one in batch}
        try:
            answers = await settle(session, batches)
            if leases & self._unsure:
                answers = [await self._made_sure(session, batch, told) for (batch, _), told in zip(batches, answers, strict=True)]
        except BaseException as error:
            if faults.is_lost(error):
                self._unsure |= leases
            raise
        self._unsure -= leases
        return answers

    async def _made_sure(self, session: Session, batch: Sequence[Settlement], told: Sequence[Settled]) -> list[Settled]:
        sure: list[Settled] = []
        for one, answer in zip(batch, told, strict=True):
            lease, end = one.lease, one.transition
            if answer.applied or (lease.seq, lease.token) not in self._unsure or end.status is Status.CANCELLED:
                sure.append(answer)
                continue
            self._unsure.discard((lease.seq, lease.token))
            found = await session.fetch(_AS_SETTLED, lease.seq, lease.token, end.status.value, end.reason, end.error, end.result_json)
            windows = await gates.windows_of(session) if found and end.pause is not None else {}
            sure.append(Settled(True, windows.get(end.pause.scope) if end.pause is not None else None) if found else answer)
        return sure


async def settle(session: Session, batches: Batches) -> list[list[Settled]]:
    """End attempts, those of all batches in one transaction."""
    ends = [(one, now) for batch, now in batches for one in batch]
    if not ends:
        return [[] for _ in batches]
    if any(one.transition.pause is not None or one.lease.probing or one.transition.follow_ups for one, _ in ends):
        answers = await _settle_at_gates(session, ends)
    else:
        applied, freed = await _write(session, ends)
        answers = _with_freed([_APPLIED if one else _LAPSED for one in applied], freed)
    told = iter(answers)
    return [[next(told) for _ in batch] for batch, _ in batches]


async def _write(session: Session, ends: Ends) -> tuple[list[bool], tuple[str, ...]]:
    """The guarded write; which of ``ends`` applied, and in which lanes jobs may run now that waited for them.

    The first end of a lease is the one that counts.
    On disk when it returns: nobody else would end a job again whose end a crash of the server undid.
    """
    first: dict[tuple[int, int], int] = {}
    for place, (one, _) in enumerate(ends):
        first.setdefault((one.lease.seq, one.lease.token), place)
    chosen = [place for _, place in sorted(first.items())]  # by seq, as all writers lock them
    columns = zip(*(_values(session.times, *ends[place]) for place in chosen), strict=True)
    # Of the columns most say nothing of any of them, and each element costs both sides.
    rows = await session.fetch(_SETTLE, *(None if column.count(None) == len(column) else column for column in columns), True)
    applied = {chosen[row[0] - 1] for row in rows if row[0] > 0}
    freed = [lane for row in rows if row[0] == 0 for lane in row[1]]
    return [place in applied for place in range(len(ends))], tuple(freed)


def _with_freed(answers: list[Settled], freed: tuple[str, ...]) -> list[Settled]:
    """Told with the last end that applied: which of them it was that set them free nobody needs to know."""
    if freed:
        last = max(place for place, answer in enumerate(answers) if answer.applied)
        answers[last] = replace(answers[last], freed=freed)
    return answers


def _values(times: Times, settlement: Settlement, now: float) -> tuple[Any, ...]:
    lease, end = settlement.lease, settlement.transition
    if end.status not in LEGAL[Status.PROCESSING]:
        raise ValueError(f"an attempt cannot end as {end.status}; nothing was changed")
    now_us, run_after_us = times.us(now), times.us_or_none(end.run_after)
    ready = None if end.status not in WAITING else int(run_after_us is None or run_after_us <= now_us)
    return (
        lease.seq, lease.token, end.status.value, end.reason, end.error, end.result_json, run_after_us, int(end.refund),
        int(end.crashed), times.us_or_none(end.waiting_since), now_us if ready is None else None, ready,
    )  # fmt: skip


async def _settle_at_gates(session: Session, ends: Ends) -> list[Settled]:
    """Jobs and windows change together; a pause binds everybody from the moment it is reported, power loss included."""
    async with session.transaction(synced=True, also=gates.LOCK):
        before = await gates.windows_of(session)  # before the write, which forgets the probes of what ended
        applied, freed = await _write(session, ends)
        windows = dict(before)
        answers = [_at_gate(windows, one, now) if holds else _LAPSED for (one, now), holds in zip(ends, applied, strict=True)]
        await gates.save(session, [window for scope, window in windows.items() if window != before.get(scope)])
        gone = [scope for scope in before if scope not in windows]
        if gone:
            await gates.remove(session, gone)
        for place, (one, now) in enumerate(ends):
            if answers[place].applied and one.transition.follow_ups and one.transition.status is Status.COMPLETED:
                receipts = await enqueueing.store_all(session, session.times, one.transition.follow_ups, now)
                answers[place] = replace(answers[place], receipts=tuple(receipts))
    return _with_freed(answers, freed)


def _at_gate(windows: dict[str, PauseWindow], settlement: Settlement, now: float) -> Settled:
    """What one end that applied does to the windows."""
    lease, end = settlement.lease, settlement.transition
    marked = [window for window in windows.values() if window.probe == lease.job_id]
    # A window that was extended or set by hand meanwhile is not this probe's to end.
    succeeded = end.status is Status.COMPLETED
    resumed = tuple(window.scope for window in marked if succeeded and window.scope in lease.probing and window.gate(now) is Gate.PROBING)
    for window in marked:
        windows[window.scope] = replace(window, probe=None)
    for scope in resumed:
        del windows[scope]
    if end.pause is None:
        return Settled(True, None, resumed)
    extended = pauses.extended(windows.get(end.pause.scope), end.pause, now)
    windows[extended.scope] = extended
    return Settled(True, extended, resumed)


async def refund(session: Session, batches: Sequence[Sequence[Lease]]) -> list[int]:
    """See ``Store.refund``: each batch on its own, because a lease that two of them name counts twice."""
    given: list[int] = []
    for leases in batches:
        given.append(int(await session.value("SELECT @schema@.refund($1, $2)", *_pairs(leases))))
    return given


async def note(session: Session, notes: Sequence[tuple[Lease, str]]) -> list[bool]:
    """Checkpoints in one statement, unless two are of one job: then in their order."""
    leases = [lease for lease, _ in notes]
    if len({lease.seq for lease in leases}) < len(leases):
        return [(await note(session, [one]))[0] for one in notes]
    held = await _note(session, leases, [None] * len(notes), [state for _, state in notes], synced=True)
    return [place in held for place in range(1, len(notes) + 1)]


async def report(session: Session, batches: Sequence[Sequence[tuple[Lease, str]]]) -> list[None]:
    """Progress; of an attempt the latest."""
    latest = {lease: progress for batch in batches for lease, progress in batch}
    await _note(session, list(latest), list(latest.values()), [None] * len(latest), synced=False)
    return [None] * len(batches)


async def _note(
    session: Session, leases: Sequence[Lease], progresses: Sequence[str | None], states: Sequence[str | None], *, synced: bool
) -> set[int]:
    """The places, from 1, of those leases that hold."""
    rows = await session.fetch("SELECT @schema@.note($1, $2, $3, $4, $5)", *_pairs(leases), progresses, states, synced)
    return {row[0] for row in rows}


async def lapsed(session: Session, batches: Sequence[Sequence[Lease]]) -> list[list[Lease]]:
    leases = [lease for batch in batches for lease in batch]
    held = {row[0] for row in await session.fetch("SELECT @schema@.held($1, $2)", *_pairs(leases))}
    holds = iter([place in held for place in range(1, len(leases) + 1)])
    return [[lease for lease in batch if not next(holds)] for batch in batches]


async def held(session: Session, batches: Sequence[Sequence[Lease]]) -> list[list[Lease]]:
    """Those whose jobs somebody paused."""
    leases = [lease for batch in batches for lease in batch]
    places = {row[0] for row in await session.fetch("SELECT @schema@.paused_among($1, $2)", *_pairs(leases))}
    stops = iter([place in places for place in range(1, len(leases) + 1)])
    return [[lease for lease in batch if next(stops)] for batch in batches]


def _pairs(leases: Sequence[Lease]) -> tuple[list[int], list[int]]:
    return [lease.seq for lease in leases], [lease.token for lease in leases]
