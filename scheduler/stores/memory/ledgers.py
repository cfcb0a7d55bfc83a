"""What long jobs recorded of their items, in the memory store."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from scheduler.job import Item, Ledger, Oks


class Ledgers:
    """By job and pass; the passes of a job in the order in which they began."""

    def __init__(self) -> None:
        self._ledgers: dict[int, dict[str, Ledger]] = {}
        self._items: dict[tuple[int, str], dict[int, Item]] = {}

    def record(self, seq: int, ledger: Ledger, items: Sequence[Item]) -> None:
        self._ledgers.setdefault(seq, {})[ledger.name] = ledger
        self._items.setdefault((seq, ledger.name), {}).update((item.position, item) for item in items)

    def of(self, seq: int) -> list[Ledger]:
        return list(self._ledgers.get(seq, {}).values())

    def items(self, seq: int, name: str, ok: Oks | None, after: int, limit: int) -> list[Item]:
        known = self._items.get((seq, name), {})
        wanted = (known[position] for position in sorted(known) if position > after)
        return list(islice((item for item in wanted if ok is None or item.ok in ok), max(0, limit)))

    def try_again(self, seq: int) -> None:
        """Failed items have no outcome any more."""
        for name, ledger in self._ledgers.get(seq, {}).items():
            items = self._items[seq, name]
            items.update((item.position, Item(item.position, item.key, None)) for item in list(items.values()) if item.ok is False)
            self._ledgers[seq][name] = ledger._replace(failed=0)

    def forget(self, seq: int) -> None:
        for name in self._ledgers.pop(seq, {}):
            del self._items[seq, name]
