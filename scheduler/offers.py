"""What a worker runs, as its row in the store tells the others. Pure.

Settings and routes are one process's; whoever asks why a job waits needs those of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scheduler.values import decode_json, encode_json


@dataclass(frozen=True, slots=True)
class Offer:
    """One task type. ``target_types`` None: any. ``concurrency`` is the worker's own limit, ``max_running`` that of all together."""

    target_types: tuple[str, ...] | None = None
    pool: str | None = None
    concurrency: int | None = None
    max_running: int | None = None

    def takes(self, target_type: str) -> bool:
        return self.target_types is None or target_type in self.target_types


@dataclass(frozen=True, slots=True)
class Offers:
    """``concurrency`` and ``pools``: jobs at once. ``fails_unknown``: it takes jobs that it has no handler for, and fails them."""

    concurrency: int
    fails_unknown: bool
    task_types: Mapping[str, Offer] = field(default_factory=dict)
    pools: Mapping[str, int] = field(default_factory=dict)

    def handles(self, task_type: str, target_type: str) -> bool:
        """Whether it has a handler for the route."""
        offer = self.task_types.get(task_type)
        return offer is not None and offer.takes(target_type)

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {
            "concurrency": self.concurrency,
            "fails_unknown": self.fails_unknown,
            "task_types": {
                name: {
                    "target_types": None if offer.target_types is None else list(offer.target_types),
                    "pool": offer.pool,
                    "concurrency": offer.concurrency,
                    "max_running": offer.max_running,
                }
                for name, offer in self.task_types.items()
            },
            "pools": dict(self.pools),
        }

    def to_json(self) -> str:
        return encode_json(self.to_dict(), "offers")


def offers_from(text: str | None) -> Offers | None:
    """The stored offers; None where there are none, or where another release wrote something else."""
    if text is None:
        return None
    try:
        told = decode_json(text)
        task_types = {
            name: Offer(
                None if one["target_types"] is None else tuple(one["target_types"]), one["pool"], one["concurrency"], one["max_running"]
            )
            for name, one in told["task_types"].items()
        }
        return Offers(told["concurrency"], told["fails_unknown"], task_types, told["pools"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
