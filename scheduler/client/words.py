"""What a client sends and what it makes of the answers. Pure: nothing here talks to anybody."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ValidationError

from scheduler.client.errors import (
    AnswerError,
    ApiError,
    ConflictError,
    DeniedError,
    LimitedError,
    MissingError,
    RefusedError,
    UnavailableError,
)
from scheduler.errors import ConfigError, InvalidJobError
from scheduler.job import NewJob
from scheduler.pools.headers import retry_after_s
from scheduler.times import utc_time
from scheduler.values import decode_json, encode_json
from scheduler.views.jobs import JobDetails

M = TypeVar("M", bound=BaseModel)

JSON, NDJSON, EVENTS = "application/json", "application/x-ndjson", "text/event-stream"
_ERRORS: Mapping[int, type[ApiError]] = {
    400: RefusedError,
    401: DeniedError,
    403: DeniedError,
    404: MissingError,
    409: ConflictError,
    413: RefusedError,
    415: RefusedError,
    422: RefusedError,
    429: LimitedError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}
#: Fields of a job that are not sent as they are.
_APART = frozenset({"payload", "run_after", "request_key"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
#: So much of what is no problem document is repeated in an error.
_SHOWN = 200


def base_of(url: str) -> str:
    """The address that paths are put behind. Raises ``ConfigError``, also for one that carries a secret."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("the address of the service must be like http://127.0.0.1:8080")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ConfigError("the address of the service holds more than an address: pass a token as token, it travels in a header")
    return url.rstrip("/")


def is_loopback(base: str) -> bool:
    return urlsplit(base).hostname in _LOOPBACK


def path_of(job_id: str, what: str = "") -> str:
    """The path of a job, or of what belongs to it."""
    return f"/api/jobs/{quote(job_id, safe='')}" + (f"/{what}" if what else "")


def body_of(new: NewJob) -> bytes:
    """A job as JSON: what is given of it, checked as the door does. Raises ``InvalidJobError``."""
    payload = None if new.payload is None else encode_json(new.payload)
    given = {name: value for name, value in new._asdict().items() if name not in _APART and value != NewJob._field_defaults.get(name, ...)}
    if isinstance(new.target_id, int):
        given["target_id"] = str(new.target_id)
    if isinstance(new.run_after, timedelta):
        given["delay_s"] = new.run_after.total_seconds()
    elif new.run_after is not None:
        given["run_after"] = _moment(new.run_after)
    told = encode_json(given, "job")
    return (told if payload is None else f'{told[:-1]},"payload":{payload}}}').encode()


def _moment(when: Any) -> str:
    if hasattr(when, "isoformat"):
        if when.tzinfo is None:
            raise InvalidJobError("run_after is a datetime without a time zone: use datetime.now(timezone.utc) + …, or a timedelta")
        return str(when.isoformat())
    told = utc_time(when)
    if told is None:
        raise InvalidJobError(f"run_after must be an aware datetime, a timedelta or seconds since the epoch, not {when!r}")
    return told


def problem_of(status: int, headers: Mapping[str, str], content: bytes, now: float) -> ApiError:
    """What an answer that is no success means."""
    told = _document(content)
    errors = told.get("errors")
    places = [place for place in errors if isinstance(place, dict)] if isinstance(errors, list) else []
    detail = told.get("detail") or told.get("title") or content.decode("utf-8", "replace").strip()[:_SHOWN]
    return _ERRORS.get(status, ApiError)(
        status,
        str(told.get("type") or "about:blank"),
        str(detail or "the service did not say why"),
        errors=tuple((str(place.get("where", "")), str(place.get("what", ""))) for place in places),
        retry_after_s=retry_after_s(headers, now),
    )


def _document(content: bytes) -> dict[str, Any]:
    try:
        found = decode_json(content.decode("utf-8", "replace"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def understood(model: type[M], content: bytes) -> M:
    """The answer as a record. Raises ``AnswerError``."""
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        places = ", ".join(".".join(map(str, one["loc"])) or "all of it" for one in error.errors()[:3])
        raise AnswerError(f"what answered is not a scheduler that this release understands: not as expected: {places}") from None


def percent_of(job: JobDetails) -> float:
    """How far a job is, 0 to 100."""
    if job.status == "completed":
        return 100.0
    return 0.0 if job.progress is None else job.progress.percent


def counters_of(job: JobDetails) -> dict[str, float | None]:
    """What a long job counted, all its passes together: ``done``, ``failed``, ``total`` (None while unknown), and its handler's own."""
    sums: dict[str, float | None] = {"done": 0, "failed": 0, "total": 0}
    for ledger in job.ledgers:
        before = sums["total"]
        sums["total"] = None if ledger.total is None or before is None else before + ledger.total
        for name, value in {"done": ledger.done, "failed": ledger.failed, **ledger.counters}.items():
            sums[name] = (sums.get(name) or 0) + value
    return sums
