"""What runs inside a write transaction, as plain functions of the connection.

They run in the writer's thread. Bulk statements take many rows in one step, because every step hands the
GIL to the event loop and waits to get it back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, groupby
from typing import Any

import pydantic_core

from scheduler import pauses
from scheduler.job import LEGAL, UNFINISHED, WAITING, Draft, Job, Lease, Receipt, Status, Transition
from scheduler.pauses import Gate, PauseWindow
from scheduler.stores.base import Claim, Claims, JobQuery, Settled, Settlement, Want, Worker
from scheduler.stores.sqlite.query import JOBS_SQL, where
from scheduler.stores.sqlite.rows import (
    DRAFT_COLUMNS,
    JOB_ARRAY,
    PAUSE_COLUMNS,
    WORKER_COLUMNS,
    chunks,
    draft_values,
    job_from,
    us,
    us_or_none,
    values_text,
    window_from,
    window_values,
    worker_values,
)

#: Scheduled jobs that fell due are made claimable in such portions; the rest follow with the next claim.
PROMOTE = 1_000

#: Jobs inserted in one step, at most: a portion of the bulk path. SQLite binds 32,766 values, 14 are a job's.
_INSERTS = (1_024, 128, 16, 1)

#: Written out, as the partial indexes have it: only so can they be used.
_UNFINISHED = "status IN ('pending', 'processing', 'rate_limited', 'retry_ai')"


# -- jobs in


def enqueue(connection: sqlite3.Connection, drafts: Sequence[Draft], now: float) -> list[Receipt]:
    """Insert ``drafts``; those with a unique key or a fingerprint are looked up first."""
    now_us = us(now)
    if not any(draft.unique_key or draft.fingerprint for draft in drafts):
        for chunk in chunks(drafts, _INSERTS):
            rows = chain.from_iterable([draft_values(draft, now_us) for draft in chunk])
            connection.execute(f"INSERT INTO jobs ({DRAFT_COLUMNS}) {values_text(len(chunk), 14)}", tuple(rows))
        return [Receipt(draft.job_id) for draft in drafts]
    return [_enqueue_one(connection, draft, now_us) for draft in drafts]


def _enqueue_one(connection: sqlite3.Connection, draft: Draft, now_us: int) -> Receipt:
    standing = _standing(connection, draft)
    if standing is not None:
        return standing
    connection.execute(f"INSERT INTO jobs ({DRAFT_COLUMNS}) {values_text(1, 14)}", draft_values(draft, now_us))
    return Receipt(draft.job_id)


def _standing(connection: sqlite3.Connection, draft: Draft) -> Receipt | None:
    """The receipt for a job that already stands for ``draft``."""
    if draft.unique_key is not None:
        row = connection.execute(
            f"SELECT job_id FROM jobs WHERE unique_key = ? AND owner IS ? AND {_UNFINISHED}",
            (draft.unique_key, draft.owner),
        ).fetchone()
        if row:
            return Receipt(row[0], created=False)
    if draft.fingerprint is None:
        return None
    row = connection.execute(
        "SELECT job_id FROM jobs WHERE fingerprint = ? AND target_id = ? AND task_type = ? AND target_type = ? AND owner IS ? "
        f"AND {_UNFINISHED}",
        (draft.fingerprint, draft.target_id, draft.task_type, draft.target_type, draft.owner),
    ).fetchone()
    if row:
        return Receipt(row[0], created=False)
    if draft.force:
        return None
    row = connection.execute(
        "SELECT job_id, fingerprint FROM freshness "
        "WHERE owner = ifnull(?, char(0)) AND task_type = ? AND target_type = ? AND target_id = ?",
        (draft.owner, draft.task_type, draft.target_type, draft.target_id),
    ).fetchone()
    return Receipt(row[0], created=False, unchanged=True) if row and row[1] == draft.fingerprint else None


# -- attempts


def claim(connection: sqlite3.Connection, wants: Sequence[Want], worker: str, now: float) -> Claims:
    """Claim for each want in order; see ``Store.claim``."""
    now_us = us(now)
    windows = {window.scope: window for window in map(window_from, connection.execute(f"SELECT {PAUSE_COLUMNS} FROM pauses"))}
    claims: list[Claim] = []
    short: set[str] = set()
    for want in wants:
        got = _claim_lane(connection, want, windows, worker, now, now_us)
        claims.extend(got)
        if len(got) < want.limit:
            short.add(want.task_type)
    return Claims(claims, frozenset(short))


def _promote(connection: sqlite3.Connection, want: Want, now_us: int) -> None:
    """Lane by lane, and only of open ones: a paused lane's due jobs must not crowd out another's."""
    connection.execute(
        "UPDATE jobs SET ready = 1 WHERE seq IN "
        "(SELECT seq FROM jobs WHERE ready = 0 AND task_type = ? AND run_after_us <= ? ORDER BY run_after_us LIMIT ?)",
        (want.task_type, now_us, max(PROMOTE, want.limit)),
    )


def _claim_lane(
    connection: sqlite3.Connection, want: Want, windows: dict[str, PauseWindow], worker: str, now: float, now_us: int
) -> list[Claim]:
    gates = {scope: windows[scope].gate(now) for scope in want.scopes if scope in windows}
    if Gate.CLOSED in gates.values() or Gate.PROBING in gates.values():
        return []
    probing = tuple(scope for scope, gate in gates.items() if gate is Gate.PROBE)
    _promote(connection, want, now_us)
    rows = _take(connection, want, min(want.limit, 1) if probing else want.limit, worker, now_us)
    claims = [_claim_from(row, worker, now_us, probing) for row in rows]
    if claims and probing:
        for scope in probing:
            window = windows[scope] = _with_probe(windows[scope], claims[0].job.job_id)
            _save_window(connection, window)
    return claims


def _take(connection: sqlite3.Connection, want: Want, limit: int, worker: str, now_us: int) -> list[list[Any]]:
    """The rows as they were; they are ``processing`` now.

    A claim may ride in one transaction with an enqueue whose clock was read a moment later: no job starts before
    it is due, so the later of the two readings is its start.
    """
    only = f" AND target_type IN ({', '.join('?' * len(want.target_types))})" if want.target_types is not None else ""
    packed = connection.execute(
        f"SELECT CAST(json_group_array({JOB_ARRAY}) AS BLOB) FROM (SELECT * FROM jobs WHERE task_type = ? AND ready = 1{only} "
        "ORDER BY priority DESC, seq LIMIT ?)",
        (want.task_type, *(want.target_types or ()), limit),
    ).fetchone()[0]
    rows = _unpacked(packed)
    if rows:
        connection.execute(
            "UPDATE jobs SET status = 'processing', attempts = attempts + 1, token = token + 1, worker = ?, "
            "started_us = max(?, run_after_us), ready = NULL "
            "WHERE seq IN (SELECT value FROM json_each(?))",
            (worker, now_us, str([row[0] for row in rows])),
        )
    return sorted(rows, key=lambda row: (-row[9], row[0]))


def _unpacked(packed: bytes) -> list[list[Any]]:
    try:
        rows: list[list[Any]] = pydantic_core.from_json(packed)
    except ValueError:  # some text is not UTF-8: mark the bad bytes, so that only its own job fails
        rows = pydantic_core.from_json(packed.decode("utf-8", "replace"))
    return rows


def _claim_from(row: list[Any], worker: str, now_us: int, probing: tuple[str, ...]) -> Claim:
    row[6], row[11], row[15], row[16], row[21] = "processing", row[11] + 1, row[15] + 1, worker, max(now_us, row[10])
    return Claim(job_from(row), Lease(row[0], row[1], row[15], probing))


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
    return settled


def _is_at_gate(settlement: Settlement) -> bool:
    return settlement.transition.pause is not None or bool(settlement.lease.probing)


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
        "result_json = coalesce(ended.result, result_json), run_after_us = coalesce(ended.run_after, run_after_us), "
        "attempts = max(attempts - ended.refund, 0), crashes = crashes + ended.crashed, waiting_us = ended.waiting, "
        "finished_us = ended.finished, ready = ended.ready, worker = NULL, "
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
    """A settlement that sets a pause, or is a probe's: job and windows change together."""
    if _settle_rows(connection, [settlement], us(now)) == 0:
        return Settled(False)
    lease, end = settlement.lease, settlement.transition
    window, resumed = None, []
    if end.pause is not None:
        stored = _window(connection, end.pause.scope)
        window = pauses.extended(stored, end.pause, now)
        _save_window(connection, window)
    for scope in lease.probing:
        probed = _window(connection, scope)
        # A window that was extended or set by hand meanwhile is not this probe's to end.
        if end.status is Status.COMPLETED and probed and probed.probe == lease.job_id and probed.gate(now) is Gate.PROBING:
            connection.execute("DELETE FROM pauses WHERE scope = ?", (scope,))
            resumed.append(scope)
    return Settled(True, window, tuple(resumed))


