"""The hot statements' plans do not depend on what the planner knows of the tables.

On a fresh table that was never analyzed, after ``ANALYZE``, and with statistics from when the table was empty: the server's own
counters tell which index gave how many rows to the functions, and EXPLAIN shows the plan of the statement that picks jobs.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from scheduler.job import Status, Transition
from scheduler.stores.base import Claim, Settlement, Want
from scheduler.stores.postgres import PostgresStore
from scheduler.stores.postgres.claiming import Claiming
from scheduler.stores.postgres.overview import AHEAD, THROUGHPUT
from scheduler.stores.postgres.people import BY_INDEX, PRUNE
from scheduler.stores.postgres.session import Session
from scheduler.stores.postgres.settling import lapsed, settle
from tests.stores.acts import want
from tests.support.jobs import T0
from tests.support.postgres_server import a_schema, with_schema

ROWS = 40_000
_FILL = """
INSERT INTO @schema@.jobs (job_id, task_type, target_type, target_id, payload_json, status, priority, run_after_us, created_us,
    finished_us, ready)
SELECT 'filled-' || n, CASE WHEN n % 5 = 0 THEN 'other' ELSE 'lane' END, 'code_entity', n::text, '{}',
    CASE WHEN n % 2 = 0 THEN 'completed' ELSE 'pending' END, n % 7, 1700000000000000, 1700000000000000,
    CASE WHEN n % 2 = 0 THEN 1700000000000000 END, CASE WHEN n % 2 = 1 THEN 1 END
