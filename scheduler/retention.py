"""Deleting what ended or happened long enough ago, in portions, so that writers get their turn in between."""

from __future__ import annotations

from scheduler.job import FAILED, Status
from scheduler.settings import RetentionSettings
from scheduler.stores.base import Store

PORTION = 500
#: Progress of which there is newer is kept so many seconds, for those who stream it.
SUPERSEDED_AFTER_S = 60.0

_DONE = frozenset({Status.COMPLETED, Status.CANCELLED})


async def prune(store: Store, keep: RetentionSettings, now: float, *, portions: int | None = None) -> int:
    """Delete as ``keep`` allows, at most ``portions`` portions of each kind (None: all); returns how many."""
    deleted = 0
    for statuses, after_s in ((_DONE, keep.completed_after_s), (FAILED, keep.failed_after_s)):
        if after_s == float("inf"):
            continue
        done = 0
        while portions is None or done < portions:
            done += 1
            portion = await store.prune(statuses, now - after_s, PORTION)
            deleted += portion
            if portion < PORTION:
                break
    await _prune_journal(store, keep, now, portions)
    return deleted


async def _prune_journal(store: Store, keep: RetentionSettings, now: float, portions: int | None) -> None:
    done, before = 0, max(0.0, now - keep.events_after_s)  # an infinity has no microseconds
    while portions is None or done < portions:
        done += 1
        if await store.prune_journal(before, now - SUPERSEDED_AFTER_S, PORTION) < PORTION:
            break
