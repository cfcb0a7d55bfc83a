"""Matching through the real engine: what each pass finds, and what an interruption costs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from handlers.enrichment import provider as default_provider
from handlers.matching import MATCH, routes
from handlers.providers import Provider, Question, open_provider
from handlers.searching import Page, Searches, SearchIndex
from handlers.tables import content_hash, read_table
from scheduler import InvalidOutputError, Job, RateLimitError, Status
from scheduler.calls import UNPACED, JobPool
from scheduler.settings import ProviderSettings
from tests.support.engine import Engine, engine
from tests.support.shop import Shop, shop
from tests.support.virtual_time import in_virtual_time

SHOP = shop(120)


class Slowly:
    """The local provider, two seconds an answer; ``asked`` counts the answers by item, ``trouble`` may raise instead."""

    model = "local:slow"

    def __init__(self) -> None:
        self.inner = open_provider(ProviderSettings())
        self.asked: Counter[str] = Counter()
        self.trouble: dict[int, Exception] = {}
        self.calls = 0

    async def ask(self, question: Question[Any], pool: JobPool = UNPACED) -> Any:
        self.calls += 1
        if error := self.trouble.pop(self.calls, None):
            raise error
        await anyio.sleep(2.0)
        self.asked[question.subject.title] += 1
        return await self.inner.ask(question)

    async def aclose(self) -> None:
        """Nothing to close."""


async def matched(at: Engine, folder: Path, made: Shop = SHOP, **more: Any) -> Job:
    items, catalogue, pages = made.write(folder)
    payload = {"items": str(items), "catalogue": str(catalogue), "pages": str(pages), "out": str(folder / "out.csv"), **more}
    payload = {"content_hash": content_hash(items, catalogue), **payload}
    receipt = await at.scheduler.enqueue(MATCH, payload=payload)
    await at.scheduler.run(until_empty=True)
    return await at.job(receipt.job_id)


def outcome(folder: Path, made: Shop = SHOP) -> Counter[tuple[str, str, bool]]:
    """How items were written, how they were matched, and whether that is the truth."""
    lines = read_table(folder / "out.csv")
    assert [line["item"] for line in lines] == [row["id"] for row in made.items]
    return Counter((made.ways[line["item"]], line["how"], (line["match"] or None) == made.truth[line["item"]]) for line in lines)


@in_virtual_time
async def test_each_pass_finds_its_share_and_every_match_is_true(store: str, tmp_path: Path) -> None:
    async with engine(routes, store) as at:
        job = await matched(at, tmp_path / "shop")
    found = outcome(tmp_path / "shop")
    assert {(way, how) for way, how, _ in found} == {
        ("same", "exact"),
        ("ean", "exact"),
        ("typo", "fuzzy"),
        ("typo", "ai"),  # spelt so badly that somebody must choose
        ("words", "ai"),
        ("nickname", "search"),
        ("unknown", ""),
    }
    assert all(is_true for _, _, is_true in found)
    result = job.result
    ways = Counter(SHOP.ways.values())
    by_pass = result["by_pass"]
    assert by_pass["exact"] == ways["same"] + ways["ean"]
    assert by_pass["fuzzy"] + by_pass["ai"] == ways["typo"] + ways["words"]
    assert by_pass["fuzzy"] > by_pass["search"] == ways["nickname"]
    assert result["matches"] == 120 - ways["unknown"]
    assert result["match_rate"] == round(100 * result["matches"] / 120, 1)
    assert (result["total"], result["processed"], result["failed"]) == (120, 120, 0)
    assert job.progress is not None
    assert job.progress.percent == 100.0


@in_virtual_time
async def test_rules_alone_ask_nobody(tmp_path: Path) -> None:
    slow = Slowly()
    async with engine(routes) as at:
        at.scheduler.resources.put(Provider, slow)  # type: ignore[type-abstract]
        job = await matched(at, tmp_path / "shop", passes=[])
    assert slow.asked.total() == 0
    assert set(job.result["by_pass"]) == {"exact", "fuzzy"}


@in_virtual_time
async def test_a_rate_limit_in_the_middle_loses_nothing_but_the_chunks_in_flight(store: str, tmp_path: Path) -> None:
    slow = Slowly()
    slow.trouble = {35: RateLimitError(retry_after_s=30)}
    async with engine(routes, store) as at:
        at.scheduler.resources.put(Provider, slow)  # type: ignore[type-abstract]
        job = await matched(at, tmp_path / "shop", at_once=1)
        assert at.history.names(job.job_id).count("job.rate_limited") == 1
    assert job.status is Status.COMPLETED
    assert job.attempts == 1, "the attempt was given back"
    assert all(is_true for _, _, is_true in outcome(tmp_path / "shop"))
    assert slow.asked.most_common(1)[0][1] <= 2
    assert sum(1 for count in slow.asked.values() if count > 1) <= 10, "only the chunk in flight is asked again"


@in_virtual_time
async def test_a_job_that_was_stopped_goes_on_where_it_stood(sqlite: str, tmp_path: Path) -> None:
    slow = Slowly()
    items, catalogue, pages = SHOP.write(tmp_path / "shop")
    payload = {"items": str(items), "catalogue": str(catalogue), "pages": str(pages), "out": str(tmp_path / "shop" / "out.csv")}
    async with engine(routes, sqlite, scheduler={"drain_grace_s": 0.0}) as at:
        at.scheduler.resources.put(Provider, slow)  # type: ignore[type-abstract]
        receipt = await at.scheduler.enqueue(MATCH, payload=payload)
        async with at.running():
            await at.until(lambda: slow.asked.total() >= 15)
    async with engine(routes, sqlite) as at:
        at.alone = False
        at.scheduler.resources.put(Provider, slow)  # type: ignore[type-abstract]
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
    assert job.status is Status.COMPLETED
    assert all(is_true for _, _, is_true in outcome(tmp_path / "shop"))
    assert slow.asked.most_common(1)[0][1] <= 2
    assert sum(1 for count in slow.asked.values() if count > 1) <= 20, "two chunks of ten were in flight"


@in_virtual_time
async def test_items_that_the_provider_cannot_answer_fail_alone_and_are_asked_again_by_a_retry(tmp_path: Path) -> None:
    slow = Slowly()
    slow.trouble = {3: InvalidOutputError("no choice"), 14: InvalidOutputError("no choice")}
    async with engine(routes) as at:
        at.scheduler.resources.put(Provider, slow)  # type: ignore[type-abstract]
        job = await matched(at, tmp_path / "shop", at_once=1, passes=["ai"])
        assert (job.status, job.reason) == (Status.FAILED_JOB_LOGIC, "items_failed")
        assert job.result["failed"] == 2
        asked = slow.asked.total()
        await at.scheduler.retry(job.job_id)
        await at.scheduler.run(until_empty=True)
        job = await at.job(job.job_id)
    assert job.status is Status.COMPLETED
    assert slow.asked.total() == asked + 2
    assert job.result["by_pass"]["ai"] >= Counter(SHOP.ways.values())["words"]


@in_virtual_time
async def test_files_that_changed_meanwhile_are_refused(tmp_path: Path) -> None:
    async with engine(routes, scheduler={"max_attempts": 1}) as at:
        job = await matched(at, tmp_path / "shop", content_hash="of another day")
    assert job.status is Status.FAILED_JOB_LOGIC
    assert "changed since this job was made" in (job.error or "")


@in_virtual_time
async def test_rows_may_come_in_the_payload() -> None:
    rows = [{"name": "red paint 5 l"}, {"name": "blue paint 5 l"}]
    async with engine(routes) as at:
        receipt = await at.scheduler.enqueue(MATCH, payload={"items": [{"name": "PAINT, RED 5l"}], "catalogue": rows, "passes": []})
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
    assert job.result["examples"] == {"exact": [["1", "PAINT, RED 5l", "1", "red paint 5 l", 1.0, "exact"]]}


@in_virtual_time
async def test_another_search_engine_takes_the_place_of_the_local_index(tmp_path: Path) -> None:
    asked: list[str] = []

    class Web:
        async def search(self, query: str, limit: int) -> list[Page]:
            asked.append(query)
            if len(asked) == 2:
                raise RateLimitError(retry_after_s=5)
            return [Page("http://example.org", f"{query} is the same as {SHOP.catalogue[0]['name']}")]

        async def aclose(self) -> None:
            asked.append("closed")

    class WebSearches(Searches):
        async def open(self, folder: str, pages: Any) -> SearchIndex:
            return Web()

    async with engine(routes) as at:
        at.scheduler.resources.put(Searches, WebSearches())
        rows = [{"name": f"Wombat {kind}"} for kind in ("grey", "brown", "white")]
        receipt = await at.scheduler.enqueue(MATCH, payload={"items": rows, "catalogue": SHOP.catalogue, "passes": ["search"]})
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
    assert job.result["by_pass"] == {"search": 3}
    assert asked.count("closed") == 2, "one index an attempt"


def test_the_default_provider_is_the_configured_one() -> None:
    assert routes.factories[Provider] is default_provider


@pytest.mark.parametrize("items", [[], [{"name": ""}]], ids=["none", "nameless"])
@in_virtual_time
async def test_there_may_be_nothing_to_match(items: list[dict[str, str]]) -> None:
    async with engine(routes) as at:
        receipt = await at.scheduler.enqueue(MATCH, payload={"items": items, "catalogue": SHOP.catalogue})
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
    assert job.status is Status.COMPLETED
    assert (job.result["matches"], job.result["match_rate"]) == (0, 0.0)
