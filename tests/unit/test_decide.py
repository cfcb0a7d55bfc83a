"""``decide``: every way an attempt can end, and what it means for the job."""

from __future__ import annotations

import json
from random import Random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.decide import decide, describe, loudest
from scheduler.errors import (
    AIProviderError,
    AuthError,
    ConfigError,
    ContentFilteredError,
    ContextTooLongError,
    InvalidOutputError,
    InvalidRequestError,
    OverloadedError,
    ProviderRefusedError,
    QuotaExhaustedError,
    RateLimitError,
)
from scheduler.job import LEGAL, Job, Status, Transition
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
from scheduler.policy import LAST_ATTEMPT_AFTER_S, Policy
from tests.support.jobs import T0, a_job

COUNTED = "counted"  # tried again while attempts are left
NOW = T0 + 10.0


def end_of(outcome: Outcome, job: Job | None = None, policy: Policy | None = None, now: float = NOW) -> Transition:
    return decide(job or a_job(), outcome, policy or Policy(), now, Random(1))


def nested(error: BaseException) -> BaseException:
    return BaseExceptionGroup("outer", [ValueError("beside it"), BaseExceptionGroup("inner", [KeyError("too"), error])])


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


#: Error, status once attempts are used up (or at once), reason, and whether it is tried again before that.
ERRORS: list[tuple[BaseException, Status, str, bool]] = [
    (AIProviderError("no answer"), Status.FAILED_AI, "provider_error", True),
    (InvalidOutputError("not JSON"), Status.FAILED_AI, "invalid_output", True),
    (ProviderRefusedError("no"), Status.FAILED_AI, "refused", False),
    (AuthError("bad key"), Status.FAILED_AI, "auth", False),
    (InvalidRequestError("no such model"), Status.FAILED_AI, "invalid_request", False),
    (ContextTooLongError("too long"), Status.FAILED_AI, "context_too_long", False),
    (ContentFilteredError("filtered"), Status.FAILED_AI, "content_filtered", False),
    (ValueError("rate limit exceeded, 429, quota, overloaded"), Status.FAILED_JOB_LOGIC, "handler_error", True),
    (AssertionError(), Status.FAILED_JOB_LOGIC, "handler_error", True),
    (ConfigError("no provider"), Status.FAILED_JOB_LOGIC, "handler_error", True),
    (SystemExit(3), Status.FAILED_JOB_LOGIC, "handler_error", True),
    (KeyboardInterrupt(), Status.FAILED_JOB_LOGIC, "handler_error", True),
    (GeneratorExit(), Status.FAILED_JOB_LOGIC, "handler_error", True),
    (Unprintable(), Status.FAILED_JOB_LOGIC, "handler_error", True),
]
LATER = [
    (RateLimitError(), "rate_limited", 60.0, 900.0),
    (OverloadedError(), "overloaded", 5.0, 900.0),
    (QuotaExhaustedError(), "quota_exhausted", 3_600.0, 86_400.0),
]


@pytest.mark.parametrize("attempts", [1, 2, 3, 4])
@pytest.mark.parametrize(("error", "final", "reason", "again"), ERRORS, ids=lambda value: type(value).__name__)
def test_an_error_is_tried_again_or_ends_the_job(error: BaseException, final: Status, reason: str, again: bool, attempts: int) -> None:
    end = end_of(Raised(error), a_job(attempts=attempts))
    retried = again and attempts < 3
    assert end.status is (Status.RETRY_AI if retried else final)
    assert (end.reason, end.refund, end.crashed, end.pause) == (reason, False, False, None)
    assert end.error is not None
    assert end.error.startswith(type(error).__name__)
    assert (end.run_after is not None) == retried


