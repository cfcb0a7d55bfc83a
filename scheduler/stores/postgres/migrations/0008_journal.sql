-- What happened, in the order in which it was committed: triggers write it, so that whoever moves a job, from whichever process,
-- leaves exactly one entry in the same transaction. `seq` NULL: about a pause, not about a job.
-- One statement a trigger, not one a row: a claim or a group of outcomes writes all of its entries at once. Numbers are drawn after
-- the rows are locked, so that a job's own entries are in the order of its changes.
CREATE TABLE @schema@.journal (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_us   bigint NOT NULL,
    seq     bigint,
    owner   text COLLATE "C",
    name    text COLLATE "C" NOT NULL,
    status  text,
    reason  text,
    error   text,
    attempt bigint,
    worker  text,
    detail  text
);

CREATE INDEX journal_of_job ON @schema@.journal (seq, id) WHERE seq IS NOT NULL;
CREATE INDEX journal_of_owner ON @schema@.journal (owner, id) WHERE owner IS NOT NULL;
CREATE INDEX journal_progress ON @schema@.journal (id) WHERE name = 'job.progress';

CREATE FUNCTION @schema@.journal_enqueued() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $scheduler$
BEGIN
    INSERT INTO @schema@.journal (at_us, seq, owner, name, status, attempt)
    SELECT n.created_us, n.seq, n.owner, 'job.enqueued', n.status, n.attempts FROM new_jobs AS n ORDER BY n.seq;
    RETURN NULL;
END
$scheduler$;

CREATE TRIGGER journal_enqueued AFTER INSERT ON @schema@.jobs
REFERENCING NEW TABLE AS new_jobs FOR EACH STATEMENT EXECUTE FUNCTION @schema@.journal_enqueued();

-- The caller's function forbids joins that suit its own statements; here both sides are as many rows as were changed.
CREATE FUNCTION @schema@.journal_changed() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = on
SET enable_sort = on
AS $scheduler$
DECLARE
    now_us bigint := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
BEGIN
    INSERT INTO @schema@.journal (at_us, seq, owner, name, status, reason, error, attempt, worker, detail)
    SELECT
        CASE WHEN n.status = o.status THEN now_us WHEN n.status = 'processing' THEN n.started_us ELSE coalesce(n.finished_us, now_us) END,
        n.seq,
        n.owner,
        CASE
            WHEN n.status = o.status THEN CASE
                WHEN n.held_us IS NOT DISTINCT FROM o.held_us THEN 'job.progress' WHEN n.held_us IS NULL THEN 'job.resumed' ELSE 'job.paused'
            END
            WHEN n.status = 'processing' THEN 'job.started'
            WHEN n.status IN ('completed', 'rate_limited', 'cancelled') THEN 'job.' || n.status
            WHEN n.status = 'retry_ai' THEN 'job.retrying'
            WHEN n.status = 'pending' AND o.status <> 'processing' THEN 'job.requeued'
            WHEN n.status = 'pending' THEN CASE WHEN n.reason = 'worker_lost' THEN 'job.lost' ELSE 'job.interrupted' END
            ELSE 'job.failed'
        END,
        n.status,
        CASE WHEN n.status <> 'processing' THEN n.reason END, -- until it ends a job keeps those of the attempt before
        CASE WHEN n.status <> 'processing' THEN n.error END,
        n.attempts,
        coalesce(n.worker, o.worker),
        CASE
            WHEN n.status = o.status AND n.held_us IS NOT DISTINCT FROM o.held_us THEN n.progress_json
            WHEN n.status = o.status AND n.held_us < 9000000000000000000 THEN jsonb_build_object('until', n.held_us / 1000000.0)::text
            WHEN n.status <> o.status AND n.status IN ('rate_limited', 'retry_ai')
                THEN jsonb_build_object('run_after', n.run_after_us / 1000000.0)::text
        END
    FROM new_jobs AS n JOIN old_jobs AS o ON o.seq = n.seq
    WHERE n.status <> o.status OR n.held_us IS DISTINCT FROM o.held_us
        OR (n.status = 'processing' AND n.progress_json IS NOT NULL AND n.progress_json IS DISTINCT FROM o.progress_json)
    ORDER BY n.seq;
    RETURN NULL;
END
$scheduler$;

CREATE TRIGGER journal_changed AFTER UPDATE ON @schema@.jobs
REFERENCING NEW TABLE AS new_jobs OLD TABLE AS old_jobs FOR EACH STATEMENT EXECUTE FUNCTION @schema@.journal_changed();

CREATE FUNCTION @schema@.journal_forgotten() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $scheduler$
BEGIN
    DELETE FROM @schema@.journal AS j WHERE j.seq = ANY (ARRAY(SELECT o.seq FROM old_jobs AS o));
    RETURN NULL;
END
$scheduler$;

CREATE TRIGGER journal_forgotten AFTER DELETE ON @schema@.jobs
REFERENCING OLD TABLE AS old_jobs FOR EACH STATEMENT EXECUTE FUNCTION @schema@.journal_forgotten();

CREATE FUNCTION @schema@.journal_pauses() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $scheduler$
DECLARE
    now_us bigint := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO @schema@.journal (at_us, name, reason, detail)
        VALUES (now_us, 'lane.resumed', OLD.reason, jsonb_build_object('scope', OLD.scope, 'reason', OLD.reason)::text);
        RETURN NULL;
    END IF;
    IF TG_OP = 'INSERT' OR NEW.until_us IS DISTINCT FROM OLD.until_us OR NEW.reason <> OLD.reason THEN
        INSERT INTO @schema@.journal (at_us, name, reason, detail) VALUES (
            now_us, 'lane.paused', NEW.reason, jsonb_build_object(
                'scope', NEW.scope, 'until', NEW.until_us / 1000000.0, 'reason', NEW.reason, 'set_by', NEW.set_by
            )::text
        );
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.probe IS NOT NULL AND NEW.probe IS DISTINCT FROM OLD.probe THEN
        INSERT INTO @schema@.journal (at_us, name, reason, detail) VALUES (
            now_us, 'lane.probing', NEW.reason, jsonb_build_object('scope', NEW.scope, 'reason', NEW.reason, 'probe', NEW.probe)::text
        );
    END IF;
    RETURN NULL;
END
$scheduler$;

CREATE TRIGGER journal_pauses AFTER INSERT OR UPDATE OR DELETE ON @schema@.pauses
FOR EACH ROW EXECUTE FUNCTION @schema@.journal_pauses();
