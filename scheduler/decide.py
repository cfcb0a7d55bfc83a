"""``decide``: the one place that says what an attempt's end means for its job.

Pure: looks at types and attributes (also inside an ``ExceptionGroup``), never at message text,
and takes the time and the dice from outside.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from scheduler.errors import (
    AIProviderError,
    InvalidOutputError,
    ItemsFailedError,
    OverloadedError,
    ProviderRefusedError,
    QuotaExhaustedError,
    RateLimitError,
    StoreBusyError,
    StoreFullError,
)
from scheduler.job import Job, Status, Transition
from scheduler.outcome import (
    BadPayload,
    BadResult,
    Cancelled,
    Doomed,
    Interrupted,
    Lost,
    Outcome,
    Raised,
    Returned,
    TimedOut,
    Unroutable,
    WaitedTooLong,
)
from scheduler.pauses import OUTAGE, PauseRequest, clamp_retry_after, pool_scope
from scheduler.policy import (
    LAST_ATTEMPT_AFTER_S,
    OUTAGE_PAUSE_CAP_S,
    OUTAGE_PAUSE_S,
    OVERLOAD_PAUSE_S,
    PAUSE_CAP_S,
    QUOTA_PAUSE_CAP_S,
    QUOTA_PAUSE_S,
    Policy,
    backoff_s,
)
from scheduler.pools.answers import error_from_exception
from scheduler.redact import redact
from scheduler.values import encode_json, printable

#: In a group of errors the one that says most about what to do next speaks for all.
_LOUDEST_FIRST: tuple[type[BaseException], ...] = (
    QuotaExhaustedError,
    OverloadedError,
    RateLimitError,
    ProviderRefusedError,
    InvalidOutputError,
    AIProviderError,
    StoreBusyError,
    StoreFullError,
)

_WORD = re.compile(r"[a-z][a-z0-9_]{0,63}")


def decide(
    job: Job, outcome: Outcome, policy: Policy, now: float, rng: Random, *, is_outage: bool = False, is_doubtful: bool = False
) -> Transition:
    """The transition that ``outcome`` asks for. ``job`` is the record as claimed (attempt counted).

    ``is_outage``: this failure is one of a row that no job of its pool escaped. ``is_doubtful``: the provider failed, and nothing shows
    that it works for others; then the last attempt waits, so as not to be wasted in the same trouble.
    """
    if is_outage:
        return _outage(job, outcome, policy, now)
    transition = _DECISIONS[type(outcome)](job, outcome, policy, now, rng)
    if is_doubtful and transition.run_after is not None and job.attempts == _allowed(job, policy) - 1 > 0:
        return transition._replace(run_after=transition.run_after + rng.uniform(*LAST_ATTEMPT_AFTER_S))
    return transition


def health_of(outcome: Outcome, now: float, *, in_call: bool) -> bool | None:
    """Whether ``outcome`` shows that the provider works (True) or fails for now (False); None if it shows neither.

    ``in_call``: a call to the provider was under way when the attempt was stopped, so a time-out is the provider's.
    """
    if isinstance(outcome, Returned | BadResult):
        return True
    if isinstance(outcome, TimedOut):
        return False if in_call else None
    if not isinstance(outcome, Raised):
        return None
    error = loudest(outcome.error, now)
    if isinstance(error, ProviderRefusedError | InvalidOutputError | ItemsFailedError):
        return True  # it answered
    if isinstance(error, RateLimitError) or not isinstance(error, AIProviderError):
        return None
    return False


def _returned(job: Job, outcome: Returned, policy: Policy, now: float, rng: Random) -> Transition:
    return Transition(Status.COMPLETED, result_json=outcome.result_json)


def _raised(job: Job, outcome: Raised, policy: Policy, now: float, rng: Random) -> Transition:
    error = loudest(outcome.error, now)
    text = describe(error)
    if isinstance(error, ItemsFailedError):
        # Not tried again by itself: each item that failed was tried alone, and an operator's retry runs only those.
        return Transition(Status.FAILED_JOB_LOGIC, "items_failed", text, result_json=encode_json(error.report, "report"))
    if isinstance(error, RateLimitError):
        return _later(job, error, text, policy, now)
    if isinstance(error, ProviderRefusedError):
        return Transition(Status.FAILED_AI, reason_of(error), text)
    if isinstance(error, AIProviderError):
        floor_s = clamp_retry_after(error.retry_after_s)
        return _again(job, Status.FAILED_AI, reason_of(error), text, policy, now, rng, floor_s)
    if isinstance(error, StoreBusyError | StoreFullError) and not _waited_too_long_for_a_store(job, policy, now):
        return _store_away(job, text, policy, now, rng)
    return _again(job, Status.FAILED_JOB_LOGIC, "handler_error", text, policy, now, rng)


def _waited_too_long_for_a_store(job: Job, policy: Policy, now: float) -> bool:
    waited_s = 0.0 if job.waiting_since is None else now - job.waiting_since
    return policy.give_up_after_s is not None and waited_s >= policy.give_up_after_s


def _store_away(job: Job, text: str, policy: Policy, now: float, rng: Random) -> Transition:
    """A store could not be reached from within the handler: attempt given back, tried again after backoff."""
    due = now + backoff_s(policy, job.attempts, rng, policy.backoff_base_s)
    since = job.waiting_since if job.waiting_since is not None else now
    return Transition(Status.RETRY_AI, "store_busy", text, run_after=due, refund=True, waiting_since=since)


def _timed_out(job: Job, outcome: TimedOut, policy: Policy, now: float, rng: Random) -> Transition:
    text = f"ran longer than its time limit of {outcome.limit_s:g} s"
    if outcome.ignored_cancellation:
        text += " and ignored its cancellation"
    return _again(job, Status.FAILED_TIMEOUT, "timeout", text, policy, now, rng)


def _cancelled(job: Job, outcome: Cancelled, policy: Policy, now: float, rng: Random) -> Transition:
    return Transition(Status.CANCELLED, "cancelled")


def _interrupted(job: Job, outcome: Interrupted, policy: Policy, now: float, rng: Random) -> Transition:
    return Transition(Status.PENDING, "interrupted", refund=True, waiting_since=job.waiting_since)


def _lost(job: Job, outcome: Lost, policy: Policy, now: float, rng: Random) -> Transition:
    crashes = job.crashes + 1
    text = f"worker {outcome.worker} was lost while it ran this job ({crashes} of {policy.max_crashes} times)"
    if crashes >= policy.max_crashes:
        return Transition(Status.FAILED_JOB_LOGIC, "worker_lost", text, refund=True, crashed=True)
    return Transition(Status.PENDING, "worker_lost", text, refund=True, crashed=True, waiting_since=job.waiting_since)


def _unroutable(job: Job, outcome: Unroutable, policy: Policy, now: float, rng: Random) -> Transition:
    route = f"({job.task_type!r}, {job.target_type!r})"
    text = f"no handler is registered for {route}: load its module under [handlers] modules, then retry this job"
    return Transition(Status.FAILED_JOB_LOGIC, "no_handler", text)


def _bad_payload(job: Job, outcome: BadPayload, policy: Policy, now: float, rng: Random) -> Transition:
    return Transition(Status.FAILED_PAYLOAD_PARSING, outcome.reason, printable(redact(outcome.error)))


def _bad_result(job: Job, outcome: BadResult, policy: Policy, now: float, rng: Random) -> Transition:
    # Not tried again: the same code would pay the provider for the same unusable result.
    return Transition(Status.FAILED_JOB_LOGIC, "bad_result", printable(redact(outcome.error)))


def _doomed(job: Job, outcome: Doomed, policy: Policy, now: float, rng: Random) -> Transition:
    text = f"{outcome.which}, which this job waited for, did not succeed"
    status = Status.CANCELLED if outcome.verdict == "cancel" else Status.FAILED_JOB_LOGIC
    return Transition(status, "dependency_failed", printable(text), refund=True)


def _waited_too_long(job: Job, outcome: WaitedTooLong, policy: Policy, now: float, rng: Random) -> Transition:
    waited_s = now - (job.waiting_since if job.waiting_since is not None else now)
    text = f"the provider kept saying 'later' for {waited_s:.0f} s; last: {job.error or job.reason or 'unknown'}"
    return Transition(Status.FAILED_AI, "gave_up_waiting", printable(text), refund=True)


_DECISIONS: dict[type, Callable[[Job, Any, Policy, float, Random], Transition]] = {
    Returned: _returned,
    Raised: _raised,
    TimedOut: _timed_out,
    Cancelled: _cancelled,
    Interrupted: _interrupted,
    Lost: _lost,
    Unroutable: _unroutable,
    BadPayload: _bad_payload,
    BadResult: _bad_result,
    Doomed: _doomed,
    WaitedTooLong: _waited_too_long,
}


def _later(job: Job, error: RateLimitError, text: str, policy: Policy, now: float) -> Transition:
    """The provider said "later": attempt given back, scope closed, unless it waited too long already."""
    return _put_off(job, reason_of(error), text, policy, now, error.retry_after_s, *_pause_lengths(error, policy))


def _put_off(
    job: Job, reason: str, text: str, policy: Policy, now: float, retry_after_s: float | None, base_s: float, cap_s: float
) -> Transition:
    waiting_since = job.waiting_since if job.waiting_since is not None else now
    if policy.give_up_after_s is not None and now - waiting_since >= policy.give_up_after_s:
        given_up = f"the provider kept saying 'later' for {now - waiting_since:.0f} s; last: {text}"
        return Transition(Status.FAILED_AI, "gave_up_waiting", printable(given_up), refund=True)
    request = PauseRequest(
        scope=pool_scope(policy.pool) if policy.pool else job.task_type,
        reason=reason,
        job_id=job.job_id,
        retry_after_s=retry_after_s,
        base_s=base_s,
        cap_s=cap_s,
        claimed_at=job.started_at if job.started_at is not None else now,
    )
    return Transition(Status.RATE_LIMITED, reason, text, refund=True, waiting_since=waiting_since, pause=request)


def _outage(job: Job, outcome: Outcome, policy: Policy, now: float) -> Transition:
    """The provider fails for everybody: attempt given back, pool closed, one probe at a time with growing gaps."""
    text = describe(loudest(outcome.error, now)) if isinstance(outcome, Raised) else "the provider did not answer in time"
    return _put_off(job, OUTAGE, text, policy, now, None, OUTAGE_PAUSE_S, OUTAGE_PAUSE_CAP_S)


def _pause_lengths(error: RateLimitError, policy: Policy) -> tuple[float, float]:
    if isinstance(error, QuotaExhaustedError):
        return QUOTA_PAUSE_S, QUOTA_PAUSE_CAP_S
    if isinstance(error, OverloadedError):
        return min(OVERLOAD_PAUSE_S, policy.rate_limit_pause_s), PAUSE_CAP_S
    return policy.rate_limit_pause_s, max(PAUSE_CAP_S, policy.rate_limit_pause_s)


def _again(
    job: Job,
    final: Status,
    reason: str,
    text: str,
    policy: Policy,
    now: float,
    rng: Random,
    floor_s: float | None = None,
) -> Transition:
    """Another counted attempt after backoff, or ``final`` when they are used up."""
    if job.attempts >= _allowed(job, policy):
        return Transition(final, reason, text)
    return Transition(Status.RETRY_AI, reason, text, run_after=now + backoff_s(policy, job.attempts, rng, floor_s))


def _allowed(job: Job, policy: Policy) -> int:
    return job.max_attempts if job.max_attempts is not None else policy.max_attempts


def loudest(error: BaseException, now: float) -> BaseException:
    """The error that speaks for ``error``: itself, or the most telling one inside a group.

    Errors of provider clients (anything with a ``status_code``) are translated first.
    """
    leaves = [error_from_exception(leaf, now) or leaf for leaf in _leaves(error)]
    for kind in _LOUDEST_FIRST:
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return leaves[0]


def reason_of(error: AIProviderError) -> str:
    """The error's own word if it is one, else its kind's: scripts select by it and every store must hold it."""
    for word in (error.reason, *(vars(kind).get("reason") for kind in type(error).__mro__)):
        if isinstance(word, str) and _WORD.fullmatch(word):
            return word
    return AIProviderError.reason


def describe(error: BaseException) -> str:
    """``error`` as one stored line: its type and message."""
    try:
        message = str(error)
    except Exception:  # a broken __str__ must not hide the failure
        message = "<unprintable>"
    # Redacted before it is cut: half a secret is not recognised as one.
    return printable(redact(f"{type(error).__name__}: {message}" if message else type(error).__name__))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup) and error.exceptions:
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
