"""What a client may meet, in one tree; all of it is a ``SchedulerError``.

ClientError
├── ApiError                the service answered with a problem (RFC 9457)
│   ├── DeniedError             401, 403: the token is missing, wrong, or does not allow this
│   ├── MissingError            404: there is no such thing, or it is not yours (also a ``NotFoundError``)
│   ├── ConflictError           409: it does not go with how things stand
│   ├── RefusedError            400, 413, 415, 422: nothing was changed
│   ├── LimitedError            429: the owner has as many unfinished jobs as it may
│   └── UnavailableError        502, 503, 504: not now, also after trying again
├── UnreachableError        nobody answered, also after trying again
├── AnswerError             what answered is not the service, or is of another release
└── JobFailedError          the job that was followed failed or was cancelled; it is ``error.job``
"""

from __future__ import annotations

from scheduler.errors import NotFoundError, SchedulerError
from scheduler.views.jobs import JobDetails


class ClientError(SchedulerError):
    """The root of what a client raises."""


class ApiError(ClientError):
    """The service answered with a problem.

    ``type`` is its stable word, as ``urn:scheduler:problem:not_found``; ``detail`` says what to do; ``errors`` are the places of the
    request that are wrong, each ``(where, what)``; ``retry_after_s`` is how many seconds the service asks to wait.
    """

    def __init__(
        self, status: int, type: str, detail: str, *, errors: tuple[tuple[str, str], ...] = (), retry_after_s: float | None = None
    ) -> None:
        super().__init__(f"{detail} (HTTP {status})")
        self.status = status
        self.type = type
        self.detail = detail
        self.errors = errors
        self.retry_after_s = retry_after_s


class DeniedError(ApiError):
    """The token is missing, wrong, or does not allow this."""


class MissingError(ApiError, NotFoundError):
    """There is no such thing for whoever asked."""


class ConflictError(ApiError):
    """It does not go with how things stand: a job that has ended cannot be cancelled, say."""


class RefusedError(ApiError):
    """The request is refused, and changed nothing."""


class LimitedError(ApiError):
    """The owner has as many unfinished jobs as it may have."""


class UnavailableError(ApiError):
    """The service, or what stands before it, cannot answer now."""


class UnreachableError(ClientError):
    """Nobody answered."""


class AnswerError(ClientError):
    """The answer is not one of the service's."""


class JobFailedError(ClientError):
    """A job that was followed failed or was cancelled."""

    def __init__(self, job: JobDetails) -> None:
        told = ": ".join(filter(None, (job.reason, job.error)))
        super().__init__(f"job {job.job_id} ended as {job.status}" + (f" ({told})" if told else ""))
        self.job = job
