"""What happens to a service, its event loop and its store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from scheduler.events.bus import Event


@dataclass(frozen=True, slots=True)
class LoopBlocked(Event):
    """The event loop did not turn for ``blocked_s`` seconds; ``handler`` was running, at ``where``."""

    name: ClassVar[str] = "loop.blocked"
    level: ClassVar[str] = "error"
    blocked_s: float
    handler: str
    where: str
    job_id: str | None

    def fields(self) -> dict[str, Any]:
        return {"blocked_s": round(self.blocked_s, 3), "handler": self.handler, "where": self.where, "job_id": self.job_id}


@dataclass(frozen=True, slots=True)
class StoreFailing(Event):
    """The store refuses writes; outcomes are kept in memory and tried again."""

    name: ClassVar[str] = "store.failing"
    level: ClassVar[str] = "error"
    error: str

    def fields(self) -> dict[str, Any]:
        return {"error": self.error}


@dataclass(frozen=True, slots=True)
class StoreRecovered(Event):
    name: ClassVar[str] = "store.recovered"
    level: ClassVar[str] = "warning"
    failing_s: float

    def fields(self) -> dict[str, Any]:
        return {"failing_s": round(self.failing_s, 3)}


@dataclass(frozen=True, slots=True)
class ServiceEvent(Event):
    worker: str
    detail: str = ""

    def fields(self) -> dict[str, Any]:
        return {"worker": self.worker} | ({"detail": self.detail} if self.detail else {})


@dataclass(frozen=True, slots=True)
class ServiceStarted(ServiceEvent):
    name: ClassVar[str] = "service.started"


@dataclass(frozen=True, slots=True)
class ServiceDraining(ServiceEvent):
    name: ClassVar[str] = "service.draining"


@dataclass(frozen=True, slots=True)
class ServiceStopped(ServiceEvent):
    name: ClassVar[str] = "service.stopped"
