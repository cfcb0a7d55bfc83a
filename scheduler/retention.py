"""Deleting what ended or happened long enough ago, in portions, so that writers get their turn in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from scheduler.job import FAILED, Status
from scheduler.settings import RetentionSettings
from scheduler.stores.base import Store

PORTION = 500
#: Progress of which there is newer is kept so many seconds, for those who stream it.
SUPERSEDED_AFTER_S = 60.0
#: A request that is sent again within so many seconds gets the job that it got (``NewJob.request_key``).
REQUESTS_AFTER_S = 86_400.0

_DONE = frozenset({Status.COMPLETED, Status.CANCELLED})


async def prune(store: Store, keep: RetentionSettings, now: float, *, portions: int | None = None) -> int:
    """Delete as ``keep`` allows, at most ``portions`` portions of each kind (None: all); returns how many jobs."""
    deleted = 0
    for statuses, after_s in ((_DONE, keep.completed_after_s), (FAILED, keep.failed_after_s)):
        if after_s != float("inf"):
            deleted += await _portions(partial(store.prune, statuses, now - after_s, PORTION), portions)
    before = max(0.0, now - keep.events_after_s)  # an infinity has no microseconds
    await _portions(partial(store.prune_journal, before, now - SUPERSEDED_AFTER_S, PORTION), portions)
    await _portions(partial(store.forget, now - REQUESTS_AFTER_S, PORTION), portions)
    return deleted


async def _portions(delete: Callable[[], Awaitable[int]], portions: int | None) -> int:
    """Until nothing is left; how many went."""
    deleted = done = 0
    while portions is None or done < portions:
        done += 1
        portion = await delete()
        deleted += portion
        if portion < PORTION:
            break
    return deleted
