"""Job after job fails with no success between: is it the jobs, or the provider? Pure.

One job that always fails among healthy ones is a bad job, and its attempts are counted. Three different jobs that
fail with nothing succeeding between them are an outage, and none of their failures is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from scheduler.job import Lease

#: So many different jobs in a row make an outage.
JOBS = 3
#: Failures remembered: one job that fails and fails must not fill the memory.
REMEMBERED = 100


@dataclass(slots=True)
class Streak:
    """The failures since the last success."""

    failures: list[Lease] = field(default_factory=list)
    is_outage: bool = False

    @property
    def jobs(self) -> int:
        """How many different jobs failed."""
        return len({lease.job_id for lease in self.failures})

    def succeeded(self) -> bool:
        """The provider works; returns whether that ends an outage."""
        ended = self.is_outage
        self.failures.clear()
        self.is_outage = False
        return ended

    def forget(self, lease: Lease) -> None:
        """That failure was given back otherwise."""
        if lease in self.failures:
            self.failures.remove(lease)

    def failed(self, lease: Lease) -> list[Lease]:
        """One more; returns the earlier failures that are to be given back, when this one makes it an outage."""
        if self.is_outage:
            return []
        earlier = list(self.failures)
        if len({each.job_id for each in (*earlier, lease)}) >= JOBS:
            self.is_outage = True
            self.failures.clear()
            return earlier
        self.failures.append(lease)
        del self.failures[:-REMEMBERED]
        return []
