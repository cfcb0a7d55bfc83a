"""Finding the enrichment modules: those that ``[handlers]`` names and those that packages offer."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points

from scheduler.errors import ConfigError, SchedulerError
from scheduler.registry import Registry
from scheduler.settings import HandlerSettings

ENTRY_POINTS = "scheduler.handlers"


def load_routes(settings: HandlerSettings, given: Registry | None = None) -> Registry:
    """``given``, or else every registry that the settings and installed packages name, in one.

    A service that hands over its own registry gets that and nothing else. Raises ``ConfigError``.
    """
    if given is not None:
        return given
    routes = Registry()
    for name in settings.modules:
        routes.include(_from_module(name))
    if settings.entry_points:
        for offer in entry_points(group=ENTRY_POINTS):
            try:
                found = offer.load()
            except Exception as error:
                raise ConfigError(f"entry point {offer.name!r} ({offer.value}) cannot be loaded: {error}") from error
            routes.include(_registry(found, f"entry point {offer.name!r}"))
    return routes


def _from_module(name: str) -> Registry:
    try:
        module = importlib.import_module(name)
    except SchedulerError:
        raise
    except ImportError as error:
        raise ConfigError(f"[handlers] modules: {name!r} cannot be imported: {error}. Install it, or take it off the list") from error
    except Exception as error:
        raise ConfigError(f"[handlers] modules: importing {name!r} failed: {type(error).__name__}: {error}") from error
    return _registry(module, f"module {name!r}")


def _registry(found: object, where: str) -> Registry:
    routes = found if isinstance(found, Registry) else getattr(found, "routes", None)
    if not isinstance(routes, Registry):
        raise ConfigError(f"{where} exposes no `routes`: add `routes = Registry()` and register its handlers on it")
    return routes