def note(connection: sqlite3.Connection, lease: Lease, progress_json: str | None, state_json: str | None) -> bool:
    changed = connection.execute(
        "UPDATE jobs SET progress_json = coalesce(?, progress_json), state_json = coalesce(?, state_json) "
        "WHERE seq = ? AND token = ? AND status = 'processing'",
        (progress_json, state_json, lease.seq, lease.token),
    )
    return changed.rowcount == 1


# -- people


def matching(connection: sqlite3.Connection, query: JobQuery, also: str = "1") -> list[Job]:
    sql, values = where(query)
    sql = f"{sql} AND {also}"
    return [job_from(row) for row in connection.execute(JOBS_SQL.format(where=sql, order="seq"), (*values, query.limit))]


def _change(connection: sqlite3.Connection, jobs: Iterable[Job], assignments: str, values: tuple[Any, ...]) -> None:
    ids = str([job.seq for job in jobs])
    connection.execute(f"UPDATE jobs SET {assignments} WHERE seq IN (SELECT value FROM json_each(?))", (*values, ids))


def cancel(connection: sqlite3.Connection, query: JobQuery, now: float) -> list[Job]:
    jobs = [job for job in matching(connection, query) if job.status in UNFINISHED]
    _change(connection, jobs, "status = 'cancelled', reason = 'cancelled', finished_us = ?, ready = NULL, worker = NULL", (us(now),))
    forget_probes(connection, [job.job_id for job in jobs])
    return jobs


