"""The words everything else is made of: jobs, their statuses and legal moves, leases, transitions.

Frozen records only: nothing here reads a clock, a file or a setting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from scheduler.pauses import PauseRequest
from scheduler.values import decode_json


class Status(StrEnum):
    """Where a job stands. Values are stable: scripts and stores depend on them."""

    PENDING = "pending"
    PROCESSING = "processing"
    RATE_LIMITED = "rate_limited"
    RETRY_AI = "retry_ai"
    COMPLETED = "completed"
    FAILED_AI = "failed_ai"
    FAILED_PAYLOAD_PARSING = "failed_payload_parsing"
    FAILED_JOB_LOGIC = "failed_job_logic"
    FAILED_TIMEOUT = "failed_timeout"
    CANCELLED = "cancelled"

    @property
    def is_waiting(self) -> bool:
        return self in WAITING

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL

    @property
    def is_failure(self) -> bool:
        """A terminal failure: ``failed_*``, not ``cancelled``."""
        return self in FAILED


WAITING = frozenset({Status.PENDING, Status.RATE_LIMITED, Status.RETRY_AI})
FAILED = frozenset({Status.FAILED_AI, Status.FAILED_PAYLOAD_PARSING, Status.FAILED_JOB_LOGIC, Status.FAILED_TIMEOUT})
TERMINAL = FAILED | {Status.COMPLETED, Status.CANCELLED}
UNFINISHED = WAITING | {Status.PROCESSING}

_AFTER_AN_ATTEMPT = TERMINAL | {Status.RATE_LIMITED, Status.RETRY_AI, Status.PENDING}
_ONLY_CLAIM_OR_CANCEL = frozenset({Status.PROCESSING, Status.CANCELLED})

#: The legal moves. Every store obeys this table; ``docs/states.md`` is drawn from it.
#: ``processing -> pending`` is a hand-back (shutdown, lost worker); a terminal failure or a
#: cancelled job goes back to ``pending`` only by an operator's explicit retry.
LEGAL: Mapping[Status, frozenset[Status]] = MappingProxyType(
    {
        Status.PENDING: _ONLY_CLAIM_OR_CANCEL,
        Status.RATE_LIMITED: _ONLY_CLAIM_OR_CANCEL,
        Status.RETRY_AI: _ONLY_CLAIM_OR_CANCEL,
        Status.PROCESSING: _AFTER_AN_ATTEMPT,
        Status.COMPLETED: frozenset(),
        Status.FAILED_AI: frozenset({Status.PENDING}),
        Status.FAILED_PAYLOAD_PARSING: frozenset({Status.PENDING}),
        Status.FAILED_JOB_LOGIC: frozenset({Status.PENDING}),
        Status.FAILED_TIMEOUT: frozenset({Status.PENDING}),
        Status.CANCELLED: frozenset({Status.PENDING}),
    }
)

#: What an operator may retry: everything that may go back to ``pending`` by hand.
RETRYABLE = FAILED | {Status.CANCELLED}


class NewJob(NamedTuple):
    """One job to enqueue.

    ``run_after`` is an aware ``datetime``, seconds since the epoch, or a ``timedelta`` from now.
    ``priority``: higher goes first within a lane. ``unique_key``: while an unfinished job of
    the same owner has it, enqueueing again returns that job. ``owner`` filters who may see and touch the job.
    ``max_attempts`` and ``timeout_s`` override the handler's and the configuration's.
    ``force`` runs the job although nothing that its result depends on has changed.
    ``batch`` names a group of the owner's jobs. ``after`` names what must have ended before this job runs: job ids, or ``batch:NAME``;
    ``if_failed`` says what becomes of it if one of those failed or was cancelled: ``"fail"``, ``"cancel"``, or ``"run"`` anyway.
    ``request_key`` names this very request, for a caller that may have to send it again: for a day the owner gets the same job for the
    same key and body, whatever became of the job, and ``IdempotencyConflictError`` for another body.
    ``webhook`` is a URL that is told how the job ended; jobs in bulk take none.

    A named tuple, as ``Draft``, ``Receipt`` and ``Job`` are: one is made for every job, and a frozen dataclass costs four
    to seven times as much.
    """

    task_type: str
    target_type: str = ""
    target_id: str = ""
    payload: Any = None
    priority: int = 0
    run_after: datetime | timedelta | float | None = None
    unique_key: str | None = None
    owner: str | None = None
    max_attempts: int | None = None
    timeout_s: float | None = None
    force: bool = False
    batch: str | None = None
    after: Sequence[str] = ()
    if_failed: str = "fail"
    request_key: str | None = None
    webhook: str | None = None


class Draft(NamedTuple):
    """A ``NewJob`` that passed the door: checked, encoded, ready for a store.

    ``owner_limit``: its owner may have so many unfinished jobs, this one included. ``strict``: what it waits for must exist; a follow-up
    is stored with the end of another job, where nothing can be refused any more, and counts what does not exist as failed.
    ``request``: the caller's key for this request, and a hash of all that it sent.
    """

    job_id: str
    task_type: str
    target_type: str
    target_id: str
    payload_json: str | None
    priority: int
    run_after: float
    unique_key: str | None
    owner: str | None
    max_attempts: int | None
    timeout_s: float | None
    fingerprint: str | None
    force: bool = False
    batch: str | None = None
    after: tuple[str, ...] = ()
    if_failed: str = "fail"
    owner_limit: int | None = None
    strict: bool = True
    request: tuple[str, str] | None = None


BATCH_PREFIX = "batch:"


def batch_key(owner: str | None, batch: str) -> str:
    """What jobs wait for that wait for the owner's batch. No batch's name has a newline."""
    return f"{BATCH_PREFIX}{batch}\n{owner or ''}"


class Receipt(NamedTuple):
    """The acknowledgement of an enqueue: the job is durable when you hold it.

    ``created`` is False when an unfinished job already had the ``unique_key``, or when the target
    is ``unchanged`` (freshness), or when the same request was sent before: ``job_id`` then names the job that stands for it.
    """

    job_id: str
    created: bool = True
    unchanged: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running job says it is: ``current`` of ``total``, where it counts something, and ``percent`` of all its work.

    ``rate`` is percent a second of work, ``left_s`` the seconds of work that are left at that; None while unknown. ``at`` is when
    it was said, seconds since the epoch.
    """

    percent: float
    message: str = ""
    current: float | None = None
    total: float | None = None
    rate: float | None = None
    left_s: float | None = None
    at: float | None = None


