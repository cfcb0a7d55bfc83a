"""The oracle of the fault tests: replays the rules over what clients, handlers and the store's audit trail say.

``check`` is pure: evidence in, violations out, each beginning with the number of its rule:

    1 an acknowledged job exists          7 progress never goes back within an attempt
    2 one lease at a time, tokens grow    9 concurrency holds at every instant
    3 only the lease's holder writes     10 nothing starts before it is due
    4 one terminal outcome, one event    11 one unfinished job for a unique key
    5 attempts are counted exactly       12 once the faults stop, everything ends
    6 no claim passes a stored pause     13 every process has an identity of its own
                                         14 what was refused is not there
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scheduler.job import LEGAL, TERMINAL, UNFINISHED, Status

Row = dict[str, Any]

#: Ends of an attempt that give it back.
_REFUNDED = {"rate_limited", "overloaded", "quota_exhausted", "outage", "interrupted", "worker_lost", "gave_up_waiting", "store_busy"}
#: Ends that only a fault in a handler brings about.
_FAULTS = {"handler_error", "timeout", "bad_result"}
#: SQLite's own clock counts whole milliseconds.
_CLOCK_GRAIN_US = 2_000
_TERMINAL_EVENTS = {"job.completed", "job.failed"}


@dataclass(frozen=True)
class Evidence:
    """What is known of a campaign.

    ``limits`` is the greatest number of jobs at once, by task type, "" for all; ``pools`` the pause scope of each
    task type's pool. ``blameless``: no handler has a fault of its own or runs into its time limit, so that what is counted
    against a job as one is the store's trouble.
    """

    clients: list[Row]
    runs: list[Row]
    events: list[Row]
    audit: list[Row]
    jobs: list[Row]
    max_attempts: int = 3
    limits: dict[str, int] = field(default_factory=dict)
    pools: dict[str, str] = field(default_factory=dict)
    blameless: bool = False


def evidence_in(folder: Path, **known: Any) -> Evidence:
    """What the processes of a campaign left in ``folder``."""
    connection = sqlite3.connect(f"file:{folder}/jobs.db?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        audit = [dict(row) for row in connection.execute("SELECT * FROM audit ORDER BY n")]
        jobs = [dict(row) for row in connection.execute("SELECT * FROM jobs ORDER BY seq")]
    finally:
        connection.close()
    return Evidence(lines(folder, "client-*"), lines(folder, "runs-*"), lines(folder, "events-*"), audit, jobs, **known)


def lines(folder: Path, pattern: str) -> list[Row]:
    """What all processes wrote to files of such a name."""
    return [json.loads(line) for path in sorted(folder.glob(f"{pattern}.jsonl")) for line in path.read_text("utf-8").splitlines()]


def check(seen: Evidence) -> list[str]:
    """The violations found; none when all is well."""
    rules = (_acknowledged, _moves, _runs, _outcomes, _pauses, _windows, _progress, _concurrency, _keys, _ended, _identities, _refused)
    return [violation for rule in rules for violation in rule(seen)]


def _acknowledged(seen: Evidence) -> Iterator[str]:
    there = {job["job_id"] for job in seen.jobs} | {row["job_id"] for row in seen.audit if row["kind"] == "deleted"}
    for line in seen.clients:
        if line["what"] == "ack" and line["job"] not in there:
            yield f"1 job {line['job']} was acknowledged and is gone"


def _moves(seen: Evidence) -> Iterator[str]:
    """Rules 2, 3, 4, 5 and 10 along each job's trail."""
    for job_id, trail in _trails(seen.audit).items():
        status, token, attempts = Status.PENDING, 0, 0
        for row in trail:
            if row["kind"] == "refunded":
                yield from _given_back(row, status, attempts)
                attempts = row["attempts"]
                continue
            if row["was"] != status:
                yield f"3 job {job_id}: a move from {row['was']} where the trail stood at {status}"
            following = Status(row["now"])
            if following not in LEGAL[Status(row["was"])] and not _gave_up(row):
                yield f"4 job {job_id}: {row['was']} -> {following} is no legal move"
            if following is Status.PROCESSING:
                yield from _claimed(row, token, attempts)
            elif row["was"] == Status.PROCESSING:
                yield from _left(row, token, attempts, seen.max_attempts)
                if seen.blameless and row["reason"] in _FAULTS:
                    yield f"5 job {job_id}: charged with {row['reason']}, which no handler here brings about"
            status, token, attempts = following, row["token"], row["attempts"]


