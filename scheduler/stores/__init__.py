"""Where jobs live. ``open_store`` picks the store that a URL names."""

from __future__ import annotations

from importlib import import_module

from scheduler.errors import ConfigError
from scheduler.stores.base import Store
from scheduler.stores.memory import MemoryStore
from scheduler.stores.sqlite import SqliteStore

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")


def open_store(url: str) -> Store:
    """The store at ``url``, not opened yet: ``memory:``, ``sqlite:///FILE`` or ``postgresql://…``. Raises ``ConfigError``."""
    if url in ("memory:", "memory://"):
        return MemoryStore()
    if url.startswith(_SQLITE) and len(url) > len(_SQLITE):
        return SqliteStore(url.removeprefix(_SQLITE))
    if url.startswith(_POSTGRES):
        return _postgres(url)
    raise ConfigError(
        f"store = {url!r}: use sqlite:///FILE (sqlite:////ABSOLUTE/FILE for an absolute path), "
        "postgresql://USER@HOST/DATABASE?schema=NAME or memory:"
    )


def _postgres(url: str) -> Store:
    try:
        room = import_module("scheduler.stores.postgres")  # its driver is an extra
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise ConfigError("store = postgresql://…: the driver is missing; install it: pip install 'ai-job-scheduler[postgres]'") from None
    store: Store = room.PostgresStore(url)
    return store
