"""A scheduler for AI jobs that lives inside your Python process: the public names."""

from scheduler.batches import Batch, BatchReceipt
from scheduler.calls import Call, JobPool
from scheduler.chunks import Chunk, ItemFailed, Report
from scheduler.context import JobContext
from scheduler.errors import (
    AIProviderError,
    AuthError,
    ConfigError,
    ContentFilteredError,
    ContextTooLongError,
    DuplicateRouteError,
    IdempotencyConflictError,
    InvalidJobError,
    InvalidOutputError,
    InvalidRequestError,
    ItemsFailedError,
    NotFoundError,
    OverloadedError,
    OwnerLimitError,
    PoolHeldError,
    ProviderRefusedError,
    QuotaExhaustedError,
    RateLimitError,
    SchedulerError,
    StoreBusyError,
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreTooNewError,
)
from scheduler.job import Item, Job, NewJob, Progress, Receipt, Status
from scheduler.pauses import PauseWindow
from scheduler.registry import Registry, Resources
from scheduler.remaining import Left
from scheduler.runtime import Scheduler
from scheduler.settings import Settings
from scheduler.stats import Bucket
from scheduler.why import Cause, Why

__all__ = [
    "AIProviderError",
    "AuthError",
    "Batch",
    "BatchReceipt",
    "Bucket",
    "Call",
    "Cause",
    "Chunk",
    "ConfigError",
    "ContentFilteredError",
    "ContextTooLongError",
    "DuplicateRouteError",
    "IdempotencyConflictError",
    "InvalidJobError",
    "InvalidOutputError",
    "InvalidRequestError",
    "Item",
    "ItemFailed",
    "ItemsFailedError",
    "Job",
    "JobContext",
    "JobPool",
    "Left",
    "NewJob",
    "NotFoundError",
    "OverloadedError",
    "OwnerLimitError",
    "PauseWindow",
    "PoolHeldError",
    "Progress",
    "ProviderRefusedError",
    "QuotaExhaustedError",
    "RateLimitError",
    "Receipt",
    "Registry",
    "Report",
    "Resources",
    "Scheduler",
    "SchedulerError",
    "Settings",
    "Status",
    "StoreBusyError",
    "StoreDamagedError",
    "StoreError",
    "StoreFullError",
    "StoreTooNewError",
    "Why",
]