def _given_back(row: Row, status: Status, attempts: int) -> Iterator[str]:
    """An attempt that was counted, given back by ``refund``."""
    if row["attempts"] != attempts - 1 or row["attempts"] < 0:
        yield f"5 job {row['job_id']}: {row['attempts']} attempts after one of {attempts} was given back"
    if status not in UNFINISHED:
        yield f"5 job {row['job_id']}: an attempt was given back of a job that is {status}"


def _gave_up(row: Row) -> bool:
    """``rate_limited`` to ``failed_ai`` in one write: a claim and its end."""
    return bool(row["was"] == Status.RATE_LIMITED and row["reason"] == "gave_up_waiting")


def _claimed(row: Row, token: int, attempts: int) -> Iterator[str]:
    if row["token"] <= token:
        yield f"2 job {row['job_id']}: claimed with token {row['token']} after {token}"
    if row["attempts"] != attempts + 1:
        yield f"5 job {row['job_id']}: the claim made {row['attempts']} attempts of {attempts}"
    if row["started_us"] < row["run_after_us"]:
        yield f"10 job {row['job_id']}: started {(row['run_after_us'] - row['started_us']) / 1e6:.6f} s before it was due"


def _left(row: Row, token: int, attempts: int, max_attempts: int) -> Iterator[str]:
    if row["token"] != token:
        yield f"3 job {row['job_id']}: ended under token {row['token']}, held under {token}"
    given_back = row["reason"] in _REFUNDED
    if row["attempts"] != attempts - given_back:
        yield f"5 job {row['job_id']}: {row['attempts']} attempts after {row['now']}/{row['reason']} with {attempts}"
    if not 0 <= row["attempts"] <= (row["max_attempts"] or max_attempts):
        yield f"5 job {row['job_id']}: {row['attempts']} attempts"
    if row["now"] == "failed_ai" and row["reason"] == "provider_error" and row["attempts"] != (row["max_attempts"] or max_attempts):
        yield f"5 job {row['job_id']}: failed for good after {row['attempts']} attempts"


def _runs(seen: Evidence) -> Iterator[str]:
    """Rule 2: a handler runs once under each token, and only under one that was claimed."""
    claimed = {(row["job_id"], row["token"]) for row in seen.audit if row["kind"] == "move" and row["now"] == Status.PROCESSING}
    started = Counter((line["job"], line["token"]) for line in seen.runs if line["what"] == "start")
    for (job_id, token), times in started.items():
        if times > 1:
            yield f"2 job {job_id}: ran {times} times under token {token}"
        if (job_id, token) not in claimed:
            yield f"2 job {job_id}: ran under token {token}, which nobody claimed"


def _outcomes(seen: Evidence) -> Iterator[str]:
    """Rules 3 and 4: what is recorded is what the last holder of the lease did, or somebody's cancellation; told at most once."""
    returned = {(line["job"], line["token"]) for line in seen.runs if line["what"] == "end" and line["how"] == "returned"}
    told = Counter(line["job_id"] for line in seen.events if line["what"] in _TERMINAL_EVENTS)
    retried = Counter(row["job_id"] for row in seen.audit if row["kind"] == "move" and row["was"] in TERMINAL and row["now"] == "pending")
    status_of = {job["job_id"]: job["status"] for job in seen.jobs if job["job_id"] not in retried}
    for job in seen.jobs:
        if job["status"] == Status.COMPLETED:
            token = json.loads(job["result_json"] or "{}").get("token")
            if token != job["token"] or (job["job_id"], token) not in returned:
                yield f"3 job {job['job_id']}: completed under token {job['token']} with the result of {token}"
    cancelled = Counter(row["job_id"] for row in seen.audit if row["kind"] == "move" and row["now"] == Status.CANCELLED)
    cancelled.subtract(line["job"] for line in seen.clients if line["what"] in ("cancelled", "cancelled_perhaps"))
    for job_id in +cancelled:
        yield f"3 job {job_id}: was cancelled by nobody"
    for job_id, times in told.items():
        if times > 1 + retried[job_id]:
            yield f"4 job {job_id}: its end was told {times} times"
    for line in seen.events:
        if line["what"] in _TERMINAL_EVENTS and status_of.get(line["job_id"], line["status"]) != line["status"]:
            yield f"4 job {line['job_id']}: told as {line['status']}, stored as {status_of[line['job_id']]}"


def _pauses(seen: Evidence) -> Iterator[str]:
    """Rule 6: a claim may pass a window only after its end, and then as its one probe."""
    windows: dict[str, Row] = {}
    for index, row in enumerate(seen.audit):
        if row["kind"] == "paused":
            windows[row["scope"]] = row
        elif row["kind"] == "resumed":
            windows.pop(row["scope"], None)
        elif row["kind"] == "move" and row["now"] == Status.PROCESSING:
            for scope in (row["task_type"], seen.pools.get(row["task_type"], "")):
                if scope in windows:
                    yield from _passed(seen.audit, index, windows[scope])


