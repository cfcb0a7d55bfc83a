"""What an error of the server or the driver means for whoever asked; decided by code and type, never by text."""

from __future__ import annotations

import asyncpg

from scheduler.errors import ConfigError, SchedulerError, StoreBusyError, StoreDamagedError, StoreError, StoreFullError

#: The session is gone, or the server is on its way out or not up yet (classes 08 and 57).
_GONE = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03", "25P04"})
#: Lock or statement took too long, deadlock, serialization, too many connections, a standby that cannot write yet.
_BUSY = frozenset({"55P03", "57014", "40P01", "40001", "53300", "25006"})
_FULL = frozenset({"53100", "53200", "53400"})
_DAMAGED = frozenset({"XX001", "XX002"})
_MISSING = frozenset({"3F000", "42883", "42P01"})
#: One of several writers has to give way; the same again goes through.
COLLISION = frozenset({"40P01", "40001"})
NAME_TAKEN = "23505"


def code_of(error: BaseException) -> str:
    """The SQLSTATE; empty for what the server did not say."""
    return str(getattr(error, "sqlstate", None) or "")


def is_lost(error: BaseException) -> bool:
    """Whether the connection is of no use any more, or nobody can tell."""
    code = code_of(error)
    if isinstance(error, asyncpg.PostgresError):
        return code in _GONE or code.startswith("08")
    return not isinstance(error, SchedulerError)


def translated(error: BaseException, shown: str) -> SchedulerError:
    """The error that says what to do about ``error`` of the database ``shown``."""
    if isinstance(error, SchedulerError):
        return error
    said = str(error).strip() or type(error).__name__
    found = _by_code(code_of(error), shown, said)
    if found is not None:
        return found
    if isinstance(error, asyncpg.InterfaceError | OSError | TimeoutError | asyncpg.InternalClientError | EOFError):
        return StoreBusyError(f"{shown} cannot be reached or does not answer: try again ({said})")
    if isinstance(error, ValueError):
        return StoreError(f"{shown}: {said}")
    return StoreError(f"{shown}: {type(error).__name__}: {said}")


def _by_code(code: str, shown: str, said: str) -> StoreError | None:
    if code.startswith("08"):
        code = "57P01"
    if code.startswith("28"):
        code = "3D000"
    for codes, kind, text in _MEANINGS:
        if code in codes:
            return kind(f"{shown} {text} ({said})")
    return None


_MEANINGS: tuple[tuple[frozenset[str], type[StoreError], str], ...] = (
    (_BUSY, StoreBusyError, "is busy: try again"),
    (_GONE, StoreBusyError, "cut the connection: try again"),
    (_FULL, StoreFullError, "has no space left: free some on the server, then try again"),
    (_DAMAGED, StoreDamagedError, "is damaged: restore a backup"),
    (frozenset({NAME_TAKEN}), StoreError, "has a job of that id: give every draft a fresh one; nothing was stored"),
    (frozenset({"42501"}), StoreError, "lacks a right: grant the role CREATE on the database, or a schema of its own"),
    (frozenset({"3D000"}), StoreError, "refuses the connection: check user, password and database in the store's URL"),
    (_MISSING, StoreError, "has no store here: check the schema in the store's URL"),
)


def unusable(error: ValueError | OSError, shown: str) -> ConfigError:
    """The driver cannot make sense of the URL."""
    return ConfigError(f"store = {shown!r}: {error}")
