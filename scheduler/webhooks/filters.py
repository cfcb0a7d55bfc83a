"""Which entries of the journal a configured webhook tells of. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.job import Status
from scheduler.journal import Entry
from scheduler.named import WebhookSettings

#: The task type of deliveries: of them nothing is told, or a webhook would tell of itself without end.
DELIVER = "deliver_webhook"
#: These come while a job stands where it stood.
_NO_MOVES = frozenset({"job.progress", "job.paused", "job.resumed"})


@dataclass(frozen=True, slots=True)
class Filter:
    """What must be so of an entry. Of an empty set, and of no owner, whatever is so."""

    statuses: frozenset[Status]
    reasons: frozenset[str] = frozenset()
    task_types: frozenset[str] = frozenset()
    owner: str | None = None

    def matches(self, entry: Entry) -> bool:
        if entry.job_id is None or entry.task_type == DELIVER or entry.name in _NO_MOVES or entry.status not in self.statuses:
            return False
        if self.reasons and entry.reason not in self.reasons:
            return False
        return (not self.task_types or entry.task_type in self.task_types) and self.owner in (None, entry.owner)


def filter_of(settings: WebhookSettings) -> Filter:
    return Filter(frozenset(settings.statuses), frozenset(settings.reasons), frozenset(settings.task_types), settings.owner)
