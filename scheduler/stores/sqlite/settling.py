"""Attempts end: the guarded write, and what hangs on the same lease; inside a write transaction.

Outcomes come by the hundred, so runs of plain ones go in by many rows a statement; those that touch a pause window go
one by one, job and window together. Does not belong here: what an outcome means (``decide.py``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, groupby
from typing import Any

from scheduler import pauses
from scheduler.job import LEGAL, TERMINAL, WAITING, Lease, Status
from scheduler.pauses import Gate
from scheduler.stores.base import Settled, Settlement
from scheduler.stores.sqlite import enqueueing, waits
from scheduler.stores.sqlite.gates import forget_probes, save_window, window_of
from scheduler.stores.sqlite.query import UNFINISHED_SQL
from scheduler.stores.sqlite.rows import chunks, us, us_or_none, values_text


def settle(connection: sqlite3.Connection, settlements: Sequence[Settlement], now: float) -> list[Settled]:
    """End attempts in order: runs of plain ones in bulk, those that touch pauses one by one."""
    settled: list[Settled] = []
    for at_gate, run in groupby(settlements, key=_is_at_gate):
        if at_gate:
            settled.extend(_settle_at_gate(connection, one, now) for one in run)
        else:
            settled.extend(_settle_plain(connection, list(run), us(now)))
    # Whoever was declared lost may have been a probe, and a lost job's lease does not say so.
    forget_probes(connection, [one.lease.job_id for one, end in zip(settlements, settled, strict=True) if end.applied])
    over = [one.lease.seq for one, end in zip(settlements, settled, strict=True) if end.applied and one.transition.status in TERMINAL]
    freed = waits.ended(connection, over, us(now)) if over else {}
    if freed:
        settled = [
            replace(end, freed=freed[one.lease.seq]) if end.applied and one.lease.seq in freed else end
            for one, end in zip(settlements, settled, strict=True)
        ]
    return settled


def _is_at_gate(settlement: Settlement) -> bool:
    end = settlement.transition
    return end.pause is not None or bool(settlement.lease.probing) or bool(end.follow_ups)


def _settle_plain(connection: sqlite3.Connection, settlements: Sequence[Settlement], now_us: int) -> list[Settled]:
    settled: list[Settled] = []
    for chunk in chunks(settlements):
        connection.execute("SAVEPOINT settle")
        if _settle_rows(connection, chunk, now_us) == len(chunk):
            settled.extend([_APPLIED] * len(chunk))
        else:  # some lease no longer holds: find out which
            connection.execute("ROLLBACK TO settle")
            settled.extend(Settled(_settle_rows(connection, [one], now_us) == 1) for one in chunk)
        connection.execute("RELEASE settle")
    return settled


_APPLIED = Settled(True)

_ENDED = ", ".join(
    f"column{number} AS {name}"
    for number, name in enumerate(
        ["seq", "token", "status", "reason", "error", "result", "run_after", "refund", "crashed", "waiting", "finished", "ready"],
        start=1,
    )
)


def _settle_rows(connection: sqlite3.Connection, settlements: Sequence[Settlement], now_us: int) -> int:
    values = chain.from_iterable(_settlement_values(one, now_us) for one in settlements)
    return connection.execute(
        "UPDATE jobs SET status = ended.status, reason = ended.reason, error = ended.error, "
        "result_json = coalesce(ended.result, result_json), "
        "run_after_us = CASE WHEN held_us IS NULL OR ended.ready IS NULL THEN coalesce(ended.run_after, run_after_us) "
        "ELSE max(coalesce(ended.run_after, run_after_us), held_us) END, "
        "due_us = CASE WHEN held_us IS NOT NULL THEN coalesce(ended.run_after, run_after_us) END, "
        "attempts = max(attempts - ended.refund, 0), crashes = crashes + ended.crashed, waiting_us = ended.waiting, "
        "finished_us = ended.finished, worker = NULL, "
        "ready = CASE WHEN ended.ready = 1 AND held_us IS NOT NULL THEN 0 ELSE ended.ready END, "
        "state_json = CASE ended.status WHEN 'completed' THEN NULL ELSE state_json END "
        f"FROM (SELECT {_ENDED} FROM ({values_text(len(settlements), 12)})) AS ended "
        "WHERE jobs.seq = ended.seq AND jobs.token = ended.token AND jobs.status = 'processing'",
        tuple(values),
    ).rowcount


def _settlement_values(settlement: Settlement, now_us: int) -> tuple[Any, ...]:
    lease, end = settlement.lease, settlement.transition
    status = end.status
    if status not in LEGAL[Status.PROCESSING]:
        raise ValueError(f"an attempt cannot end as {status}")
    run_after_us = us_or_none(end.run_after)
    ready = None if status not in WAITING else int(run_after_us is None or run_after_us <= now_us)
    finished_us = now_us if ready is None else None
    return (
        lease.seq, lease.token, status.value, end.reason, end.error, end.result_json, run_after_us, int(end.refund), int(end.crashed),
        us_or_none(end.waiting_since), finished_us, ready,
    )  # fmt: skip


def _settle_at_gate(connection: sqlite3.Connection, settlement: Settlement, now: float) -> Settled:
    """A settlement that sets a pause, is a probe's or has follow-ups: all of it changes together."""
    if _settle_rows(connection, [settlement], us(now)) == 0:
        return Settled(False)
    lease, end = settlement.lease, settlement.transition
    window, resumed = None, []
    if end.pause is not None:
        stored = window_of(connection, end.pause.scope)
        window = pauses.extended(stored, end.pause, now)
        save_window(connection, window)
    for scope in lease.probing:
        probed = window_of(connection, scope)
        # A window that was extended or set by hand meanwhile is not this probe's to end.
        if end.status is Status.COMPLETED and probed and probed.probe == lease.job_id and probed.gate(now) is Gate.PROBING:
            connection.execute("DELETE FROM pauses WHERE scope = ?", (scope,))
            resumed.append(scope)
    follow_ups = end.follow_ups if end.status is Status.COMPLETED else ()
    return Settled(True, window, tuple(resumed), tuple(enqueueing.enqueue(connection, follow_ups, now)) if follow_ups else ())