@pytest.mark.parametrize(("error", "reason", "base_s", "cap_s"), LATER, ids=lambda value: str(value))
def test_later_gives_the_attempt_back_and_closes_the_lane(error: RateLimitError, reason: str, base_s: float, cap_s: float) -> None:
    end = end_of(Raised(error), a_job(attempts=3, started_at=T0 + 4))
    assert (end.status, end.reason, end.refund, end.waiting_since) == (Status.RATE_LIMITED, reason, True, NOW)
    assert end.pause is not None
    assert (end.pause.scope, end.pause.reason, end.pause.job_id) == ("lane", reason, "job")
    assert (end.pause.base_s, end.pause.cap_s, end.pause.retry_after_s, end.pause.claimed_at) == (base_s, cap_s, None, T0 + 4)


def test_later_closes_the_pool_where_the_handler_names_one() -> None:
    end = end_of(Raised(RateLimitError(retry_after_s=7)), policy=Policy(pool="main"))
    assert end.pause is not None
    assert (end.pause.scope, end.pause.retry_after_s) == ("pool:main", 7)


@pytest.mark.parametrize(("configured", "error", "base_s"), [(2.0, OverloadedError(), 2.0), (0.0, RateLimitError(), 0.0)])
def test_the_configured_pause_bounds_what_is_asked_for(configured: float, error: RateLimitError, base_s: float) -> None:
    end = end_of(Raised(error), policy=Policy(rate_limit_pause_s=configured))
    assert end.pause is not None
    assert end.pause.base_s == base_s


def test_a_configured_pause_above_the_cap_is_meant() -> None:
    end = end_of(Raised(RateLimitError()), policy=Policy(rate_limit_pause_s=1_200))
    assert end.pause is not None
    assert (end.pause.base_s, end.pause.cap_s) == (1_200, 1_200)


class TestGroups:
    @pytest.mark.parametrize(("error", "final", "reason", "again"), ERRORS[:7], ids=lambda value: type(value).__name__)
    def test_a_group_is_what_its_most_telling_member_is(self, error: BaseException, final: Status, reason: str, again: bool) -> None:
        assert end_of(Raised(nested(error))) == end_of(Raised(error))

    def test_the_loudest_speaks(self) -> None:
        errors = [InvalidOutputError(), AuthError(), RateLimitError(), OverloadedError(), QuotaExhaustedError()]
        while errors:
            expected = errors[-1]
            assert loudest(ExceptionGroup("all", [ValueError(), *errors]), NOW) is expected
            errors.pop()

    def test_a_group_of_our_own_faults_is_described_by_the_first(self) -> None:
        end = end_of(Raised(ExceptionGroup("both", [KeyError("one"), ValueError("two")])), a_job(attempts=3))
        assert (end.status, end.error) == (Status.FAILED_JOB_LOGIC, "KeyError: 'one'")

    @pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
    def test_an_exit_inside_a_group_is_a_handlers_error_too(self, error: BaseException) -> None:
        end = end_of(Raised(BaseExceptionGroup("all", [error])), a_job(attempts=3))
        assert (end.status, end.reason) == (Status.FAILED_JOB_LOGIC, "handler_error")


class ClientError(Exception):
    """What the clients of providers throw: an exception that carries the answer's status."""

    def __init__(self, status_code: int) -> None:
        super().__init__("all is well")
        self.status_code = status_code


class TestForeignErrors:
    @pytest.mark.parametrize(
        ("status_code", "status", "reason"),
        [
            (429, Status.RATE_LIMITED, "rate_limited"),
            (503, Status.RATE_LIMITED, "overloaded"),
            (402, Status.RATE_LIMITED, "quota_exhausted"),
            (401, Status.FAILED_AI, "auth"),
            (400, Status.FAILED_AI, "invalid_request"),
            (500, Status.RETRY_AI, "provider_error"),
        ],
    )
    def test_a_clients_error_is_what_its_status_code_says_alone_or_in_a_group(self, status_code: int, status: Status, reason: str) -> None:
        error = ClientError(status_code)
        for raised in (error, nested(error)):
            end = end_of(Raised(raised))
            assert (end.status, end.reason) == (status, reason)

    def test_a_lost_connection_is_the_providers_fault_and_not_the_handlers(self) -> None:
        assert end_of(Raised(ConnectionResetError())).reason == "provider_error"


