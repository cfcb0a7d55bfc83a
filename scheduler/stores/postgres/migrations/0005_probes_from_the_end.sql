-- The claim of 0002, but for an outage's probe: those at the head of a line may be all that ails, so it comes from the far end,
-- and not from among those that failed already (`Want.avoid`) while anybody else is due.
CREATE OR REPLACE FUNCTION @schema@.claim(wants jsonb, by_worker text, now_us bigint, tag bigint)
RETURNS TABLE (
    want integer, probing text[], seq bigint, job_id text, task_type text, target_type text, target_id text, payload_json text,
    status text, reason text, error text, priority bigint, run_after_us bigint, attempts bigint, crashes bigint,
    max_attempts bigint, timeout_s double precision, token bigint, worker text, unique_key text, owner text, fingerprint text,
    created_us bigint, started_us bigint, finished_us bigint, waiting_us bigint, result_json text, progress_json text,
    state_json text
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $scheduler$
#variable_conflict use_column
DECLARE
    wanted record;
    closed boolean;
    outage boolean;
    probes text[];
    held   text[];
    room   bigint;
    picked bigint[];
BEGIN
    -- On disk before anybody runs: a claim that a crash of the server undoes would be made again under the same token.
    PERFORM set_config('synchronous_commit', 'on', true);
    PERFORM pg_advisory_xact_lock_shared(@gates@); -- whoever stores a pause waits for us, and we for them
    PERFORM pg_advisory_xact_lock(@caps@, hashtext(capped.t)) FROM (
        SELECT DISTINCT w.t FROM jsonb_to_recordset(wants) AS w(t text, c bigint) WHERE w.c IS NOT NULL ORDER BY w.t
    ) AS capped;
    FOR wanted IN SELECT w.* FROM jsonb_to_recordset(wants) AS w(i integer, t text, n bigint, s text[], k text[], c bigint, a text[]) LOOP
        room := wanted.n;
        SELECT coalesce(bool_or(p.until_us IS NULL OR p.until_us > now_us OR (p.reason <> 'manual' AND p.probe IS NOT NULL)), false),
               array_agg(p.scope) FILTER (WHERE p.reason <> 'manual'), coalesce(bool_or(p.reason = 'outage'), false)
        INTO closed, probes, outage FROM @schema@.pauses AS p WHERE p.scope = ANY (wanted.s);
        CONTINUE WHEN closed OR room <= 0;
        IF probes IS NOT NULL THEN -- exactly one worker gets to probe: who holds the rows, if nobody has marked them since
            SELECT array_agg(mine.scope) INTO held FROM (
                SELECT p.scope FROM @schema@.pauses AS p WHERE p.scope = ANY (probes) AND p.probe IS NULL FOR UPDATE SKIP LOCKED
            ) AS mine;
            CONTINUE WHEN held IS NULL OR cardinality(held) < cardinality(probes);
            room := 1;
        END IF;
        IF wanted.c IS NOT NULL THEN
            SELECT least(room, wanted.c - count(*)) INTO room FROM @schema@.jobs AS j
            WHERE j.finished_us IS NULL AND j.status = 'processing' AND j.task_type = wanted.t;
            CONTINUE WHEN room <= 0;
        END IF;
        picked := ARRAY(
            SELECT j.seq FROM @schema@.jobs AS j WHERE j.ready = 0 AND j.task_type = wanted.t AND j.run_after_us <= now_us
            ORDER BY j.run_after_us LIMIT greatest(room, 1000) FOR NO KEY UPDATE SKIP LOCKED
        );
        IF cardinality(picked) > 0 THEN -- they fell due
            UPDATE @schema@.jobs AS j SET ready = 1 WHERE j.seq = ANY (picked);
        END IF;
        IF outage THEN -- its probe: from the far end, and somebody to be avoided only if there is nobody else
            picked := ARRAY(
                SELECT j.seq FROM @schema@.jobs AS j WHERE j.ready = 1 AND j.task_type = wanted.t
                AND (wanted.k IS NULL OR j.target_type = ANY (wanted.k)) AND j.job_id <> ALL (coalesce(wanted.a, '{}'))
                ORDER BY j.priority, j.seq DESC LIMIT room FOR NO KEY UPDATE SKIP LOCKED
            );
            IF cardinality(picked) = 0 THEN
                picked := ARRAY(
                    SELECT j.seq FROM @schema@.jobs AS j WHERE j.ready = 1 AND j.task_type = wanted.t
                    AND (wanted.k IS NULL OR j.target_type = ANY (wanted.k))
                    ORDER BY j.priority, j.seq DESC LIMIT room FOR NO KEY UPDATE SKIP LOCKED
                );
            END IF;
        ELSIF wanted.k IS NULL THEN
            picked := ARRAY(
                SELECT j.seq FROM @schema@.jobs AS j WHERE j.ready = 1 AND j.task_type = wanted.t
                ORDER BY j.priority DESC, j.seq LIMIT room FOR NO KEY UPDATE SKIP LOCKED
            );
        ELSE
            picked := ARRAY(
                SELECT j.seq FROM @schema@.jobs AS j WHERE j.ready = 1 AND j.task_type = wanted.t AND j.target_type = ANY (wanted.k)
                ORDER BY j.priority DESC, j.seq LIMIT room FOR NO KEY UPDATE SKIP LOCKED
            );
        END IF;
        CONTINUE WHEN cardinality(picked) = 0;
        RETURN QUERY UPDATE @schema@.jobs AS j
        SET status = 'processing', attempts = j.attempts + 1, token = j.token + 1, worker = by_worker,
            started_us = greatest(now_us, j.run_after_us), ready = NULL, claim_tag = tag
        WHERE j.seq = ANY (picked)
        RETURNING wanted.i, coalesce(probes, '{}'), j.seq, j.job_id, j.task_type, j.target_type, j.target_id, j.payload_json,
            j.status, j.reason, j.error, j.priority, j.run_after_us, j.attempts, j.crashes, j.max_attempts, j.timeout_s, j.token,
            j.worker, j.unique_key, j.owner, j.fingerprint, j.created_us, j.started_us, j.finished_us, j.waiting_us,
            j.result_json, j.progress_json, j.state_json;
        IF probes IS NOT NULL THEN
            UPDATE @schema@.pauses AS p SET probe = (SELECT j.job_id FROM @schema@.jobs AS j WHERE j.seq = picked[1])
            WHERE p.scope = ANY (probes);
        END IF;
    END LOOP;
END
$scheduler$;
