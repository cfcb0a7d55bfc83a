"""The door: a ``NewJob`` from anywhere becomes a ``Draft`` that every store can hold, or is refused.

A refused job changes nothing, and the error says what to do.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from scheduler.errors import InvalidJobError
from scheduler.ids import job_id
from scheduler.job import Draft, NewJob
from scheduler.named import OwnerSettings
from scheduler.registry import Resources, Route, Routes, fingerprint
from scheduler.values import check_int, check_text, decode_json, encode_json
from scheduler.webhooks.filters import DELIVER

#: A job may wait for so many others by name.
MAX_AFTER = 1_000
IF_FAILED = ("fail", "cancel", "run")


class Door:
    """Checks and encodes; knows the routes, because a handler says what its result depends on."""

    def __init__(self, routes: Routes, resources: Resources, owners: Mapping[str, OwnerSettings]) -> None:
        self._owners = owners
        self._routes = routes
        self._resources = resources
        #: Many jobs have few names: those last seen are not checked again.
        self._known = lru_cache(maxsize=512)(self._named)

    def draft(self, new: NewJob, now: float) -> Draft:
        """``new``, checked. Raises ``InvalidJobError``."""
        (
            task_type,
            target_type,
            target_id,
            payload,
            priority,
            run_after,
            unique_key,
            owner,
            max_attempts,
            timeout_s,
            force,
            batch,
            after,
            if_failed,
            request_key,
            _webhook,  # whoever stores the draft stores the delivery as well
        ) = new
        try:
            names = self._known(task_type, target_type)
        except TypeError:  # a list, say, which no cache can look up
            names = self._named(task_type, target_type)
        # By position, and what is left out is not looked at: a bulk passes here fifty thousand times a second.
        draft = Draft(
            job_id(now),
            names[0],
            names[1],
            _target_id(target_id),
            None if payload is None else encode_json(payload, "payload"),
            _priority(priority),
            now if run_after is None else _run_after(run_after, now),
            None if unique_key is None else _filled(unique_key, "unique_key"),
            None if owner is None else _filled(owner, "owner"),
            None if max_attempts is None else _max_attempts(max_attempts),
            None if timeout_s is None else _timeout_s(timeout_s),
            None if names[2] is None else self._fingerprint(names[2], payload),
            force,
        )
        if batch is None and not after and request_key is None and (owner is None or not self._owners):
            return draft
        draft = draft._replace(
            batch=None if batch is None else _batch(batch),
            after=_after(after),
            if_failed=_if_failed(if_failed),
            owner_limit=None if owner is None else self._owner_limit(owner),
        )
        return draft if request_key is None else draft._replace(request=_request(request_key, new, draft))

    def _owner_limit(self, owner: str) -> int | None:
        own = self._owners.get(owner) or self._owners.get("*")
        return None if own is None else own.max_unfinished

    def _named(self, task_type: str, target_type: str) -> tuple[str, str, Route | None]:
        """The names, checked, and the route if its handler says what its result depends on."""
        check_text(task_type, "task_type")
        if not task_type or task_type.startswith("pool:"):
            raise InvalidJobError(f"task_type {task_type!r} is not a name: give the name that its handler is registered under")
        if task_type == DELIVER:
            raise InvalidJobError(f"{DELIVER} jobs are made by the scheduler: give a job webhook=URL, or configure [webhooks.NAME]")
        target_type = check_text(target_type or "", "target_type")
        route = self._routes.find(task_type, target_type)
        return task_type, target_type, None if route is None or route.freshness is None else route

    def _fingerprint(self, route: Route, payload: Any) -> str | None:
        if not isinstance(payload, Mapping):
            return None
        try:
            return fingerprint(route, payload, self._resources)
        except (KeyError, TypeError, AttributeError):
            return None  # the payload does not fit: the attempt will say so, better than this could


def _request(key: Any, new: NewJob, draft: Draft) -> tuple[str, str]:
    """The caller's key, and a digest of all that it sent: whatever the door adds of its own is left out."""
    payload = None if draft.payload_json is None else decode_json(draft.payload_json)
    when: Any = None if new.run_after is None else draft.run_after
    if isinstance(new.run_after, timedelta):
        when = f"in {new.run_after.total_seconds()}"
    sent = [*draft[1:4], payload, draft.priority, when, *draft[7:11], draft.force, draft.batch, draft.after, draft.if_failed]
    sent += [new.webhook] if new.webhook is not None else []
    text = json.dumps(sent, sort_keys=True, separators=(",", ":"))
    return _filled(key, "request_key"), hashlib.sha256(text.encode()).hexdigest()


def _batch(name: Any) -> str:
    checked = _filled(name, "batch")
    if "\n" in checked:
        raise InvalidJobError("batch has a line break: give it a name of one line")
    return checked


def _after(names: Any) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise InvalidJobError(f"after must be a list of job ids or batch:NAME, not {names!r}")
    if len(names) > MAX_AFTER:
        raise InvalidJobError(f"after names {len(names)} jobs: name at most {MAX_AFTER}, or give them a batch and wait for batch:NAME")
    return tuple(dict.fromkeys(_filled(name, "after") for name in names))


def _if_failed(value: Any) -> str:
    if value not in IF_FAILED:
        raise InvalidJobError(f"if_failed must be one of {', '.join(IF_FAILED)}, not {value!r}")
    return str(value)


def _target_id(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(check_int(value, "target_id"))
    return check_text(value or "", "target_id", limit=2_048)


def _priority(value: int) -> int:
    checked = check_int(value, "priority")
    if not -(2**31) <= checked < 2**31:
        raise InvalidJobError(f"priority must lie between -2147483648 and 2147483647, not {value}")
    return checked


def _run_after(value: datetime | timedelta | float, now: float) -> float:
    if isinstance(value, timedelta):
        return now + value.total_seconds()
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidJobError("run_after is a datetime without a time zone: use datetime.now(timezone.utc) + …, or a timedelta")
        return value.timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidJobError(f"run_after must be an aware datetime, a timedelta or seconds since the epoch, not {value!r}")
    return float(value)


def _filled(value: str, what: str) -> str:
    if value == "":
        raise InvalidJobError(f"{what} is empty: leave it out, or give it a value")
    return check_text(value, what)


def _max_attempts(value: int) -> int:
    if not 1 <= check_int(value, "max_attempts") <= 1_000_000:
        raise InvalidJobError(f"max_attempts must be at least 1 (the first run counts), not {value}")
    return value


def _timeout_s(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise InvalidJobError(f"timeout_s must be a number of seconds above 0, not {value!r}")
    return float(value)
