"""Which entries a filter lets through."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scheduler.job import TERMINAL, Status
from scheduler.journal import Entry
from scheduler.named import WebhookSettings
from scheduler.webhooks.filters import DELIVER, filter_of

FAILED = Entry(7, 1.0, "job.failed", 3, "j", "topics", "doc", "1", "acme", None, "failed_ai", "auth", "AuthError: no", 2, "w")


def lets_through(entry: Entry, **only: Any) -> bool:
    return filter_of(WebhookSettings(url="https://hooks.example/", **only)).matches(entry)


@pytest.mark.parametrize("status", Status)
def test_left_alone_it_lets_every_end_through_and_nothing_else(status: Status) -> None:
    assert lets_through(replace(FAILED, status=str(status))) is (status in TERMINAL)


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        ({"statuses": ["failed_ai", "completed"]}, True),
        ({"statuses": ["completed"]}, False),
        ({"reasons": ["auth"]}, True),
        ({"reasons": ["quota_exhausted"]}, False),
        ({"task_types": ["topics", "other"]}, True),
        ({"task_types": ["other"]}, False),
        ({"owner": "acme"}, True),
        ({"owner": "other"}, False),
        ({"reasons": ["auth"], "owner": "other"}, False),
    ],
)
def test_all_that_is_named_must_be_so(only: dict[str, Any], expected: bool) -> None:
    assert lets_through(FAILED, **only) is expected


@pytest.mark.parametrize("name", ["job.progress", "job.paused", "job.resumed"])
def test_what_moves_no_job_is_not_told(name: str) -> None:
    assert not lets_through(replace(FAILED, name=name, status="processing"), statuses=["processing"])


def test_deliveries_and_pauses_are_not_told() -> None:
    assert not lets_through(replace(FAILED, task_type=DELIVER))
    assert not lets_through(Entry(8, 1.0, "lane.paused", reason="auth"))