def _passed(audit: list[Row], index: int, window: Row) -> Iterator[str]:
    """The claim in row ``index`` passed ``window``. The probe is named in the window's next note, of the same transaction."""
    claim, scope = audit[index], window["scope"]
    if window["until_us"] is None or claim["started_us"] < window["until_us"]:
        yield f"6 job {claim['job_id']}: claimed while {scope} was paused"
    elif window["reason"] != "manual":
        following = next((row for row in audit[index + 1 :] if row["kind"] in ("paused", "resumed") and row["scope"] == scope), window)
        if window["job_id"] is not None or following["kind"] != "paused" or following["job_id"] != claim["job_id"]:
            yield f"6 job {claim['job_id']}: claimed beside the probe of {scope}"


def _windows(seen: Evidence) -> Iterator[str]:
    """Rule 6: a window is extended, never shortened, and goes before its end only by somebody's hand."""
    by_hand = Counter(line["scope"] for line in seen.clients if line["what"] == "resumed")
    ends: dict[str, float] = {}
    for row in seen.audit:
        if row["kind"] == "paused":
            end = float("inf") if row["until_us"] is None else row["until_us"]
            if end < ends.get(row["scope"], 0):
                yield f"6 scope {row['scope']}: its pause was shortened by {(ends[row['scope']] - end) / 1e6:.3f} s"
            ends[row["scope"]] = end
        elif row["kind"] == "resumed" and row["at_us"] + _CLOCK_GRAIN_US < ends.pop(row["scope"], 0):
            by_hand[row["scope"]] -= 1
            if by_hand[row["scope"]] < 0:
                yield f"6 scope {row['scope']}: opened before its pause was over"


def _progress(seen: Evidence) -> Iterator[str]:
    last: dict[tuple[str, int], float] = {}
    for row in seen.audit:
        if row["kind"] == "progress" and row["percent"] is not None:
            key = (row["job_id"], row["token"])
            if row["now"] != Status.PROCESSING:
                yield f"3 job {row['job_id']}: progress was written while it was {row['now']}"
            if row["percent"] < last.get(key, 0.0):
                yield f"7 job {row['job_id']}: progress went from {last[key]} back to {row['percent']}"
            last[key] = row["percent"]


def _concurrency(seen: Evidence) -> Iterator[str]:
    """Rule 9, for each process: its handlers' starts and ends in the order in which it wrote them."""
    running: Counter[tuple[int, str]] = Counter()
    for line in seen.runs:
        for name in ("", line["task_type"]):
            running[line["pid"], name] += 1 if line["what"] == "start" else -1
            if running[line["pid"], name] > seen.limits.get(name, 1_000_000):
                yield f"9 process {line['pid']}: {running[line['pid'], name]} handlers of {name or 'all types'} at once"


def _keys(seen: Evidence) -> Iterator[str]:
    holder: dict[str, str] = {}
    for row in seen.audit:
        key = row.get("unique_key")
        if row["kind"] not in ("made", "move") or key is None:
            continue
        if row["now"] in UNFINISHED and holder.setdefault(key, row["job_id"]) != row["job_id"]:
            yield f"11 key {key}: held by {holder[key]} and {row['job_id']} at once"
        elif row["now"] in TERMINAL and holder.get(key) == row["job_id"]:
            del holder[key]


def _ended(seen: Evidence) -> Iterator[str]:
    for job in seen.jobs:
        if job["status"] not in TERMINAL:
            yield f"12 job {job['job_id']}: still {job['status']} ({job['reason']})"


def _identities(seen: Evidence) -> Iterator[str]:
    for worker, times in Counter(line["worker"] for line in seen.events if line["what"] == "service.started").items():
        if times > 1:
            yield f"13 worker {worker}: {times} processes"


def _refused(seen: Evidence) -> Iterator[str]:
    refused = {line["target"] for line in seen.clients if line["what"] == "refused"}
    for job in seen.jobs:
        if job["target_id"] in refused:
            yield f"14 job {job['job_id']}: was refused and is stored"


def _trails(audit: Iterable[Row]) -> dict[str, list[Row]]:
    trails: dict[str, list[Row]] = {}
    for row in audit:
        if row["kind"] in ("move", "refunded"):
            trails.setdefault(row["job_id"], []).append(row)
    return trails
