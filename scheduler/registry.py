"""Routes: which handler runs for which ``(task_type, target_type)``.

Enrichment modules register on a ``Registry``; ``freeze`` checks the lot and gives the immutable
``Routes`` that the engine reads. Does not belong here: running handlers (``attempt.py``).
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter

from scheduler.errors import ConfigError, DuplicateRouteError
from scheduler.values import encode_json

Handler = Callable[..., Any]
H = TypeVar("H", bound=Handler)
T = TypeVar("T")
Freshness = Callable[[Mapping[str, Any], "Resources"], Any]

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}")


@dataclass(frozen=True, slots=True)
class Route:
    """One registered handler and what it asks for; None means "as configured"."""

    task_type: str
    target_type: str | None
    function: Handler
    is_async: bool
    takes_payload: bool
    payload: TypeAdapter[Any] | None
    pool: str | None
    timeout_s: float | None
    max_attempts: int | None
    freshness: Freshness | None
    aside: int | None = None

    @property
    def name(self) -> str:
        """The handler as logs and errors name it: ``module.function``."""
        return f"{self.function.__module__}.{getattr(self.function, '__qualname__', repr(self.function))}"


class Resources:
    """Long-lived objects that handlers share (a provider client, say): made at first use, closed at the end."""

    def __init__(self, factories: Mapping[type, Callable[[Any], Any]] | None = None, settings: Any = None) -> None:
        self._factories = dict(factories or {})
        self._settings = settings
        self._made: dict[type, Any] = {}

    def get(self, kind: type[T]) -> T:
        """The one object of ``kind``. Raises ``ConfigError`` if no module provides it."""
        if kind not in self._made:
            factory = self._factories.get(kind)
            if factory is None:
                raise ConfigError(f"no module provides {kind.__name__}: register a factory with @routes.resource({kind.__name__})")
            self._made[kind] = factory(self._settings)
        found: T = self._made[kind]
        return found

    def put(self, kind: type[T], value: T) -> None:
        """Use ``value`` for ``kind``, in place of its factory."""
        self._made[kind] = value

    async def aclose(self) -> None:
        """Close what was made, latest first: ``aclose()`` where there is one, else ``close()``."""
        while self._made:
            _, made = self._made.popitem()
            close = getattr(made, "aclose", None) or getattr(made, "close", None)
            answer = close() if callable(close) else None
            if isinstance(answer, Awaitable):
                await answer


class Registry:
    """Where a module's handlers are registered::

    routes = Registry()

    @routes.handler("enrich_entity_summary_keywords", "code_entity", payload=CodeEntity, pool="main")
    async def enrich(job: JobContext, payload: CodeEntity) -> Enrichment: ...
    """

    def __init__(self) -> None:
        self.routes: list[Route] = []
        self.factories: dict[type, Callable[[Any], Any]] = {}

    def handler(
        self,
        task_type: str,
        target_type: str | None = None,
        *,
        payload: Any = None,
        pool: str | None = None,
        timeout_s: float | None = None,
        max_attempts: int | None = None,
        freshness: Freshness | None = None,
        aside: int | None = None,
    ) -> Callable[[H], H]:
        """Register the decorated function; sync functions run in threads.

        ``target_type`` omitted means any; an exact route wins. ``payload`` is a pydantic model or a
        dataclass that the payload must fit; without one the handler gets the plain object.
        ``pool`` names the provider quota it draws on. ``timeout_s`` (seconds) and ``max_attempts``
        override ``[scheduler]`` and are overridden by ``[task_types.NAME]``.
        ``freshness(payload, resources)`` returns what the result depends on, beside the route: a
        target whose last completed job had the same is not run again unless forced.
        ``aside``: jobs of this type only wait for somebody, and take none of the process's slots; so many run at once unless
        ``[task_types.NAME] concurrency`` says otherwise, and a run until empty does not wait for another try of theirs.

        Raises ``ConfigError`` for names, limits or functions that cannot work.
        """
        _check_name(task_type, "task_type")
        if target_type is not None:
            _check_name(target_type, "target_type")
        if timeout_s is not None and not timeout_s > 0:
            raise ConfigError(f"handler for {task_type!r}: timeout_s must be above 0 (use inf for no limit), not {timeout_s!r}")
        if max_attempts is not None and max_attempts < 1:
            raise ConfigError(f"handler for {task_type!r}: max_attempts must be at least 1 (the first run counts), not {max_attempts!r}")

        def register(function: H) -> H:
            self.routes.append(
                Route(
                    task_type=task_type,
                    target_type=target_type,
                    function=function,
                    is_async=_is_async(function),
                    takes_payload=_takes_payload(function, task_type),
                    payload=None if payload is None else TypeAdapter(payload),
                    pool=pool,
                    timeout_s=timeout_s,
                    max_attempts=max_attempts,
                    freshness=freshness,
                    aside=aside,
                )
            )
            return function

        return register

    def resource(self, kind: type[T]) -> Callable[[Callable[[Any], T]], Callable[[Any], T]]:
        """Register the factory of a shared object; it is given the ``Settings`` at first use."""

        def register(factory: Callable[[Any], T]) -> Callable[[Any], T]:
            if kind in self.factories and self.factories[kind] is not factory:
                raise ConfigError(f"two factories provide {kind.__name__}; keep one")
            self.factories[kind] = factory
            return factory

        return register

    def include(self, other: Registry) -> None:
        """Take over another registry's routes and resources."""
        self.routes.extend(route for route in other.routes if route not in self.routes)
        for kind, factory in other.factories.items():
            self.resource(kind)(factory)

    def freeze(self) -> Routes:
        """The routes, checked. Raises ``DuplicateRouteError``, or ``ConfigError`` for mixed pools."""
        return Routes(self.routes)