class TestTheOtherOutcomes:
    def test_a_return_completes_with_its_result(self) -> None:
        assert end_of(Returned('{"a": 1}')) == Transition(Status.COMPLETED, result_json='{"a": 1}')
        assert end_of(Returned(None)) == Transition(Status.COMPLETED)

    @pytest.mark.parametrize(("attempts", "status"), [(1, Status.RETRY_AI), (2, Status.RETRY_AI), (3, Status.FAILED_TIMEOUT)])
    def test_running_out_of_time_counts(self, attempts: int, status: Status) -> None:
        end = end_of(TimedOut(1.5), a_job(attempts=attempts))
        assert (end.status, end.reason, end.error) == (status, "timeout", "ran longer than its time limit of 1.5 s")

    def test_a_handler_that_would_not_stop_is_told_apart(self) -> None:
        assert "ignored its cancellation" in (end_of(TimedOut(1, ignored_cancellation=True)).error or "")

    def test_a_cancelled_attempt_ends_cancelled(self) -> None:
        assert end_of(Cancelled()) == Transition(Status.CANCELLED, "cancelled")

    def test_an_interruption_hands_the_job_back_untouched(self) -> None:
        job = a_job(attempts=3, waiting_since=T0 - 100)
        assert end_of(Interrupted(), job) == Transition(Status.PENDING, "interrupted", refund=True, waiting_since=T0 - 100)

    @pytest.mark.parametrize(("crashes", "status"), [(0, Status.PENDING), (1, Status.PENDING), (2, Status.FAILED_JOB_LOGIC)])
    def test_a_job_that_loses_its_worker_three_times_is_parked(self, crashes: int, status: Status) -> None:
        end = end_of(Lost("ada"), a_job(crashes=crashes, attempts=3))
        assert (end.status, end.reason, end.refund, end.crashed) == (status, "worker_lost", True, True)
        assert f"worker ada was lost while it ran this job ({crashes + 1} of 3 times)" == end.error

    def test_a_job_without_a_handler_fails_at_once_and_says_what_to_do(self) -> None:
        end = end_of(Unroutable(), a_job(task_type="unknown", target_type="thing"))
        assert (end.status, end.reason) == (Status.FAILED_JOB_LOGIC, "no_handler")
        assert "('unknown', 'thing')" in (end.error or "")
        assert "retry this job" in (end.error or "")

    @pytest.mark.parametrize("reason", ["payload_not_json", "payload_invalid"])
    def test_a_bad_payload_fails_at_once(self, reason: str) -> None:
        assert end_of(BadPayload(reason, "no name")) == Transition(Status.FAILED_PAYLOAD_PARSING, reason, "no name")

    def test_a_bad_result_is_not_paid_for_again(self) -> None:
        assert end_of(BadResult("a socket")) == Transition(Status.FAILED_JOB_LOGIC, "bad_result", "a socket")

    def test_waiting_too_long_ends_without_counting(self) -> None:
        job = a_job(status=Status.RATE_LIMITED, attempts=0, reason="rate_limited", error="RateLimitError: later", waiting_since=T0)
        end = end_of(WaitedTooLong(), job, now=T0 + 86_400)
        assert (end.status, end.reason, end.refund) == (Status.FAILED_AI, "gave_up_waiting", True)
        assert end.error == "the provider kept saying 'later' for 86400 s; last: RateLimitError: later"

    @pytest.mark.parametrize(("verdict", "status"), [("fail", Status.FAILED_JOB_LOGIC), ("cancel", Status.CANCELLED)])
    def test_a_doomed_job_ends_as_was_asked_without_counting(self, verdict: str, status: Status) -> None:
        end = end_of(Doomed(verdict, "batch:b"), a_job())
        assert (end.status, end.reason, end.refund) == (status, "dependency_failed", True)
        assert end.error == "batch:b, which this job waited for, did not succeed"

    @pytest.mark.parametrize("kind", get_args(Outcome))
    def test_every_outcome_is_decided_and_every_decision_is_a_legal_move(self, kind: type) -> None:
        arguments = {
            Returned: ("1",),
            Raised: (ValueError(),),
            TimedOut: (1.0,),
            Lost: ("ada",),
            BadPayload: ("payload_invalid", "x"),
            BadResult: ("x",),
            Doomed: ("fail", "job"),
        }
        assert end_of(kind(*arguments.get(kind, ()))).status in LEGAL[Status.PROCESSING]


