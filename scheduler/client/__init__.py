"""The service from another program: jobs in, followed to their end, over HTTP (docs/clients.md).

Needs the extra ``client``. Does not belong here: what is answered (``api/``), or how a job looks (``views/``, the same on both ends).
"""

from scheduler.client.errors import (
    AnswerError,
    ApiError,
    ClientError,
    ConflictError,
    DeniedError,
    JobFailedError,
    LimitedError,
    MissingError,
    RefusedError,
    UnavailableError,
    UnreachableError,
)
from scheduler.errors import ConfigError

try:
    from scheduler.client.jobs import JobClient
    from scheduler.client.sync import SyncJobClient
    from scheduler.client.words import counters_of, percent_of
except ModuleNotFoundError as error:
    if error.name != "httpx2":
        raise
    raise ConfigError("scheduler.client needs a library that is not installed: pip install 'ai-job-scheduler[client]'") from None

__all__ = [
    "AnswerError",
    "ApiError",
    "ClientError",
    "ConflictError",
    "DeniedError",
    "JobClient",
    "JobFailedError",
    "LimitedError",
    "MissingError",
    "RefusedError",
    "SyncJobClient",
    "UnavailableError",
    "UnreachableError",
    "counters_of",
    "percent_of",
]
