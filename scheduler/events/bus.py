"""What every event is, and the bus that tells subscribers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar


@dataclass(frozen=True, slots=True)
class Event:
    """The root. ``at`` is seconds since the epoch; ``level`` is how loud a log should be."""

    name: ClassVar[str] = ""
    level: ClassVar[str] = "info"
    at: float

    def fields(self) -> dict[str, Any]:
        """What a log line or a stream shows, JSON types only; None values left out."""
        raise NotImplementedError  # abstract: each event says what it shows


E_ = TypeVar("E_", bound=Event)
Subscriber = Callable[[Any], None]


def event_types() -> list[type[Event]]:
    """Every concrete event, by name."""
    found: dict[str, type[Event]] = {}
    todo: list[type[Event]] = [Event]
    while todo:
        kind = todo.pop()  # the newest first: ``dataclass(slots=True)`` leaves the class it replaced among the subclasses
        todo.extend(kind.__subclasses__())
        if kind.__dict__.get("name"):
            found.setdefault(kind.name, kind)
    return sorted(found.values(), key=lambda kind: kind.name)


class Events:
    """The bus. Calls subscribers in the order they came, in the emitter's task."""

    def __init__(self) -> None:
        self._subscribers: dict[type[Event], tuple[Subscriber, ...]] = {}
        self._on_error: Callable[[Event, Exception], None] = lambda event, error: None

    def subscribe(self, subscriber: Callable[[E_], None], *kinds: type[E_]) -> Callable[[], None]:
        """Call ``subscriber`` for each event of ``kinds`` (subclasses included); returns the way out."""
        wanted = _concrete(kinds)
        for kind in wanted:
            self._subscribers[kind] = (*self._subscribers.get(kind, ()), subscriber)

        def leave() -> None:
            for kind in wanted:
                self._subscribers[kind] = tuple(one for one in self._subscribers[kind] if one is not subscriber)

        return leave

    def on_error(self, report: Callable[[Event, Exception], None]) -> None:
        """Where subscribers' exceptions go."""
        self._on_error = report

    def wants(self, kind: type[Event]) -> bool:
        """Whether anybody listens to ``kind``: lets hot paths skip making the record."""
        return bool(self._subscribers.get(kind))

    def emit(self, event: Event) -> None:
        for subscriber in self._subscribers.get(type(event), ()):
            try:
                subscriber(event)
            except Exception as error:
                self._on_error(event, error)


def _concrete(kinds: Iterable[type[Event]]) -> list[type[Event]]:
    chosen = tuple(kinds) or (Event,)
    return [kind for kind in event_types() if issubclass(kind, chosen)]