class TestGivingUp:
    def test_waiting_since_is_the_first_time_the_provider_said_later(self) -> None:
        end = end_of(Raised(RateLimitError()), a_job(waiting_since=T0 - 500))
        assert (end.status, end.waiting_since) == (Status.RATE_LIMITED, T0 - 500)

    @pytest.mark.parametrize(("waited_s", "status"), [(86_399.0, Status.RATE_LIMITED), (86_400.0, Status.FAILED_AI)])
    def test_a_job_put_off_for_a_day_gives_up(self, waited_s: float, status: Status) -> None:
        end = end_of(Raised(RateLimitError("later")), a_job(waiting_since=NOW - waited_s))
        assert (end.status, end.refund) == (status, True)
        if status is Status.FAILED_AI:
            assert (end.reason, end.pause) == ("gave_up_waiting", None)
            assert "last: RateLimitError: later" in (end.error or "")

    def test_no_limit_means_never(self) -> None:
        end = end_of(Raised(RateLimitError()), a_job(waiting_since=0.0), Policy(give_up_after_s=None))
        assert end.status is Status.RATE_LIMITED

    def test_a_limit_of_zero_means_at_once(self) -> None:
        assert end_of(Raised(RateLimitError()), policy=Policy(give_up_after_s=0)).reason == "gave_up_waiting"

    def test_any_other_end_begins_the_waiting_anew(self) -> None:
        assert end_of(Raised(AIProviderError()), a_job(waiting_since=T0)).waiting_since is None


class TestALife:
    """A job's attempts one after another, counted as a store counts them."""

    def live(self, outcomes: list[Outcome], policy: Policy, *, max_attempts: int | None = None) -> tuple[Job, int]:
        """The job after as many of ``outcomes`` as it takes, and how many runs that were."""
        job, now = a_job(attempts=0, status=Status.PENDING, max_attempts=max_attempts), T0
        for runs, outcome in enumerate(outcomes, start=1):
            job = job._replace(attempts=job.attempts + 1, started_at=now)
            end = decide(job, outcome, policy, now, Random(runs))
            job = job._replace(
                status=end.status,
                attempts=job.attempts - end.refund,
                crashes=job.crashes + end.crashed,
                waiting_since=end.waiting_since,
            )
            if job.status.is_terminal:
                return job, runs
            now = max(now, end.run_after or 0.0) + 1.0
        return job, len(outcomes)

    @pytest.mark.parametrize("allowed", [1, 2, 3, 5])
    def test_a_job_whose_provider_always_fails_runs_exactly_max_attempts_times(self, allowed: int) -> None:
        job, runs = self.live([Raised(AIProviderError())] * 10, Policy(max_attempts=allowed))
        assert (job.status, job.attempts, runs) == (Status.FAILED_AI, allowed, allowed)

    def test_a_jobs_own_max_attempts_wins(self) -> None:
        assert self.live([TimedOut(1)] * 10, Policy(max_attempts=3), max_attempts=1)[1] == 1
        assert self.live([TimedOut(1)] * 10, Policy(max_attempts=3), max_attempts=7)[1] == 7

    @given(st.lists(st.sampled_from(["later", "quota", "overload", "interrupted", "fails"]), max_size=60))
    def test_only_what_was_the_jobs_own_failure_is_counted(self, story: list[str]) -> None:
        outcomes: dict[str, Outcome] = {
            "later": Raised(RateLimitError()),
            "quota": Raised(QuotaExhaustedError()),
            "overload": Raised(OverloadedError()),
            "interrupted": Interrupted(),
            "fails": Raised(ValueError()),
        }
        job, _ = self.live([outcomes[word] for word in story], Policy(max_attempts=3))
        failures = story.count("fails")
        assert job.attempts == min(failures, 3)
        assert (job.status is Status.FAILED_JOB_LOGIC) == (failures >= 3)

    def test_a_job_that_kills_its_worker_is_parked_after_three(self) -> None:
        job, runs = self.live([Lost("ada")] * 9, Policy())
        assert (job.status, job.crashes, job.attempts, runs) == (Status.FAILED_JOB_LOGIC, 3, 0, 3)