class Job(NamedTuple):
    """A job as a store holds it. Times are seconds since the epoch.

    ``blockers``: so many of those that it waits for have not ended. ``doomed``: one of them failed; what is to become of this job, and
    which one it was. ``held``: somebody paused this very job.
    """

    seq: int
    job_id: str
    task_type: str
    target_type: str
    target_id: str
    payload_json: str | None
    status: Status
    reason: str | None
    error: str | None
    priority: int
    run_after: float
    attempts: int
    crashes: int
    max_attempts: int | None
    timeout_s: float | None
    token: int
    worker: str | None
    unique_key: str | None
    owner: str | None
    fingerprint: str | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    waiting_since: float | None
    result_json: str | None
    progress_json: str | None
    state_json: str | None
    batch: str | None = None
    blockers: int = 0
    doomed: str | None = None
    held: bool = False

    @property
    def payload(self) -> Any:
        """The decoded payload; None when there is none. Raises ``ValueError`` if it is not JSON."""
        return None if self.payload_json is None else decode_json(self.payload_json)

    @property
    def result(self) -> Any:
        """What the handler returned, decoded; None before that."""
        return None if self.result_json is None else decode_json(self.result_json)

    @property
    def state(self) -> Any:
        """The last checkpoint, decoded; None without one."""
        return None if self.state_json is None else decode_json(self.state_json)

    @property
    def progress(self) -> Progress | None:
        return None if self.progress_json is None else Progress(**decode_json(self.progress_json))


#: How items ended, to select by: True done, False failed, None to be tried again.
Oks = frozenset[bool | None]


class Item(NamedTuple):
    """What the ledger of a long job says of one item. ``ok`` is None for one that is to be tried again."""

    position: int
    key: str
    ok: bool | None
    error: str | None = None
    value_json: str | None = None

    @property
    def value(self) -> Any:
        """What the work returned for it, decoded; None without one."""
        return None if self.value_json is None else decode_json(self.value_json)


class Ledger(NamedTuple):
    """One pass of a job over its items, and how far it is.

    Every item before ``next`` has an outcome, but for those to be tried again; some after it may have one already. ``total`` is None
    while it is not known. ``counters`` are the handler's own.
    """

    name: str
    total: int | None
    next: int
    done: int
    failed: int
    counters_json: str = "{}"

    @property
    def counters(self) -> dict[str, float]:
        counters: dict[str, float] = decode_json(self.counters_json)
        return counters


class Lease(NamedTuple):
    """The exclusive right to one attempt: valid while the job is ``processing`` under ``token``.

    ``probing`` names the pause scopes that this attempt is the probe of.
    """

    seq: int
    job_id: str
    token: int
    probing: tuple[str, ...] = ()


class Transition(NamedTuple):
    """What an attempt's end changes, as decided; a store applies it in one guarded write.

    ``follow_ups`` are jobs that come to exist in the same write, if it applies.
    """

    status: Status
    reason: str | None = None
    error: str | None = None
    result_json: str | None = None
    run_after: float | None = None
    refund: bool = False
    crashed: bool = False
    waiting_since: float | None = None
    pause: PauseRequest | None = None
    follow_ups: tuple[Draft, ...] = ()
