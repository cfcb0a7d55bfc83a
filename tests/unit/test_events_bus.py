"""The bus: who hears what, in which order, and that one bad listener harms nobody."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from scheduler.events import (
    Event,
    Events,
    JobCompleted,
    JobEnded,
    JobFailed,
    JobRateLimited,
    JobRetrying,
    JobStarted,
    LanePaused,
    LaneResumed,
    ServiceStarted,
    event_types,
)
from scheduler.job import Progress, Status, Transition
from tests.support.jobs import T0, a_draft, a_job, a_window

RESUMED = LaneResumed(T0, "lane", "manual")
STARTED = ServiceStarted(T0, "ada")
FAILED = JobFailed(T0, a_job(), Transition(Status.FAILED_AI, "auth", "no"), 1.5, 0.25)


def test_a_subscriber_hears_its_kinds_only() -> None:
    bus, heard = Events(), []
    bus.subscribe(heard.append, LaneResumed)
    for event in (RESUMED, STARTED, RESUMED):
        bus.emit(event)
    assert heard == [RESUMED, RESUMED]


def test_without_kinds_everything_is_heard() -> None:
    bus, heard = Events(), []
    bus.subscribe(heard.append)
    bus.emit(RESUMED)
    bus.emit(STARTED)
    assert heard == [RESUMED, STARTED]


def test_a_kind_includes_its_subclasses() -> None:
    bus, heard = Events(), []
    bus.subscribe(heard.append, JobEnded)
    bus.emit(FAILED)
    bus.emit(RESUMED)
    assert heard == [FAILED]


def test_subscribers_are_called_in_the_order_they_came() -> None:
    bus, calls = Events(), []
    bus.subscribe(lambda event: calls.append("first"), LaneResumed)
    bus.subscribe(lambda event: calls.append("second"))
    bus.subscribe(lambda event: calls.append("third"), LaneResumed)
    bus.emit(RESUMED)
    assert calls == ["first", "second", "third"]


def test_whoever_leaves_hears_no_more_and_leaving_twice_is_nothing() -> None:
    bus, heard, stays = Events(), [], []
    leave = bus.subscribe(lambda event: heard.append(event), LaneResumed)
    bus.subscribe(stays.append, LaneResumed)
    leave()
    leave()
    bus.emit(RESUMED)
    assert (heard, stays) == ([], [RESUMED])


def test_a_subscriber_may_leave_while_it_is_called() -> None:
    bus, heard = Events(), []

    def once(event: Event) -> None:
        heard.append(event)
        leave()

    leave = bus.subscribe(once, LaneResumed)
    bus.emit(RESUMED)
    bus.emit(RESUMED)
    assert heard == [RESUMED]


def test_a_subscriber_that_raises_is_reported_and_disturbs_nobody() -> None:
    bus, heard, reports = Events(), [], []
    error = ValueError("broken")

    def broken(event: Event) -> None:
        raise error

    bus.subscribe(broken)
    bus.subscribe(heard.append)
    bus.emit(RESUMED)  # nobody asked for reports yet
    bus.on_error(lambda event, failure: reports.append((event, failure)))
    bus.emit(STARTED)
    assert heard == [RESUMED, STARTED]
    assert reports == [(STARTED, error)]


def test_the_bus_knows_whether_anybody_listens() -> None:
    bus = Events()
    assert not bus.wants(JobStarted)
    leave = bus.subscribe(lambda event: None, JobStarted)
    assert bus.wants(JobStarted)
    assert not bus.wants(JobCompleted)
    leave()
    assert not bus.wants(JobStarted)


def test_every_event_has_a_name_of_its_own_and_a_known_level() -> None:
    names = [kind.name for kind in event_types()]
    assert names == sorted(set(names))
    assert {kind.level for kind in event_types()} <= {"debug", "info", "warning", "error"}
    documented = "enqueued started completed rate_limited retrying failed cancelled interrupted lost progress"
    assert {f"job.{word}" for word in documented.split()} <= set(names)
    assert {"lane.paused", "lane.resumed", "lane.probing", "loop.blocked"} <= set(names)
    assert {"service.started", "service.draining", "service.stopped"} <= set(names)


def example(kind: type[Event]) -> Event:
    """An event of ``kind``, each field filled by its name."""
    values: dict[str, Any] = {
        "at": T0,
        "job": a_job(owner="ada", reason="auth"),
        "transition": Transition(Status.FAILED_AI, "auth", "no"),
        "window": a_window(),
        "progress": Progress(50.0, "half", 1, 2),
    }
    numbers = {"duration_s", "waited_s", "blocked_s", "failing_s", "until"}
    return kind(**{field.name: values.get(field.name, 0.5 if field.name in numbers else "text") for field in fields(kind)})


@pytest.mark.parametrize("kind", event_types(), ids=lambda kind: kind.name)
def test_every_event_is_frozen_and_shows_itself_as_json(kind: type[Event]) -> None:
    event = example(kind)
    shown = event.fields()
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    if "job" in {field.name for field in fields(kind)}:
        assert {"job_id", "task_type", "target_type", "target_id", "attempt", "worker", "owner"} <= set(shown)
    with pytest.raises(FrozenInstanceError):
        event.at = 0.0  # type: ignore[misc]


class TestWhatIsShown:
    def test_a_draft_has_no_attempt_and_no_worker_yet(self) -> None:
        from_draft = JobStarted(T0, a_draft(), 1.0).fields()
        assert "attempt" not in from_draft
        assert "worker" not in from_draft
        assert "owner" not in from_draft

    def test_an_end_shows_status_durations_reason_and_error(self) -> None:
        shown = FAILED.fields()
        assert (shown["status"], shown["reason"], shown["error"]) == ("failed_ai", "auth", "no")
        assert (shown["duration_s"], shown["waited_s"]) == (1.5, 0.25)
        done = JobCompleted(T0, a_job(), Transition(Status.COMPLETED), 1.0, 0.0).fields()
        assert "reason" not in done
        assert "error" not in done

    def test_a_rate_limit_shows_the_pause_it_left(self) -> None:
        end = Transition(Status.RATE_LIMITED, "rate_limited", "later")
        shown = JobRateLimited(T0, a_job(), end, 1.0, 0.0, a_window("pool:main", T0 + 30)).fields()
        assert (shown["scope"], shown["paused_s"]) == ("pool:main", 30.0)
        assert "scope" not in JobRateLimited(T0, a_job(), end, 1.0, 0.0).fields()

    def test_a_retry_shows_how_long_it_waits(self) -> None:
        assert JobRetrying(T0, a_job(), Transition(Status.RETRY_AI, run_after=T0 + 2.5), 1.0, 0.0).fields()["delay_s"] == 2.5
        assert JobRetrying(T0, a_job(), Transition(Status.RETRY_AI, run_after=T0 - 1), 1.0, 0.0).fields()["delay_s"] == 0

    def test_a_pause_without_an_end_has_no_length(self) -> None:
        assert LanePaused(T0, a_window(until=float("inf"))).fields()["paused_s"] is None
        assert LanePaused(T0, a_window(until=T0 + 60)).fields()["paused_s"] == 60
