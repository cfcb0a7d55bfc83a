"""What happened, as frozen records, and the bus that tells subscribers.

Each state change emits exactly one event. Logs, metrics, live streams and target statuses only
subscribe; nothing in the engine knows who listens. A subscriber is a plain callable that must
return at once; one that raises is reported and does not disturb the others.

Does not belong here: how an event is written (``logs.py``).
"""

from scheduler.events.bus import Event, Events, event_types
from scheduler.events.jobs import (
    HandlerUnresponsive,
    JobCancelled,
    JobCompleted,
    JobEnded,
    JobEnqueued,
    JobEvent,
    JobFailed,
    JobInterrupted,
    JobLost,
    JobPaused,
    JobProgressed,
    JobRateLimited,
    JobRequeued,
    JobResumed,
    JobRetrying,
    JobStarted,
)
from scheduler.events.scopes import (
    POOL_EVENTS,
    LanePaused,
    LaneProbing,
    LaneResumed,
    PoolDistrusted,
    PoolEvent,
    PoolHeld,
    PoolInFlightChanged,
    PoolLimitLearned,
    PoolOpened,
    PoolOutage,
    PoolPaceChanged,
)
from scheduler.events.service import (
    LoopBlocked,
    ServiceDraining,
    ServiceEvent,
    ServiceStarted,
    ServiceStopped,
    StoreFailing,
    StoreRecovered,
)

__all__ = [
    "POOL_EVENTS",
    "Event",
    "Events",
    "HandlerUnresponsive",
    "JobCancelled",
    "JobCompleted",
    "JobEnded",
    "JobEnqueued",
    "JobEvent",
    "JobFailed",
    "JobInterrupted",
    "JobLost",
    "JobPaused",
    "JobProgressed",
    "JobRateLimited",
    "JobRequeued",
    "JobResumed",
    "JobRetrying",
    "JobStarted",
    "LanePaused",
    "LaneProbing",
    "LaneResumed",
    "LoopBlocked",
    "PoolDistrusted",
    "PoolEvent",
    "PoolHeld",
    "PoolInFlightChanged",
    "PoolLimitLearned",
    "PoolOpened",
    "PoolOutage",
    "PoolPaceChanged",
    "ServiceDraining",
    "ServiceEvent",
    "ServiceStarted",
    "ServiceStopped",
    "StoreFailing",
    "StoreRecovered",
    "event_types",
]
