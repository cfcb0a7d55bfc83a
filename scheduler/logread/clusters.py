"""Errors that differ only in numbers, ids, paths and quotations are one error. Pure.

A *fingerprint* is the error with those parts replaced. The number of clusters is bounded: when there
are too many, the rarest and oldest are let go and only counted, so that what happens often stays.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_MAX_TEXT = 500
_MAX_CLUSTERS = 1_000

#: The parts that vary. Linear; most alternatives are tried at the beginnings of words only.
_VARIES = re.compile(
    r"""(?<![0-9A-Za-z_])(?:
            (?P<uuid>[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b)
          | (?P<hex>0x[0-9a-fA-F]+\b | (?=[a-fA-F]{0,64}[0-9])(?=[0-9]{0,64}[a-fA-F])[0-9a-fA-F]{8,}\b)
          | (?P<url>[a-z]{2,8}://[^\s"'<>]+)
          | (?P<quoted>'[^'\n]{0,300}'(?!\w))
          | (?P<path>\.{0,2}/[\w.@+~-]+(?:/[\w.@+~-]+)* | [A-Za-z]:\\[\w.@+~\\-]+)
        )
      | (?P<text>"[^"\n]{0,300}" | `[^`\n]{0,300}`)
      | (?P<n>[0-9]+(?:[.,:][0-9]+)*)""",
    re.VERBOSE,
)


@lru_cache(maxsize=4096)
def fingerprint(error: str) -> str:
    """``error`` with what varies from case to case replaced: ``<n>``, ``<hex>``, ``<uuid>``, ``<path>``, ``<url>``, ``<text>``."""
    return _VARIES.sub(_named, error[:_MAX_TEXT])


def _named(found: re.Match[str]) -> str:
    return "<text>" if found.lastgroup == "quoted" else f"<{found.lastgroup}>"


@dataclass(frozen=True, slots=True)
class ErrorCluster:
    """One distinct error: how often, one example of it, and when (ISO 8601) it was seen first and last."""

    fingerprint: str
    reason: str
    count: int
    sample: str
    sample_job_id: str
    task_types: tuple[str, ...]
    first_seen: str
    last_seen: str

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__} | {"task_types": list(self.task_types)}


@dataclass(slots=True)
class _Growing:
    sample: str
    sample_job_id: str
    first_seen: str
    last_seen: str
    task_types: dict[str, None]
    count: int = 0


class Clusters:
    """Collects errors. ``let_go`` counts those whose cluster did not fit."""

    def __init__(self, limit: int = _MAX_CLUSTERS) -> None:
        self.let_go = 0
        self._limit = limit
        self._clusters: dict[tuple[str, str], _Growing] = {}

    def add(self, error: str, reason: str, task_type: str, job_id: str, timestamp: str) -> None:
        key = (fingerprint(error), reason)
        found = self._clusters.get(key)
        if found is None:
            if len(self._clusters) >= self._limit:
                self._make_room()
            found = self._clusters[key] = _Growing(error[:_MAX_TEXT], job_id, timestamp, timestamp, {})
        found.count += 1
        if timestamp:
            found.first_seen = min(found.first_seen or timestamp, timestamp)
            found.last_seen = max(found.last_seen, timestamp)
        if task_type and len(found.task_types) < 10:
            found.task_types[task_type] = None

    def most(self, top: int) -> tuple[ErrorCluster, ...]:
        """The ``top`` most frequent."""
        ranked = sorted(self._clusters.items(), key=lambda item: (-item[1].count, item[1].first_seen, item[0]))
        return tuple(
            ErrorCluster(
                fingerprint=key[0],
                reason=key[1],
                count=one.count,
                sample=one.sample,
                sample_job_id=one.sample_job_id,
                task_types=tuple(sorted(one.task_types)),
                first_seen=one.first_seen,
                last_seen=one.last_seen,
            )
            for key, one in ranked[:top]
        )

    def __len__(self) -> int:
        return len(self._clusters)

    def _make_room(self) -> None:
        """Let a quarter go at once, so that a flood of distinct errors does not sort for each."""
        rarest = sorted(self._clusters, key=lambda key: (self._clusters[key].count, self._clusters[key].last_seen))
        for key in rarest[: max(1, self._limit // 4)]:
            self.let_go += self._clusters.pop(key).count
