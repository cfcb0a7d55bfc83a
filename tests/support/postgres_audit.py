"""The audit trail of ``audit.py`` for PostgreSQL: triggers that note every move of every job in the transaction that makes it.

A row's number is given while its job is locked, so each job's trail is in commit order; pauses and claims are ordered by the
gates' lock. Does not belong here: judging the trail (``checker.py``).
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncpg

from scheduler.stores.postgres import PostgresStore
from scheduler.stores.postgres.address import parse
from tests.support.checker import Evidence, lines

_TRAIL = """
CREATE TABLE @.audit (
    n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text NOT NULL, seq bigint, job_id text, task_type text, was text, now text,
    token bigint, attempts bigint, crashes bigint, worker text, unique_key text, run_after_us bigint, started_us bigint,
    max_attempts bigint, reason text, percent double precision, scope text, until_us bigint, at_us bigint
);
CREATE FUNCTION @.audit_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(TG_TABLE_SCHEMA, 1)); -- see HOLD
    IF TG_OP = 'INSERT' THEN
        INSERT INTO @.audit (kind, seq, job_id, task_type, now, token, attempts, unique_key, run_after_us)
        VALUES ('made', NEW.seq, NEW.job_id, NEW.task_type, NEW.status, NEW.token, NEW.attempts, NEW.unique_key, NEW.run_after_us);
        RETURN NULL;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO @.audit (kind, seq, job_id, was) VALUES ('deleted', OLD.seq, OLD.job_id, OLD.status);
        RETURN NULL;
    END IF;
    IF NEW.status <> OLD.status THEN
        INSERT INTO @.audit (kind, seq, job_id, task_type, was, now, token, attempts, crashes, worker, unique_key, run_after_us,
                             started_us, max_attempts, reason)
        VALUES ('move', NEW.seq, NEW.job_id, NEW.task_type, OLD.status, NEW.status, NEW.token, NEW.attempts, NEW.crashes,
                coalesce(NEW.worker, OLD.worker), NEW.unique_key, OLD.run_after_us, NEW.started_us, NEW.max_attempts, NEW.reason);
    ELSIF NEW.attempts <> OLD.attempts THEN
        INSERT INTO @.audit (kind, seq, job_id, now, token, attempts)
        VALUES ('refunded', NEW.seq, NEW.job_id, NEW.status, NEW.token, NEW.attempts);
    END IF;
    IF NEW.progress_json IS DISTINCT FROM OLD.progress_json THEN
        INSERT INTO @.audit (kind, seq, job_id, now, token, percent)
        VALUES ('progress', NEW.seq, NEW.job_id, NEW.status, NEW.token, (NEW.progress_json::json ->> 'percent')::double precision);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON @.jobs FOR EACH ROW EXECUTE FUNCTION @.audit_job();
CREATE FUNCTION @.audit_pause() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO @.audit (kind, scope, at_us) VALUES ('resumed', OLD.scope, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
    ELSE
        INSERT INTO @.audit (kind, scope, until_us, reason, job_id) VALUES ('paused', NEW.scope, NEW.until_us, NEW.reason, NEW.probe);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON @.pauses FOR EACH ROW EXECUTE FUNCTION @.audit_pause();
"""


#: Whoever takes this lock holds every writer of jobs in the midst of its transaction: rows changed, nothing committed.
HOLD = "SELECT pg_advisory_lock(hashtextextended($1, 1))"


def audited_schema(url: str) -> None:
    """Make the store at ``url`` one that keeps an audit trail."""
    asyncio.run(_made(url))


async def _made(url: str) -> None:
    store = PostgresStore(url)
    await store.open()
    await store.close()
    address = parse(url)
    connection = await asyncpg.connect(address.dsn)
    try:
        await connection.execute(_TRAIL.replace("@", address.quoted))
    finally:
        await connection.close()


def evidence_at(url: str, folder: Path, **known: Any) -> Evidence:
    """What the processes of a campaign left in ``folder`` and in the store."""
    audit = ask(url, "SELECT * FROM @.audit ORDER BY n")
    jobs = ask(url, "SELECT * FROM @.jobs ORDER BY seq")
    return Evidence(lines(folder, "client-*"), lines(folder, "runs-*"), lines(folder, "events-*"), audit, jobs, **known)


def ask(url: str, sql: str, *values: Any) -> list[dict[str, Any]]:
    """Rows of one statement on a connection of its own; ``@`` is the schema."""

    async def asked() -> list[dict[str, Any]]:
        address = parse(url)
        connection = await asyncpg.connect(address.dsn, timeout=10.0)
        try:
            return [dict(row) for row in await connection.fetch(sql.replace("@", address.quoted), *values)]
        finally:
            await connection.close()

    return asyncio.run(asked())
