"""Creating the schema, recognising it, migrating it, refusing what is not ours or is newer.

The migrations beside this module are an append-only list; the table ``scheduler_schema`` counts those applied. All of it
happens in one transaction under an advisory lock, so that several services may start at once.
"""

from __future__ import annotations

from importlib.resources import files

from scheduler.errors import StoreDamagedError, StoreError, StoreTooNewError
from scheduler.stores.postgres import faults
from scheduler.stores.postgres.session import Session

OLDEST_SERVER = 130000
#: Whoever migrates may take his time, and the others wait for it.
PATIENCE_S = 600.0
_PATIENCE = f"SET LOCAL lock_timeout = '{PATIENCE_S:.0f}s'; SET LOCAL statement_timeout = '{PATIENCE_S:.0f}s'"

#: Workers of the release before are at work while a new one starts: whoever migrates takes all that they lock, in their order,
#: before he changes anything. A lock that is raised half way meets theirs.
_ALONE = "SELECT pg_advisory_xact_lock(@gates@); LOCK TABLE @schema@.jobs, @schema@.freshness, @schema@.pauses IN ACCESS EXCLUSIVE MODE"
_TRIES = 5


def migrations() -> list[str]:
    """The migration scripts, oldest first."""
    folder = files("scheduler.stores.postgres") / "migrations"
    return [entry.read_text("utf-8") for entry in sorted(folder.iterdir(), key=lambda entry: entry.name) if entry.name.endswith(".sql")]


async def foreseen(session: Session) -> str | None:
    """What ``prepare`` would do, for people; None if nothing. Raises what it would raise."""
    await _fit(session)
    schema, version = session.database.address.schema, await _version(session)
    if version is None:
        await _is_made(session)
        return f"{_shown(session)}: the schema {schema!r} is not made yet: the first command that needs it makes it"
    if version < len(migrations()):
        return f"{_shown(session)}: the schema {schema!r} is of an older release: the next service or command brings it up to date"
    return None


async def prepare(session: Session) -> None:
    """Make sure the schema is one of this release.

    Raises ``StoreTooNewError``, ``StoreDamagedError`` if the schema holds something else, ``StoreError``.
    """
    await _fit(session)
    if await _version(session) == len(migrations()):
        return
    for tries in range(1, _TRIES + 1):
        try:
            async with session.transaction(synced=True, also=f"{_PATIENCE}; SELECT pg_advisory_xact_lock(@gates@ # 1)", limit_s=PATIENCE_S):
                await _migrate(session)
            return
        except Exception as error:
            if faults.code_of(error) not in faults.COLLISION or tries == _TRIES:
                raise


async def _fit(session: Session) -> None:
    server, encoding = (await session.fetch("SELECT current_setting('server_version_num')::int, current_setting('server_encoding')"))[0]
    if server < OLDEST_SERVER or encoding != "UTF8":
        raise StoreError(f"{_shown(session)}: the store needs PostgreSQL {OLDEST_SERVER // 10000} or newer and a database in UTF8")


async def check(session: Session, askers: object) -> list[None]:
    """Whether the schema is there and known. What a server stores it checks itself."""
    await _version(session)
    return [None]


async def _migrate(session: Session) -> None:
    version = await _version(session)
    if version is None:
        if not await _is_made(session):
            await session.script("CREATE SCHEMA @schema@")
        await session.script("CREATE TABLE @schema@.scheduler_schema (version integer NOT NULL)")
        await session.script("INSERT INTO @schema@.scheduler_schema (version) VALUES (0)")
        version = 0
    if version:
        await session.script(_ALONE, PATIENCE_S)
    for script in migrations()[version:]:
        await session.script(script, PATIENCE_S)
    await session.fetch("UPDATE @schema@.scheduler_schema SET version = $1", len(migrations()))


async def _is_made(session: Session) -> bool:
    """Whether there is a schema of the name, with none of our tables. Raises ``StoreDamagedError`` if it has tables of such names."""
    schema = session.database.address.schema
    known, tables = (await session.fetch(_LOOK, schema))[0]
    if tables:
        raise StoreDamagedError(f"{_shown(session)}: the schema {schema!r} holds tables of something else: choose another, ?schema=NAME")
    return bool(known)


_LOOK = (
    "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1), EXISTS (SELECT 1 FROM pg_class JOIN pg_namespace AS n "
    "ON n.oid = relnamespace WHERE nspname = $1 AND relname IN ('jobs', 'pauses', 'workers', 'pools', 'freshness'))"
)
_THERE = "SELECT count(*) FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace WHERE nspname = $1 AND relname = 'scheduler_schema'"


async def _version(session: Session) -> int | None:
    """How many migrations were applied; None if the schema is not there."""
    if not await session.value(_THERE, session.database.address.schema):
        return None
    version = int(await session.value("SELECT version FROM @schema@.scheduler_schema"))
    newest = len(migrations())
    if version > newest:
        raise StoreTooNewError(f"{_shown(session)} has schema {version}, but this release knows only {newest}: upgrade this service")
    return version


def _shown(session: Session) -> str:
    return session.database.address.shown
