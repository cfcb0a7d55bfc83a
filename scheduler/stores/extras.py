"""What a store may offer beside its verbs. Whoever wants it asks with ``isinstance``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from scheduler.job import Draft, Receipt


@runtime_checkable
class Joins(Protocol):
    """Jobs in a transaction that is the caller's own."""

    async def enqueue_within(self, connection: Any, drafts: Sequence[Draft], now: float) -> list[Receipt]:
        """Store ``drafts`` on ``connection``, in the transaction that is open there: they exist when and if it commits.

        Raises ``StoreError`` for a connection of another kind, to another place, or without a transaction; ``InvalidJobError``.
        """
        ...


@runtime_checkable
class Foresees(Protocol):
    """A look at the store's place before it is opened, for whoever must not change it."""

    async def foreseen(self) -> str | None:
        """What ``open`` would make or change, for people; None if nothing. Raises ``StoreError``s."""
        ...
