"""The ways an attempt ends, as values. ``decide.py`` turns each into a ``Transition``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Returned:
    """The handler returned; ``result_json`` is its result as JSON text (None for None)."""

    result_json: str | None


@dataclass(frozen=True, slots=True)
class Raised:
    """The handler raised ``error``: any ``BaseException``, groups included."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The attempt ran longer than its limit of ``limit_s`` seconds."""

    limit_s: float
    ignored_cancellation: bool = False


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody cancelled the job while it ran."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The service is stopping; the job was not at fault."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker died or lost its lease with the job in its hands."""

    worker: str


@dataclass(frozen=True, slots=True)
class Unroutable:
    """No handler is registered for the job's route."""


@dataclass(frozen=True, slots=True)
class BadPayload:
    """The payload is not a JSON object (``payload_not_json``) or does not fit (``payload_invalid``)."""

    reason: str
    error: str


@dataclass(frozen=True, slots=True)
class BadResult:
    """The handler returned something that JSON cannot hold."""

    error: str


@dataclass(frozen=True, slots=True)
class Doomed:
    """Something that the job waited for failed: ``verdict`` is ``"fail"`` or ``"cancel"``, ``which`` names it."""

    verdict: str
    which: str


@dataclass(frozen=True, slots=True)
class WaitedTooLong:
    """The provider kept saying "later" for longer than the job may wait."""


Outcome = Returned | Raised | TimedOut | Cancelled | Interrupted | Lost | Unroutable | BadPayload | BadResult | Doomed | WaitedTooLong