FROM generate_series(1, $1) AS n
"""


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


_READ = """
SELECT c.relname, pg_stat_get_xact_numscans(c.oid), pg_stat_get_xact_tuples_returned(c.oid) FROM pg_class AS c
WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND (c.relname = 'jobs' OR c.relname LIKE 'jobs\\_%')
"""


async def read_by(session: Session, work: Callable[[], Awaitable[Any]]) -> dict[str, int]:
    """How many rows the table (read from end to end) and each of its indexes gave in one transaction."""
    await session.script("BEGIN")
    before = {row[0]: row for row in await session.fetch(_READ, session.database.address.schema)}
    await work()
    rows = await session.fetch(_READ, session.database.address.schema)
    await session.script("COMMIT")
    return {name: given - before[name][2] for name, scans, given in rows if scans > before[name][1]}


@pytest.fixture
def make_store(postgres: str) -> Callable[[], PostgresStore]:
    schema = a_schema("plans")
    return lambda: PostgresStore(with_schema(postgres, schema))


@pytest.fixture
async def session(store: PostgresStore) -> AsyncIterator[Session]:
    session = await store._database.connect("test")
    yield session
    await session.close()


async def fill(session: Session, knowledge: str) -> None:
    if knowledge == "statistics of an empty table":
        await session.script("ALTER TABLE @schema@.jobs SET (autovacuum_enabled = off); ANALYZE @schema@.jobs")
    if knowledge == "no statistics":
        await session.script("ALTER TABLE @schema@.jobs SET (autovacuum_enabled = off)")
    await session.fetch(_FILL, ROWS)
    if knowledge == "analyzed":
        await session.script("ANALYZE @schema@.jobs")


KNOWLEDGE = ["no statistics", "statistics of an empty table", "analyzed"]


@pytest.mark.parametrize("knowledge", KNOWLEDGE)
@pytest.mark.parametrize("wanted", [want(limit=100), want(limit=100, target_types=("code_entity",)), want(limit=100, cap=500)], ids=repr)
async def test_a_claim_reads_only_what_it_takes(session: Session, knowledge: str, wanted: Want) -> None:
    await fill(session, knowledge)
    for _ in range(2):  # also with the plans that are kept
        got: list[Claim] = []

        async def work(got: list[Claim] = got) -> None:
            (answer,) = await Claiming().claim(session, [([wanted, want("other", 5)], "ada", T0)])
            got += answer.claims

        given = await read_by(session, work)
        assert [one.job.priority for one in got] == [6] * 105
        assert set(given) <= {"jobs_ready", "jobs_ready_owned", "jobs_due", "jobs_pkey", "jobs_unfinished"}
        assert given["jobs_ready"] <= 105 * 3  # a row that was taken before leaves its entry until it is cleaned up
        assert given["jobs_pkey"] == 105


@pytest.mark.parametrize("knowledge", KNOWLEDGE)
async def test_owners_in_turn_read_only_what_they_take(session: Session, knowledge: str) -> None:
    await fill(session, knowledge)
    await session.script("UPDATE @schema@.jobs SET owner = CASE WHEN seq % 1000 = 1 THEN 'small' ELSE 'big' END WHERE task_type = 'lane'")
    await session.script("VACUUM @schema@.jobs")
    got: list[Claim] = []

    async def work() -> None:
        (answer,) = await Claiming().claim(session, [([want(limit=40)], "ada", T0)])
        got.extend(answer.claims)

    given = await read_by(session, work)
    owners = [one.job.owner for one in got]
    assert len(owners) == 40
    assert 1 <= owners.count("small") <= 20
    assert given["jobs_ready"] <= 40 * 5


@pytest.mark.parametrize("knowledge", KNOWLEDGE)
async def test_the_plan_that_picks_jobs_walks_the_index_of_ready_jobs_in_order(session: Session, knowledge: str) -> None:
    await fill(session, knowledge)
    source = await session.value("SELECT prosrc FROM pg_proc WHERE proname = 'claim' AND pronamespace = $1::regnamespace", _named(session))
    settings = await session.value(
        "SELECT proconfig FROM pg_proc WHERE proname = 'claim' AND pronamespace = $1::regnamespace", _named(session)
    )
    picking = re.findall(r"picked := ARRAY\(\s*(SELECT.*?SKIP LOCKED)\s*\);", source, re.DOTALL)
    assert len(picking) == 5  # what fell due; an outage's probe, and if there is none to be preferred; all target types; some
    await session.script(
        "BEGIN; " + "; ".join("SET LOCAL {} = '{}'".format(*one.split("=", 1)) for one in settings if "search_path" not in one)
    )
    for number, (statement, index) in enumerate(zip(picking, ("jobs_due", *["jobs_ready"] * 4), strict=True)):
        for name, value in (
            ("(paused)", "('{}'::text[])"),
            ("wanted.t", "$1"),
            ("wanted.k", "$2"),
            ("wanted.a", "$5"),
            ("now_us", "$3"),
            ("room", "$4"),
        ):
            statement = statement.replace(name, value)
        await session.script(f"PREPARE picking{number}(text, text[], bigint, bigint, text[]) AS {statement}")
        explained = (
            f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE picking{number}('lane', '{{code_entity}}', 1700000000000000, 100, '{{filled-49999}}')"
        )
        (plan,) = json.loads(await session.connection.fetchval(explained))
        shape = list(nodes(plan["Plan"]))
        assert [node["Node Type"] for node in shape if "Scan" in node["Node Type"] or "Sort" in node["Node Type"]] == ["Index Scan"]
        assert shape[-1]["Index Name"] == index
        assert shape[-1]["Actual Rows"] == (100 if index == "jobs_ready" else 0)
    await session.script("ROLLBACK")


def _named(session: Session) -> str:
    return session.database.address.quoted


@pytest.mark.parametrize("knowledge", KNOWLEDGE)
async def test_outcomes_reach_their_rows_by_number(session: Session, knowledge: str) -> None:
    await fill(session, knowledge)
    (claims,) = await Claiming().claim(session, [([want(limit=200)], "ada", T0)])

    async def work() -> None:
        (still,) = await lapsed(session, [[one.lease for one in claims.claims]])
        assert still == []
        (settled,) = await settle(session, [([_done(one) for one in claims.claims], T0)])
        assert all(one.applied for one in settled)

    given = await read_by(session, work)
    given.pop("jobs_by_batch", None)  # one look: there are no batches
    assert set(given) == {"jobs_pkey"}
    assert given["jobs_pkey"] <= 200 * 4  # asked twice, and each row has left an entry behind


@pytest.mark.parametrize("knowledge", KNOWLEDGE)
async def test_lanes_are_found_by_seeks(session: Session, knowledge: str) -> None:
    await fill(session, knowledge)

    async def work() -> None:
        assert [row[0] for row in await session.fetch("SELECT name FROM @schema@.lanes($1)", 1)] == ["lane", "other"]

    given = await read_by(session, work)
    assert set(given) == {"jobs_ready", "jobs_due"}
    assert given["jobs_ready"] == 2


@pytest.mark.parametrize("knowledge", KNOWLEDGE)
@pytest.mark.parametrize(("kind", "index"), [("IN", "jobs_done_at"), ("NOT IN", "jobs_failed_at")])
async def test_a_sweep_of_one_kind_does_not_walk_over_the_other(session: Session, knowledge: str, kind: str, index: str) -> None:
    await fill(session, knowledge)  # half of the rows are completed, none has failed
    statuses = "{completed}" if kind == "IN" else "{failed_ai}"
    await session.script(f"BEGIN; {BY_INDEX}; PREPARE sweep(bigint, text[], bigint) AS {PRUNE.format(kind=kind)}")
    explained = f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE sweep(1800000000000000, '{statuses}', 100)"
    (plan,) = json.loads(await session.connection.fetchval(explained))
    scans = [node for node in nodes(plan["Plan"]) if "Scan" in node["Node Type"]]
    assert {node.get("Index Name") for node in scans} == {index, "jobs_pkey"}
    assert all(node["Actual Rows"] <= 100 and not node.get("Rows Removed by Filter") for node in scans)
    await session.script("ROLLBACK")


@pytest.mark.parametrize("knowledge", KNOWLEDGE)
async def test_what_ended_is_counted_without_looking_at_a_job(session: Session, knowledge: str) -> None:
    await fill(session, knowledge)
    await session.script("VACUUM @schema@.jobs")
    sql = THROUGHPUT.replace("{only}", "")  # for a small owner, the index of its jobs may be better still
    await session.script(f"BEGIN; {BY_INDEX}; PREPARE ended(bigint, bigint, bigint) AS {sql}")
    (plan,) = json.loads(await session.connection.fetchval("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE ended(1700000000000000, 0, 300000000)"))
    scans = [node for node in nodes(plan["Plan"]) if "Scan" in node["Node Type"] and node["Node Type"] != "Subquery Scan"]
    assert [(node["Node Type"], node["Index Name"]) for node in scans] == [
        ("Index Only Scan", "jobs_done_at"),
        ("Index Only Scan", "jobs_failed_at"),
    ]

    assert scans[0]["Actual Rows"] == ROWS // 2
    await session.script("ROLLBACK")


@pytest.mark.parametrize("knowledge", KNOWLEDGE)
async def test_who_stands_before_a_job_is_counted_in_the_order_of_the_line_and_only_so_far(session: Session, knowledge: str) -> None:
    await fill(session, knowledge)
    await session.script(f"BEGIN; {BY_INDEX}; PREPARE before(text, bigint, bigint, bigint, bigint) AS {AHEAD}")
    explained = f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE before('lane', 3, {ROWS}, 1800000000000000, 50)"
    (plan,) = json.loads(await session.connection.fetchval(explained))
    scans = [node for node in nodes(plan["Plan"]) if "Scan" in node["Node Type"] and node["Node Type"] != "Subquery Scan"]
    assert [node["Index Name"] for node in scans] == ["jobs_ready", "jobs_ready", "jobs_due"]
    assert scans[0]["Actual Rows"] == 50, "of thousands of a higher priority"
    assert sum(node["Actual Rows"] for node in scans[1:]) == 0, "enough were found"
    await session.script("ROLLBACK")


async def test_the_journals_plan_suits_many_jobs_also_when_it_was_made_for_one(session: Session) -> None:
    """A session keeps the plan of the trigger's first call; here the trigger says which it would be, and writes nothing."""
    await fill(session, "analyzed")
    schema = session.database.address.quoted
    source = await session.value("SELECT pg_get_functiondef(($1 || '.journal_changed')::regproc)", schema)
    begin, end = source.index("INSERT INTO"), source.index("RETURN NULL")
    told = f"FOR line IN EXPLAIN {source[begin:end].rstrip().rstrip(';')} LOOP RAISE NOTICE '%', line; END LOOP;\n    "
    await session.connection.execute((source[:begin] + told + source[end:]).replace("DECLARE", "DECLARE line text;"))
    plan: list[str] = []
    session.connection.add_log_listener(lambda connection, notice: plan.append(notice.message))
    claims = await Claiming().claim(session, [([want("lane", 1)], "ada", T0)])
    assert len(claims[0].claims) == 1
    assert "Insert on journal" in "".join(plan)
    assert any("Hash Join" in line for line in plan), plan
    assert not any("Nested Loop" in line for line in plan)


def _done(claim: Claim) -> Settlement:
    return Settlement(claim.lease, Transition(Status.COMPLETED))
