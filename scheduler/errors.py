"""Every error this project raises or understands, in one tree.

    SchedulerError
    ├── ConfigError                 a setting, module or route is wrong; nothing was started
    │   └── DuplicateRouteError     two handlers claim one (task_type, target_type)
    ├── InvalidJobError             refused at the door; nothing was stored
    │   ├── OwnerLimitError         the owner has as many unfinished jobs as it may
    │   ├── UnknownJobError         it is to wait for a job that does not exist
    │   ├── NotConfiguredError      it asks for something that this service is not configured for
    │   └── IdempotencyConflictError    the request key was used for another body
    ├── ItemsFailedError            some items of a long job failed; the ledger says which
    ├── NotFoundError               no such job, or not yours (the two look alike)
    ├── StoreError                  the store could not do it
    │   ├── StoreBusyError          locked by another process for too long: try again
    │   ├── StoreFullError          no space left: free some, then try again
    │   ├── StoreDamagedError       the file is not a sound store: restore a backup
    │   └── StoreTooNewError        written by a newer release: upgrade this one
    └── AIProviderError             raised by handlers: the provider pushed back
        ├── RateLimitError              "later": pause the lane or pool, attempt given back
        │   ├── OverloadedError         the provider is at its limit, not we at ours
        │   ├── PoolHeldError           raised by job.pool.request: let it pass
        │   └── QuotaExhaustedError     budget or billing stop: pause for long, tell the operator
        ├── InvalidOutputError          the answer does not fit; counted and tried again
        ├── DeliveryError               a webhook's receiver did not take it; counted and tried again
        └── ProviderRefusedError        refused for good: no second try
            ├── AuthError
            ├── InvalidRequestError
            ├── ContextTooLongError
            ├── ContentFilteredError
            └── UndeliverableError      a webhook that will never be taken

What does not belong here: deciding what an error means for a job (``decide.py``) and
reading provider answers (``pools/answers.py``).
"""

from __future__ import annotations

from typing import Any


class SchedulerError(Exception):
    """The root: ``except SchedulerError`` catches all that this project raises."""


class ConfigError(SchedulerError):
    """A setting, a handler module or a route is wrong; says which, and what to do."""


class DuplicateRouteError(ConfigError):
    """Two handlers were registered for the same ``(task_type, target_type)``."""


class InvalidJobError(SchedulerError, ValueError):
    """The job was refused at the door and nothing was stored."""


class OwnerLimitError(InvalidJobError):
    """The owner has as many unfinished jobs as it may have; nothing was stored."""


class UnknownJobError(InvalidJobError):
    """``after`` names a job that does not exist (for the owner); nothing was stored."""


class NotConfiguredError(InvalidJobError):
    """The job asks for something that this service is not configured for; nothing was stored."""


class IdempotencyConflictError(InvalidJobError):
    """The owner used this ``request_key`` for another body; nothing was stored."""

    @classmethod
    def of(cls, key: str) -> IdempotencyConflictError:
        return cls(f"request_key {key!r} was used for another job: give every request a key of its own, or send the same job again")


class ItemsFailedError(SchedulerError):
    """A long job went through all of its items, and some failed. ``report`` is what it came to, as ``Report.to_dict`` gives it."""

    def __init__(self, report: dict[str, Any], first: str = "") -> None:
        self.report = report
        text = f"{report['failed']} of {report['total']} items failed"
        super().__init__(f"{text}; first: {first}" if first else text)


class NotFoundError(SchedulerError, LookupError):
    """There is no such job (or pool) for whoever asked."""


class StoreError(SchedulerError):
    """The store could not do what was asked; the message says what to do."""


class StoreBusyError(StoreError):
    """Another process held the database for longer than the busy time-out: try again."""


class StoreFullError(StoreError):
    """The disk (or the database's quota) is full: free space, then try again."""


class StoreDamagedError(StoreError):
    """The database file is damaged or not a store: nothing was changed."""


class StoreTooNewError(StoreError):
    """The database was written by a newer release than this one."""


class AIProviderError(SchedulerError):
    """The provider failed for now: counted, retried with backoff, then ``failed_ai``.

    ``retry_after_s`` (seconds) is a floor for the next try. ``reason`` is the stable
    snake_case word that is stored with the job.
    """

    reason: str = "provider_error"

    def __init__(self, message: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(message or self.reason.replace("_", " "))
        self.retry_after_s = retry_after_s


class RateLimitError(AIProviderError):
    """The provider said "later": the lane (or the handler's pool) is paused.

    ``retry_after_s`` is the provider's own hint in seconds; without it the pause is
    ``rate_limit_pause_s``, doubling while it repeats. The attempt is given back.
    """

    reason = "rate_limited"


class OverloadedError(RateLimitError):
    """The provider is overloaded (503, 529, queue full): a short, growing pause."""

    reason = "overloaded"


class PoolHeldError(RateLimitError):
    """The job's pool is held for longer than a slot is worth: the job is put off, its attempt given back.

    ``job.pool.request`` raises it; a handler lets it pass. ``reason`` is the pool's.
    """

    def __init__(self, message: str = "", *, retry_after_s: float | None = None, reason: str = "") -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.reason = reason or type(self).reason


class QuotaExhaustedError(RateLimitError):
    """A budget, billing or daily quota is used up: a long pause until somebody acts."""

    reason = "quota_exhausted"


class InvalidOutputError(AIProviderError):
    """The provider answered, but not with what was asked for; counted and tried again."""

    reason = "invalid_output"


class DeliveryError(AIProviderError):
    """A webhook's receiver did not take it: unreachable, too slow, or an answer that is no 2xx. Counted and tried again, for hours."""

    reason = "delivery_failed"


class ProviderRefusedError(AIProviderError):
    """The provider refused for good: the job ends as ``failed_ai`` without a second try."""

    reason = "refused"


class AuthError(ProviderRefusedError):
    """401 or 403: the key is wrong or may not do this."""

    reason = "auth"


class InvalidRequestError(ProviderRefusedError):
    """400, 404 or 422: the provider will never accept this request."""

    reason = "invalid_request"


class ContextTooLongError(ProviderRefusedError):
    """The input does not fit the model's context or the request size limit."""

    reason = "context_too_long"


class ContentFilteredError(ProviderRefusedError):
    """The provider's policy filter refused the input or the answer."""

    reason = "content_filtered"


class UndeliverableError(ProviderRefusedError):
    """A webhook will never be taken; ``reason`` says why: ``receiver_gone``, ``address_refused`` or ``webhook_unknown``."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
