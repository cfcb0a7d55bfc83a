"""The door: a ``NewJob`` from anywhere becomes a ``Draft`` that every store can hold, or is refused.

A refused job changes nothing, and the error says what to do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from scheduler.errors import InvalidJobError
from scheduler.ids import job_id
from scheduler.job import Draft, NewJob
from scheduler.registry import Resources, Route, Routes, fingerprint
from scheduler.values import check_int, check_text, encode_json


class Door:
    """Checks and encodes; knows the routes, because a handler says what its result depends on."""

    def __init__(self, routes: Routes, resources: Resources) -> None:
        self._routes = routes
        self._resources = resources

    def draft(self, new: NewJob, now: float) -> Draft:
        """``new``, checked. Raises ``InvalidJobError``."""
        task_type = check_text(new.task_type, "task_type")
        if not task_type or task_type.startswith("pool:"):
            raise InvalidJobError(f"task_type {task_type!r} is not a name: give the name that its handler is registered under")
        target_type = check_text(new.target_type or "", "target_type")
        return Draft(
            job_id=job_id(now),
            task_type=task_type,
            target_type=target_type,
            target_id=_target_id(new.target_id),
            payload_json=None if new.payload is None else encode_json(new.payload, "payload"),
            priority=_priority(new.priority),
            run_after=_run_after(new.run_after, now),
            unique_key=_optional_text(new.unique_key, "unique_key"),
            owner=_optional_text(new.owner, "owner"),
            max_attempts=_max_attempts(new.max_attempts),
            timeout_s=_timeout_s(new.timeout_s),
            fingerprint=self._fingerprint(self._routes.find(task_type, target_type), new.payload),
            force=new.force,
        )

    def _fingerprint(self, route: Route | None, payload: Any) -> str | None:
        if route is None or route.freshness is None or not isinstance(payload, Mapping):
            return None
        try:
            return fingerprint(route, payload, self._resources)
        except (KeyError, TypeError, AttributeError):
            return None  # the payload does not fit: the attempt will say so, better than this could


def _target_id(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(check_int(value, "target_id"))
    return check_text(value or "", "target_id", limit=2_048)


def _priority(value: int) -> int:
    checked = check_int(value, "priority")
    if not -(2**31) <= checked < 2**31:
        raise InvalidJobError(f"priority must lie between -2147483648 and 2147483647, not {value}")
    return checked


def _run_after(value: datetime | timedelta | float | None, now: float) -> float:
    if value is None:
        return now
    if isinstance(value, timedelta):
        return now + value.total_seconds()
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidJobError("run_after is a datetime without a time zone: use datetime.now(timezone.utc) + …, or a timedelta")
        return value.timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidJobError(f"run_after must be an aware datetime, a timedelta or seconds since the epoch, not {value!r}")
    return float(value)


def _optional_text(value: str | None, what: str) -> str | None:
    if value is None:
        return None
    if value == "":
        raise InvalidJobError(f"{what} is empty: leave it out, or give it a value")
    return check_text(value, what)


def _max_attempts(value: int | None) -> int | None:
    if value is not None and not 1 <= check_int(value, "max_attempts") <= 1_000_000:
        raise InvalidJobError(f"max_attempts must be at least 1 (the first run counts), not {value}")
    return value


def _timeout_s(value: float | None) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise InvalidJobError(f"timeout_s must be a number of seconds above 0, not {value!r}")
    return float(value)
