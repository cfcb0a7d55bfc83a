"""Matching a list of items against a catalogue, in three passes that each take what the one before left.

Rules and spelling settle most items in a moment; a provider chooses among the likeliest entries for what remains; a search
finds pages that say what the rest could be. Each pass works in chunks with a ledger of its own, so that whatever ends an attempt
costs the chunks in flight. Does not belong here: when two names are alike (``likeness.py``), searching (``searching.py``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
from anyio import to_thread

from handlers.enrichment import POOL, prompt, provider
from handlers.likeness import Catalogue, Match, Thing
from handlers.lists import AI, SEARCH, MatchItems
from handlers.mentions import Mentions
from handlers.providers import CHOICE, Choice, Provider, Question, Subject
from handlers.searching import Page, Searches, SearchIndex
from handlers.tables import write_csv
from scheduler import Chunk, InvalidOutputError, ItemFailed, ItemsFailedError, JobContext, ProviderRefusedError, Registry
from scheduler.errors import AuthError

MATCH = "match_items"
RULES = "rules"
#: Items a chunk: comparing is cheap and done for many at once, a provider takes seconds an item, a search longer.
RULES_CHUNK, AI_CHUNK, SEARCH_CHUNK = 500, 10, 5
#: How much of the whole each pass is, as progress tells it: the first takes moments.
_WEIGHTS = {RULES: 1, AI: 5, SEARCH: 4}
_OPTIONS = 8
_SURE_ENOUGH = 0.5
_PAGES = 5
_EXAMPLES = 3
_HEADER = ("item", "name", "match", "match_name", "score", "how")

routes = Registry()
routes.resource(Provider)(provider)  # type: ignore[type-abstract]  # a port is looked up by its protocol


@routes.resource(Searches)
def searches(settings: Any) -> Searches:
    """Opens the search index of each job; put your own in its place for a real web search."""
    return Searches()


@routes.handler(MATCH, payload=MatchItems, pool=POOL, timeout_s=float("inf"))
async def match_items(job: JobContext, payload: MatchItems) -> dict[str, Any]:
    """Returns totals, the match rate in percent, and examples; the matches themselves are in the ledgers and in ``out``.

    Raises ``ItemsFailedError`` when the provider could not say anything of some items: ``scheduler retry`` asks for those again.
    """
    items, catalogue = await to_thread.run_sync(payload.load)
    matching = _Matching(job, payload, items, catalogue)
    await matching.by_rules()
    if AI in payload.passes:
        await matching.by_ai()
    if SEARCH in payload.passes:
        await matching.by_search()
    return await matching.finish()


class _Matching:
    """One job's passes. ``found`` holds what is known by now, by the item's place in the list."""

    def __init__(self, job: JobContext, payload: MatchItems, items: list[Thing], catalogue: Catalogue) -> None:
        self.job = job
        self.payload = payload
        self.items = items
        self.catalogue = catalogue
        self.found: dict[int, Match] = {}
        self.failed = 0
        self._spans = _spans([name for name in _WEIGHTS if name == RULES or name in payload.passes])

    async def by_rules(self) -> None:
        async def settle(items: Sequence[Thing]) -> list[Match | None]:
            return await to_thread.run_sync(self.catalogue.settle, items)

        await self._pass(RULES, list(range(len(self.items))), settle, RULES_CHUNK)

    async def by_ai(self) -> None:
        await self._pass(AI, await self._left(AI), self._all_at_once(self._choose), AI_CHUNK)

    async def by_search(self) -> None:
        left = await self._left(SEARCH)
        mentions = await to_thread.run_sync(Mentions, self.catalogue.entries)
        index = await self.job.resource(Searches).open(self.payload.pages, map(_page, self.catalogue.entries))

        async def look(item: Thing) -> Match | None:
            return await _searched(item, index, mentions)

        try:
            await self._pass(SEARCH, left, self._all_at_once(look), SEARCH_CHUNK)
        finally:
            with anyio.CancelScope(shield=True):
                await index.aclose()

    async def finish(self) -> dict[str, Any]:
        summary = self._summary()
        if self.payload.out:
            await to_thread.run_sync(write_csv, self.payload.out, _HEADER, map(self._line, range(len(self.items))))
        if self.failed:
            raise ItemsFailedError(summary)
        return summary

    async def _left(self, name: str) -> list[int]:
        """The places that no pass has matched when this one begins: kept, because a pass must see the same items at every attempt."""
        state: dict[str, list[int]] = self.job.state or {}
        if name not in state:
            state[name] = [place for place in range(len(self.items)) if place not in self.found]
            await self.job.checkpoint(state)
        return state[name]

    async def _pass(
        self, name: str, places: list[int], match: Callable[[list[Thing]], Awaitable[Sequence[Match | ItemFailed | None]]], size: int
    ) -> None:
        """Match the items at ``places`` and learn what was found, by earlier attempts too."""

        async def work(chunk: Chunk) -> list[Any]:
            outcomes = await match([self.items[place] for place in chunk.items])
            chunk.count(matches=sum(isinstance(outcome, Match) for outcome in outcomes))
            return [_recorded(outcome) for outcome in outcomes]

        report = await self.job.chunks(
            places,
            work,
            size=size,
            at_once=self.payload.at_once,
            name=name,
            key=lambda place: self.items[place].key,
            on_failed="tolerate",  # what no provider could tell, a search may; ``finish`` tells of the rest
            span=self._spans[name],
        )
        self.failed += report.failed
        async for item in self.job.ledger(name):
            if item.value is not None:
                row, score, how = item.value
                self.found.setdefault(places[item.position], Match(row, score, how))

    def _all_at_once(
        self, match: Callable[[Thing], Awaitable[Match | ItemFailed | None]]
    ) -> Callable[[list[Thing]], Awaitable[Sequence[Match | ItemFailed | None]]]:
        """A chunk's items side by side: they mostly wait for somebody else."""

        async def matched(items: list[Thing]) -> list[Match | ItemFailed | None]:
            outcomes: list[Match | ItemFailed | None] = [None] * len(items)

            async def one(place: int) -> None:
                outcomes[place] = await match(items[place])

            async with anyio.create_task_group() as beside:
                for place in range(len(items)):
                    beside.start_soon(one, place)
            return outcomes

        return matched

    async def _choose(self, item: Thing) -> Match | ItemFailed | None:
        rows = await to_thread.run_sync(self.catalogue.candidates, item, _OPTIONS)
        if not rows:
            return None
        options = tuple(_described(self.catalogue.entries[row]) for row in rows)
        who = self.job.resource(Provider)  # type: ignore[type-abstract]
        question = Question(Subject(CHOICE, item.name, item.details, options=options), Choice, prompt("match").text)
        try:
            answer = await who.ask(question, self.job.pool)
        except AuthError:
            raise  # wrong for every item
        except (ProviderRefusedError, InvalidOutputError) as error:
            return ItemFailed(f"{error.reason}: {error}")
        if not 0 < answer.choice <= len(rows) or answer.confidence < _SURE_ENOUGH:
            return None
        return Match(rows[answer.choice - 1], min(1.0, answer.confidence), AI)

    # -- what is told

    def _summary(self) -> dict[str, Any]:
        total, matches = len(self.items), len(self.found)
        by_how = Counter(match.how for match in self.found.values())
        examples = {
            how: [self._line(place) for place in sorted(self.found) if self.found[place].how == how][:_EXAMPLES] for how in sorted(by_how)
        }
        return {
            "total": total,
            "processed": total,
            "matches": matches,
            "match_rate": round(100 * matches / total, 1) if total else 0.0,
            "by_pass": dict(sorted(by_how.items())),
            "failed": self.failed,
            "out": self.payload.out or None,
            "examples": examples,
        }

    def _line(self, place: int) -> list[Any]:
        item, match = self.items[place], self.found.get(place)
        if match is None:
            return [item.key, item.name, "", "", "", ""]
        entry = self.catalogue.entries[match.row]
        return [item.key, item.name, entry.key, entry.name, match.score, match.how]


def _spans(passes: list[str]) -> dict[str, tuple[float, float]]:
    """The part of the job's progress that each pass makes up, in percent."""
    whole, begin, spans = sum(_WEIGHTS[name] for name in passes), 0, {}
    for name in passes:
        spans[name] = (100 * begin / whole, 100 * (begin + _WEIGHTS[name]) / whole)
        begin += _WEIGHTS[name]
    return spans


async def _searched(item: Thing, index: SearchIndex, mentions: Mentions) -> Match | None:
    query = " ".join([item.name, *item.codes.values()])
    pages = await index.search(query, _PAGES)
    return await to_thread.run_sync(mentions.vote, item, pages)


def _described(entry: Thing) -> str:
    """An option: its name on the first line, then what else is known of it."""
    return f"{entry.name}\n({entry.details[:300]})" if entry.details else entry.name


def _page(entry: Thing) -> Page:
    return Page(entry.key, f"{entry.name}\n{entry.details}")


def _recorded(outcome: Match | ItemFailed | None) -> Any:
    return [outcome.row, outcome.score, outcome.how] if isinstance(outcome, Match) else outcome