_KEY_IS_FREE = (
    "(unique_key IS NULL OR NOT EXISTS (SELECT 1 FROM jobs AS held WHERE held.unique_key = jobs.unique_key AND held.owner IS jobs.owner "
    f"AND held.{_UNFINISHED}))"
)


def retry(connection: sqlite3.Connection, query: JobQuery, now: float) -> list[Job]:
    sent: list[Job] = []
    keys: set[tuple[str | None, str]] = set()
    for job in matching(connection, query, _KEY_IS_FREE):
        if job.unique_key is not None:  # two failed jobs may have had the same key
            if (job.owner, job.unique_key) in keys:
                continue
            keys.add((job.owner, job.unique_key))
        sent.append(job)
    _change(
        connection,
        sent,
        "status = 'pending', reason = NULL, error = NULL, attempts = 0, crashes = 0, result_json = NULL, progress_json = NULL, "
        "waiting_us = NULL, started_us = NULL, finished_us = NULL, run_after_us = ?, ready = 1",
        (us(now),),
    )
    return sent


def give_up(
    connection: sqlite3.Connection, query: JobQuery, transition_of: Callable[[Job], Transition], now: float
) -> list[tuple[Job, Transition]]:
    ended = [(job, transition_of(job)) for job in matching(connection, query)]
    for job, end in ended:
        _change(
            connection,
            [job],
            "status = ?, reason = ?, error = ?, token = token + 1, waiting_us = NULL, finished_us = ?, ready = NULL",
            (end.status.value, end.reason, end.error, us(now)),
        )
    return ended


def prune(connection: sqlite3.Connection, statuses: frozenset[Status], before: float, limit: int) -> int:
    if not statuses:
        return 0
    marks = ", ".join("?" * len(statuses))
    return connection.execute(
        "DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs INDEXED BY jobs_finished "
        f"WHERE finished_us IS NOT NULL AND finished_us < ? AND status IN ({marks}) ORDER BY finished_us LIMIT ?)",
        (us(before), *map(str, statuses), limit),
    ).rowcount


# -- workers


def register(connection: sqlite3.Connection, worker: Worker) -> None:
    connection.execute(f"INSERT INTO workers ({WORKER_COLUMNS}) {values_text(1, 10)}", worker_values(worker))


def dismiss(connection: sqlite3.Connection, worker_id: str) -> None:
    connection.execute("DELETE FROM workers WHERE worker_id = ?", (worker_id,))


# -- pauses


def pause(connection: sqlite3.Connection, scope: str, until: float, now: float) -> PauseWindow:
    window = pauses.paused_by_hand(_window(connection, scope), scope, until, now)
    _save_window(connection, window)
    return window


def resume(connection: sqlite3.Connection, scope: str) -> PauseWindow | None:
    window = _window(connection, scope)
    connection.execute("DELETE FROM pauses WHERE scope = ?", (scope,))
    return window


def forget_probes(connection: sqlite3.Connection, job_ids: Sequence[str]) -> None:
    """Let the next job probe in place of these."""
    if connection.execute("SELECT 1 FROM pauses WHERE probe IS NOT NULL LIMIT 1").fetchone():
        connection.executemany("UPDATE pauses SET probe = NULL WHERE probe = ?", [(job_id,) for job_id in job_ids])


def _window(connection: sqlite3.Connection, scope: str) -> PauseWindow | None:
    row = connection.execute(f"SELECT {PAUSE_COLUMNS} FROM pauses WHERE scope = ?", (scope,)).fetchone()
    return None if row is None else window_from(row)


def _with_probe(window: PauseWindow, job_id: str) -> PauseWindow:
    return PauseWindow(window.scope, window.until, window.reason, window.set_at, window.set_by, window.strikes, job_id)


def _save_window(connection: sqlite3.Connection, window: PauseWindow) -> None:
    connection.execute(f"INSERT OR REPLACE INTO pauses ({PAUSE_COLUMNS}) {values_text(1, 7)}", window_values(window))
