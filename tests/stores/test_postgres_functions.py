"""Functions of the schema that workers call keep their names, arguments and results: a release is rolled out beside the one before.

``postgres_functions.txt`` is the record, one function a line. ``python -m tests.stores.test_postgres_functions`` adds what is new; nothing
but a hand takes a line out: see "Rolling deploys" in ``docs/postgresql.md``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from scheduler.stores.postgres import PostgresStore
from tests.support.postgres_server import a_schema, a_server, with_schema

RECORD = Path(__file__).with_name("postgres_functions.txt")
CALLERS = Path(__file__).parents[2] / "scheduler" / "stores" / "postgres"
RULE = (
    "workers of the release before call these while a new one migrates the schema. Give what you change another name, and leave the old "
    "function for a release; or say in docs/postgresql.md and the changelog which release is to be stopped first, and take the line out"
)

_FUNCTIONS = """
SELECT p.proname, p.pronargdefaults, coalesce(pg_get_function_result(p.oid), 'procedure'), ARRAY(
    SELECT coalesce(p.proargnames[place] || ' ', '') || format_type(type, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY AS a(type, place)
    ORDER BY place
)
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE n.nspname = $1
"""


def _called() -> set[str]:
    """The names that this release's workers call, and the one that is for everybody."""
    texts = [path.read_text("utf-8") for path in CALLERS.glob("*.py")]
    return {"scheduler_enqueue", *(name for text in texts for name in re.findall(r"@schema@\.(\w+)\(", text))}


async def _functions(store: PostgresStore) -> set[str]:
    """Each function of the store's schema in one line."""
    session = await store._database.connect("test")
    try:
        rows = await session.fetch(_FUNCTIONS, store._address.schema)
    finally:
        await session.close()
    return {f"{name}({', '.join(given)}) -> {result}" + (f"; {left} may be left out" if left else "") for name, left, result, given in rows}


def _of(names: set[str], functions: set[str]) -> set[str]:
    return {line for line in functions if line.partition("(")[0] in names}


def _recorded() -> set[str]:
    return set(RECORD.read_text("utf-8").splitlines())


@pytest.fixture
def make_store(postgres: str) -> Callable[[], PostgresStore]:
    schema = a_schema()
    return lambda: PostgresStore(with_schema(postgres, schema))


async def test_no_function_that_workers_of_the_release_before_call_is_changed_or_gone(store: PostgresStore) -> None:
    assert sorted(_recorded() - await _functions(store)) == [], RULE


async def test_every_function_that_is_called_is_recorded(store: PostgresStore) -> None:
    called = _called()
    assert len(called) > 8
    assert called <= {line.partition("(")[0] for line in _recorded()}
    assert sorted(_of(called, await _functions(store)) - _recorded()) == [], "run: python -m tests.stores.test_postgres_functions"


async def _add() -> None:
    with a_server() as server:
        store = PostgresStore(with_schema(server, a_schema()))
        await store.open()
        found = _of(_called(), await _functions(store))
        await store.close()
    RECORD.write_text("".join(f"{line}\n" for line in sorted(_recorded() | found)), "utf-8")


if __name__ == "__main__":
    asyncio.run(_add())