class TestBackoff:
    @pytest.mark.parametrize("attempt", [1, 2, 3])
    def test_each_retry_waits_within_its_bound(self, attempt: int) -> None:
        policy = Policy(max_attempts=9)
        for seed in range(50):
            end = decide(a_job(attempts=attempt), Raised(ValueError()), policy, NOW, Random(seed))
            assert end.run_after is not None
            assert NOW <= end.run_after <= NOW + 2.0**attempt

    def test_a_retry_after_is_a_floor(self) -> None:
        for seed in range(50):
            end = decide(a_job(), Raised(AIProviderError(retry_after_s=30)), Policy(), NOW, Random(seed))
            assert end.run_after is not None
            assert NOW + 30 <= end.run_after <= NOW + 32

    @pytest.mark.parametrize(("hint", "floor"), [(-5.0, 0.0), (float("nan"), 0.0), (1e12, 86_400.0), (float("inf"), 86_400.0)])
    def test_an_absurd_retry_after_is_made_sane(self, hint: float, floor: float) -> None:
        end = end_of(Raised(AIProviderError(retry_after_s=hint)), policy=Policy(backoff_base_s=0))
        assert end.run_after == NOW + floor


class TestDescriptions:
    def test_an_error_is_its_type_and_message(self) -> None:
        assert describe(ValueError("broken")) == "ValueError: broken"
        assert describe(ValueError()) == "ValueError"
        assert describe(Unprintable()) == "Unprintable: <unprintable>"

    @given(st.text(alphabet=st.characters(codec=None, exclude_categories=()), max_size=50))
    def test_every_description_can_be_stored(self, message: str) -> None:
        text = describe(ValueError(message))
        assert "\x00" not in text
        assert json.loads(json.dumps(text)).encode() is not None

    def test_a_long_message_is_cut(self) -> None:
        assert len(describe(ValueError("x" * 1_000_000))) == 2_000


@pytest.mark.parametrize(("attempts", "waits"), [(1, False), (2, True), (3, False)])
def test_only_a_last_attempt_waits_longer_while_nothing_shows_that_the_provider_works(attempts: int, waits: bool) -> None:
    job, failed = a_job(attempts=attempts, max_attempts=3), Raised(AIProviderError())
    plain = decide(job, failed, Policy(), NOW, Random(1))
    doubtful = decide(job, failed, Policy(), NOW, Random(1), is_doubtful=True)
    more_s = (doubtful.run_after or 0.0) - (plain.run_after or 0.0)
    assert (doubtful.status, doubtful.reason) == (plain.status, plain.reason)
    assert LAST_ATTEMPT_AFTER_S[0] <= more_s <= LAST_ATTEMPT_AFTER_S[1] if waits else more_s == 0.0


def test_a_job_that_is_allowed_two_attempts_waits_before_the_second_one_that_is_allowed_one_has_none() -> None:
    doubtful = decide(a_job(attempts=1, max_attempts=2), Raised(AIProviderError()), Policy(), NOW, Random(1), is_doubtful=True)
    assert (doubtful.run_after or 0.0) >= NOW + LAST_ATTEMPT_AFTER_S[0]
    ended = decide(a_job(attempts=1, max_attempts=1), Raised(AIProviderError()), Policy(), NOW, Random(1), is_doubtful=True)
    assert ended.status is Status.FAILED_AI
