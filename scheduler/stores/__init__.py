"""Where jobs live. ``open_store`` picks the store that a URL names."""

from __future__ import annotations

from scheduler.errors import ConfigError
from scheduler.stores.base import Store
from scheduler.stores.memory import MemoryStore
from scheduler.stores.sqlite import SqliteStore

_SQLITE = "sqlite:///"


def open_store(url: str) -> Store:
    """The store at ``url``, not opened yet: ``memory:`` or ``sqlite:///FILE``. Raises ``ConfigError``."""
    if url in ("memory:", "memory://"):
        return MemoryStore()
    if url.startswith(_SQLITE) and len(url) > len(_SQLITE):
        return SqliteStore(url.removeprefix(_SQLITE))
    raise ConfigError(f"store = {url!r}: use sqlite:///FILE (sqlite:////ABSOLUTE/FILE for an absolute path) or memory:")
