"""Opening a SQLite file: creating it whole, recognising it, migrating it, refusing what is not sound.

The migrations beside this module are an append-only list; ``PRAGMA user_version`` counts those applied.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import tempfile
from importlib.resources import files
from pathlib import Path

from scheduler.errors import StoreBusyError, StoreDamagedError, StoreError, StoreFullError, StoreTooNewError

#: Marks the file as a store of this project ("AIJS").
APPLICATION_ID = 0x41494A53
#: STRICT tables (3.37): no writer, not even a foreign one, can store a value of the wrong type.
OLDEST_SQLITE = (3, 37, 0)
BUSY_TIMEOUT_S = 5.0
#: Compiled statements kept per connection: every chunk size of the bulk statements is one.
STATEMENTS = 256

_MAGIC = b"SQLite format 3\0"
#: ``user_version`` and ``application_id`` in the file's header (https://www.sqlite.org/fileformat2.html).
_HEADER = struct.Struct(">60xi4xI")

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def migrations() -> list[str]:
    """The migration scripts, oldest first."""
    folder = files("scheduler.stores.sqlite") / "migrations"
    return [entry.read_text("utf-8") for entry in sorted(folder.iterdir(), key=lambda entry: entry.name) if entry.name.endswith(".sql")]


def prepare(path: Path) -> None:
    """Make sure ``path`` is a store of this release: create it whole, or migrate it.

    Raises ``StoreTooNewError``, ``StoreDamagedError``, ``StoreBusyError``, or ``StoreError`` for a folder that is
    missing or not writable.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StoreError(f"this Python has SQLite {sqlite3.sqlite_version}; the store needs {'.'.join(map(str, OLDEST_SQLITE))} or newer")
    if not path.exists():
        _create(path)
    if path.stat().st_size == 0:
        raise StoreDamagedError(f"{path} is empty, so it is not a store: restore a backup, or remove the file to start anew")
    _recognise(path)
    try:
        connection = connect(path)
        try:
            _migrate(connection, path)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise translated(error, path) from error


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection with this project's settings. Used from the thread that the caller dedicates to it."""
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS)
    connection.text_factory = _lenient_text
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # the writer syncs what must be durable itself
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        if read_only:
            connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _lenient_text(raw: bytes) -> str:
    """Text that is not UTF-8 must fail its own job, not every listing that it is in."""
    return raw.decode("utf-8", "replace")


def check(path: Path) -> None:
    """Read the whole file for structural damage. Raises ``StoreDamagedError``; takes about a second per GB."""
    try:
        connection = connect(path, read_only=True)
        try:
            findings = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise translated(error, path) from error
    if findings != ["ok"]:
        raise _damaged(path, "; ".join(str(finding).strip() for finding in findings))


def translated(error: sqlite3.Error, path: Path | str) -> StoreError:
    """The store error that says what to do about ``error``; decided by SQLite's code, not its text."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary in _BUSY:
        return StoreBusyError(f"{path} is locked by another process: try again")
    if primary == sqlite3.SQLITE_FULL or code in (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC):
        return StoreFullError(f"{path}: no space left to write ({error}): free some disk space, then try again")
    if primary in _DAMAGED:
        return _damaged(Path(path), str(error))
    if primary == sqlite3.SQLITE_READONLY:
        return StoreError(f"{path} is read-only for this user: correct its permissions and its folder's")
    if primary == sqlite3.SQLITE_CANTOPEN:
        return StoreError(f"{path} cannot be opened: check that its folder exists and is writable")
    return StoreError(f"{path}: {error}")


def _damaged(path: Path, detail: str) -> StoreDamagedError:
    return StoreDamagedError(
        f"{path} is damaged ({detail}). Nothing was changed. Copy the file and its -wal aside, then restore a backup, "
        "or salvage rows with the sqlite3 tool's .recover"
    )


def _create(path: Path) -> None:
    """Make the file elsewhere and put it in place whole, so that an empty or half-made file is never a store."""
    if not path.parent.is_dir():
        raise StoreError(f"the folder {path.parent} does not exist: create it, or choose another store")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    except OSError as error:
        raise StoreError(f"cannot create {path}: {error.strerror}; check the folder's permissions and space") from error
    os.close(handle)
    made = Path(name)
    try:
        connection = sqlite3.connect(made, isolation_level=None)
        try:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute("PRAGMA journal_mode = WAL")
            _apply(connection, 0)
        finally:
            connection.close()
        _put_in_place(made, path)
    except FileExistsError:
        pass  # another process was first: use its file
    except sqlite3.Error as error:
        raise translated(error, path) from error
    finally:
        for leftover in (made, Path(f"{made}-wal"), Path(f"{made}-shm")):
            leftover.unlink(missing_ok=True)


def _put_in_place(made: Path, path: Path) -> None:
    """Raises ``FileExistsError`` if another process was first."""
    try:
        os.link(made, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: claim the name, then take it
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        made.replace(path)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # else a power cut may take the name, and all that is acknowledged under it
        finally:
            os.close(folder)


def _recognise(path: Path) -> None:
    """Look at the header before SQLite opens the file: even to open a file may change it, and it may be another's."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}; check its permissions") from error
    if len(header) < _HEADER.size or not header.startswith(_MAGIC):
        raise _damaged(path, "it does not begin as an SQLite file does")
    version, application_id = _HEADER.unpack(header)
    if application_id != APPLICATION_ID:
        raise StoreDamagedError(f"{path} is an SQLite file of something else, not a job store: choose another path")
    _refuse_newer(path, version)


def _refuse_newer(path: Path, version: int) -> None:
    newest = len(migrations())
    if version > newest:
        raise StoreTooNewError(f"{path} has schema {version}, but this release knows only {newest}: upgrade this service")


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version = _version(connection)
    _refuse_newer(path, version)  # a newer release's migration may be in the write-ahead log only
    if version < 1:
        raise _damaged(path, f"it has schema {version}, though no store is ever put in place without one")
    if version < len(migrations()):
        connection.execute("BEGIN IMMEDIATE")
        try:
            _apply(connection, _version(connection))
            connection.execute("COMMIT")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _apply(connection: sqlite3.Connection, version: int) -> None:
    for number, script in enumerate(migrations()[version:], start=version + 1):
        for statement in _statements(script):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")


def _statements(script: str) -> list[str]:
    """The script's statements. ``executescript`` would commit the open transaction first."""
    found, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        if line.rstrip().endswith(";") and sqlite3.complete_statement(current):
            found.append(current)
            current = ""
    return found
