"""Old entries of the journal go with the janitor's sweep, and an infinite keep keeps them."""

from __future__ import annotations

import pytest

from scheduler.retention import SUPERSEDED_AFTER_S, prune
from scheduler.settings import RetentionSettings
from scheduler.stores.memory import MemoryStore
from tests.stores.acts import put, started
from tests.support.jobs import T0, a_draft


@pytest.mark.parametrize(("events_after_s", "kept"), [(100.0, ["lane"]), (float("inf"), ["old", "lane"])])
async def test_what_happened_long_ago_is_forgotten(events_after_s: float, kept: list[str]) -> None:
    store = MemoryStore()
    await put(store, a_draft("old"), now=T0)
    await put(store, a_draft(), now=T0 + 50)
    assert await prune(store, RetentionSettings(events_after_s=events_after_s), T0 + 101) == 0
    assert [entry.task_type for entry in await store.journal(0)] == kept


async def test_progress_of_which_there_is_newer_goes_soon() -> None:
    store = MemoryStore()
    claimed = await started(store, a_draft())
    for percent in (1, 2):
        await store.report([(claimed.lease, f'{{"percent":{percent}}}')], T0)
    await prune(store, RetentionSettings(), T0 + SUPERSEDED_AFTER_S)
    assert len(await store.journal(0)) == 4
    await prune(store, RetentionSettings(), T0 + SUPERSEDED_AFTER_S + 1)
    assert [entry.detail for entry in await store.journal(0)][2:] == [{"percent": 2}]