class Routes:
    """An immutable routing table."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._table: dict[tuple[str, str | None], Route] = {}
        pools: dict[str, Route] = {}
        for route in routes:
            key = (route.task_type, route.target_type)
            if key in self._table:
                first = self._table[key]
                raise DuplicateRouteError(
                    f"two handlers for ({route.task_type!r}, {route.target_type or 'any'!r}): {first.name} and {route.name}; remove one"
                )
            other = pools.setdefault(route.task_type, route)
            if other.pool != route.pool:
                raise ConfigError(
                    f"handlers of {route.task_type!r} name different pools ({other.pool!r} in {other.name}, "
                    f"{route.pool!r} in {route.name}); "
                    "a task type draws on one pool: use two task types"
                )
            self._table[key] = route

    def find(self, task_type: str, target_type: str) -> Route | None:
        """The handler for a job: the exact route, else the task type's route for any target."""
        return self._table.get((task_type, target_type)) or self._table.get((task_type, None))

    def task_types(self) -> frozenset[str]:
        return frozenset(task_type for task_type, _ in self._table)

    def target_types(self, task_type: str) -> tuple[str, ...] | None:
        """The target types that can be handled; None means any."""
        targets = [target for task, target in self._table if task == task_type]
        return None if None in targets else tuple(sorted(target for target in targets if target is not None))

    def pool(self, task_type: str) -> str | None:
        """The pool that a task type's handlers name."""
        return next((route.pool for (task, _), route in self._table.items() if task == task_type), None)

    def aside(self, task_type: str) -> int | None:
        """How many jobs of a type run at once beside the process's slots; None if they take those."""
        return next((route.aside for (task, _), route in self._table.items() if task == task_type), None)

    def __iter__(self) -> Any:
        return iter(sorted(self._table.values(), key=lambda route: (route.task_type, route.target_type or "")))

    def __len__(self) -> int:
        return len(self._table)


def fingerprint(route: Route, payload: Mapping[str, Any], resources: Resources) -> str | None:
    """A digest of what the result depends on; None for a handler that declares no freshness."""
    if route.freshness is None:
        return None
    depends_on = encode_json(route.freshness(payload, resources), "freshness")
    return hashlib.sha256(f"{route.name}\n{depends_on}".encode()).hexdigest()


def _check_name(name: str, what: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(f"{what} {name!r} is not a name: use 1 to 128 letters, digits, '_', '-' or '.'")


def _is_async(function: Handler) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _takes_payload(function: Handler, task_type: str) -> bool:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        return True
    count = sum(1 for parameter in parameters if parameter.kind in positional)
    if count not in (1, 2):
        raise ConfigError(f"handler for {task_type!r}: {function!r} must take (job, payload), or (job) alone")
    return count == 2