def refund(connection: sqlite3.Connection, leases: Sequence[Lease]) -> int:
    """See ``Store.refund``. One statement a lease: two attempts of one job are two to give back."""
    return connection.executemany(
        f"UPDATE jobs SET attempts = attempts - 1 WHERE seq = ? AND token >= ? AND attempts >= 1 AND {UNFINISHED_SQL}",
        {(lease.seq, lease.token) for lease in leases},
    ).rowcount


def note(connection: sqlite3.Connection, lease: Lease, state_json: str) -> bool:
    changed = connection.execute(
        "UPDATE jobs SET state_json = :state, crashes = CASE WHEN :state = state_json THEN crashes ELSE 0 END "
        "WHERE seq = :seq AND token = :token AND status = 'processing'",
        {"state": state_json, "seq": lease.seq, "token": lease.token},
    )
    return changed.rowcount == 1


def report(connection: sqlite3.Connection, progress: Sequence[tuple[Lease, str]]) -> None:
    """By many rows a statement: after each step the connection's thread waits for the GIL, and whoever claims waits behind it."""
    for chunk in chunks(progress):
        values = [value for lease, progress_json in chunk for value in (lease.seq, lease.token, progress_json)]
        connection.execute(
            "UPDATE jobs SET progress_json = said.progress FROM (SELECT column1 AS seq, column2 AS token, column3 AS progress "
            f"FROM ({values_text(len(chunk), 3)})) AS said "
            "WHERE jobs.seq = said.seq AND jobs.token = said.token AND jobs.status = 'processing'",
            values,
        )
