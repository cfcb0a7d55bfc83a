"""Turns between owners: jobs of a lane that have the same priority start in turns, an owner after the other. Pure.

Owners are told by their names, jobs without one by the empty name. Whose turn it is, each process remembers by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class Turns:
    """The owner that was served last in each lane."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def last(self, task_type: str) -> str | None:
        return self._last.get(task_type)

    def served(self, task_type: str, owners: Iterable[str]) -> None:
        """``owners``: one entry for each job that started, of the lowest priority among them."""
        counts: dict[str, int] = {}
        for owner in owners:
            counts[owner] = counts.get(owner, 0) + 1
        if counts:
            most = max(counts.values())
            self._last[task_type] = in_turn([owner for owner, count in counts.items() if count == most], self.last(task_type))[-1]


def in_turn(owners: Iterable[str], last: str | None) -> list[str]:
    """``owners`` in the order of their turns, after ``last``."""
    names = sorted(owners)
    if last is None:
        return names
    return [name for name in names if name > last] + [name for name in names if name <= last]


def shares(owners: Sequence[str], room: int) -> list[int]:
    """How many of ``room`` jobs each of ``owners`` may start, who come in the order of their turns."""
    each, more = divmod(room, len(owners))
    return [each + (place < more) for place in range(len(owners))]
