-- The statements of the hot path, one call each. Their plans must not depend on the tables' statistics: on a fresh table the
-- planner would sort the whole backlog for a claim, after ANALYZE it might read the whole table. So each function leaves it
-- nothing but the indexes, with the same plan for every call. Inside a function each statement sees what was committed
-- before it began: a lock taken first orders what follows.
--
-- Order of locks, the same for everybody: gates (advisory), caps (advisory, by task type), jobs (by seq), pauses.

-- No two lists of texts share one: each text is preceded by its length.
CREATE FUNCTION @schema@.digest(VARIADIC texts text[]) RETURNS bytea
LANGUAGE sql STABLE
AS $scheduler$
    SELECT sha256(convert_to(string_agg(coalesce(length(t.text)::text, '-') || ':' || coalesce(t.text, ''), '' ORDER BY t.place), 'UTF8'))
    FROM unnest(texts) WITH ORDINALITY AS t(text, place)
$scheduler$;

CREATE FUNCTION @schema@.claim(wants jsonb, by_worker text, now_us bigint, tag bigint)
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
    FOR wanted IN SELECT w.* FROM jsonb_to_recordset(wants) AS w(i integer, t text, n bigint, s text[], k text[], c bigint) LOOP
        room := wanted.n;
        SELECT coalesce(bool_or(p.until_us IS NULL OR p.until_us > now_us OR (p.reason <> 'manual' AND p.probe IS NOT NULL)), false),
               array_agg(p.scope) FILTER (WHERE p.reason <> 'manual')
        INTO closed, probes FROM @schema@.pauses AS p WHERE p.scope = ANY (wanted.s);
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
        IF wanted.k IS NULL THEN
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

-- The places (from 1) of those settlements that applied. Nobody may hold a lease twice in one call.
CREATE FUNCTION @schema@.settle(
    seqs bigint[], tokens bigint[], statuses text[], reasons text[], errors text[], results text[], run_afters bigint[],
    refunds integer[], crashed integer[], waitings bigint[], finishes bigint[], readies smallint[], synced boolean
)
RETURNS SETOF integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $scheduler$
#variable_conflict use_column
BEGIN
    PERFORM set_config('synchronous_commit', CASE WHEN synced THEN 'on' ELSE 'off' END, true);
    RETURN QUERY WITH ended AS MATERIALIZED (
        SELECT * FROM unnest(
            seqs, tokens, statuses, reasons, errors, results, run_afters, refunds, crashed, waitings, finishes, readies
        ) WITH ORDINALITY AS e(
            seq, token, status, reason, error, result_json, run_after_us, refund, crash, waiting_us, finished_us, ready, place
        )
    ), done AS (
        UPDATE @schema@.jobs AS j
        SET status = e.status, reason = e.reason, error = e.error, result_json = coalesce(e.result_json, j.result_json),
            run_after_us = coalesce(e.run_after_us, j.run_after_us), attempts = greatest(j.attempts - e.refund, 0),
            crashes = j.crashes + e.crash, waiting_us = e.waiting_us, finished_us = e.finished_us, ready = e.ready, worker = NULL,
            state_json = CASE WHEN e.status = 'completed' THEN NULL ELSE j.state_json END
        FROM ended AS e
        WHERE j.seq = e.seq AND j.token = e.token AND j.status = 'processing'
        RETURNING e.place, j.status, j.job_id, j.fingerprint, j.target_hash
    ), fresh AS (
        INSERT INTO @schema@.freshness AS f (target_hash, fingerprint, job_id)
        SELECT DISTINCT ON (d.target_hash) d.target_hash, d.fingerprint, d.job_id FROM done AS d
        WHERE d.status = 'completed' AND d.target_hash IS NOT NULL ORDER BY d.target_hash, d.place DESC
        ON CONFLICT (target_hash) DO UPDATE SET fingerprint = excluded.fingerprint, job_id = excluded.job_id
    ), forgotten AS ( -- whoever ended may have been a probe: let the next job probe
        UPDATE @schema@.pauses AS p SET probe = NULL WHERE p.probe IS NOT NULL AND p.probe = ANY (ARRAY(SELECT d.job_id FROM done AS d))
    )
    SELECT d.place::integer FROM done AS d;
END
$scheduler$;

CREATE FUNCTION @schema@.refund(seqs bigint[], tokens bigint[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $scheduler$
DECLARE
    lease record;
    changed bigint;
    given bigint := 0;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    FOR lease IN SELECT DISTINCT l.seq, l.token FROM unnest(seqs, tokens) AS l(seq, token) ORDER BY l.seq, l.token LOOP
        UPDATE @schema@.jobs AS j SET attempts = j.attempts - 1
        WHERE j.seq = lease.seq AND j.token >= lease.token AND j.attempts >= 1 AND j.finished_us IS NULL;
        GET DIAGNOSTICS changed = ROW_COUNT;
        given := given + changed;
    END LOOP;
    RETURN given;
END
$scheduler$;

-- The places of those leases that hold.
CREATE FUNCTION @schema@.note(seqs bigint[], tokens bigint[], progresses text[], states text[], synced boolean) RETURNS SETOF integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $scheduler$
BEGIN
    PERFORM set_config('synchronous_commit', CASE WHEN synced THEN 'on' ELSE 'off' END, true);
    RETURN QUERY UPDATE @schema@.jobs AS j
    SET progress_json = coalesce(n.progress, j.progress_json), state_json = coalesce(n.state, j.state_json)
    FROM unnest(seqs, tokens, progresses, states) WITH ORDINALITY AS n(seq, token, progress, state, place)
    WHERE j.seq = n.seq AND j.token = n.token AND j.status = 'processing'
    RETURNING n.place::integer;
END
$scheduler$;

-- The places of those leases that hold.
CREATE FUNCTION @schema@.held(seqs bigint[], tokens bigint[]) RETURNS SETOF integer
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $scheduler$
BEGIN
    RETURN QUERY SELECT l.place::integer
    FROM unnest(seqs, tokens) WITH ORDINALITY AS l(seq, token, place) JOIN @schema@.jobs AS j ON j.seq = l.seq AND j.token = l.token
    WHERE j.status = 'processing';
END
$scheduler$;

-- Walks the distinct task types of the waiting rows by seeks: its cost is the number of lanes, not of jobs.
CREATE FUNCTION @schema@.lanes(now_us bigint) RETURNS TABLE (name text, is_ready boolean, next_us bigint)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
AS $scheduler$
#variable_conflict use_column
DECLARE
    lane text;
BEGIN
    lane := (SELECT j.task_type FROM @schema@.jobs AS j WHERE j.ready = 1 ORDER BY j.task_type LIMIT 1);
    WHILE lane IS NOT NULL LOOP
        RETURN QUERY SELECT lane, true, NULL::bigint;
        lane := (SELECT j.task_type FROM @schema@.jobs AS j WHERE j.ready = 1 AND j.task_type > lane ORDER BY j.task_type LIMIT 1);
    END LOOP;
    lane := (SELECT j.task_type FROM @schema@.jobs AS j WHERE j.ready = 0 ORDER BY j.task_type LIMIT 1);
    WHILE lane IS NOT NULL LOOP
        RETURN QUERY SELECT lane,
            EXISTS (SELECT 1 FROM @schema@.jobs AS j WHERE j.ready = 0 AND j.task_type = lane AND j.run_after_us <= now_us),
            (SELECT j.run_after_us FROM @schema@.jobs AS j WHERE j.ready = 0 AND j.task_type = lane AND j.run_after_us > now_us
             ORDER BY j.run_after_us LIMIT 1);
        lane := (SELECT j.task_type FROM @schema@.jobs AS j WHERE j.ready = 0 AND j.task_type > lane ORDER BY j.task_type LIMIT 1);
    END LOOP;
END
$scheduler$;

-- One row for each draft that was not stored because a job stands for it already.
CREATE FUNCTION @schema@.enqueue(
    job_ids text[], task_types text[], target_types text[], target_ids text[], payloads text[], priorities bigint[],
    run_afters bigint[], max_attempts bigint[], timeouts double precision[], unique_keys text[], owners text[],
    fingerprints text[], forces boolean[], creations bigint[]
)
RETURNS TABLE (place integer, job_id text, unchanged boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $scheduler$
#variable_conflict use_column
DECLARE
    draft record;
    standing record;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM unnest(unique_keys, fingerprints) AS d(k, f) WHERE d.k IS NOT NULL OR d.f IS NOT NULL) THEN
        INSERT INTO @schema@.jobs (
            job_id, task_type, target_type, target_id, payload_json, priority, run_after_us, max_attempts, timeout_s, owner,
            created_us, ready
        )
        SELECT d.*, CASE WHEN d.run_after <= d.created THEN 1 ELSE 0 END FROM unnest(
            job_ids, task_types, target_types, target_ids, payloads, priorities, run_afters, max_attempts, timeouts, owners, creations
        ) AS d(id, task, target, target_id, payload, priority, run_after, max_attempts, timeout_s, owner, created);
        RETURN;
    END IF;
    -- Who asks for the same thing at the same time waits; all take these locks in one order.
    PERFORM pg_advisory_xact_lock(@caps@ + 1, bucket.number) FROM (
        SELECT DISTINCT hashtext(coalesce(d.owner, '') || h.text) & 1023 AS number
        FROM unnest(unique_keys, fingerprints, owners, target_ids) AS d(k, f, owner, target_id),
            LATERAL (VALUES ('k' || d.k), (CASE WHEN d.f IS NULL THEN NULL ELSE 't' || d.target_id END)) AS h(text)
        WHERE h.text IS NOT NULL ORDER BY 1
    ) AS bucket;
    FOR draft IN
        SELECT d.*, CASE WHEN d.run_after <= d.created THEN 1 ELSE 0 END AS ready,
            CASE WHEN d.k IS NOT NULL THEN @schema@.digest(d.owner, d.k) END AS key_hash,
            CASE WHEN d.f IS NOT NULL THEN @schema@.digest(d.owner, d.task, d.target, d.target_id) END AS target_hash
        FROM unnest(
            job_ids, task_types, target_types, target_ids, payloads, priorities, run_afters, max_attempts, timeouts, unique_keys,
            owners, fingerprints, forces, creations
        ) WITH ORDINALITY AS d(
            id, task, target, target_id, payload, priority, run_after, max_attempts, timeout_s, k, owner, f, force, created, place
        )
    LOOP
        LOOP
            SELECT j.job_id, false AS unchanged INTO standing FROM @schema@.jobs AS j
            WHERE j.key_hash = draft.key_hash AND j.key_hash IS NOT NULL AND j.finished_us IS NULL;
            IF NOT FOUND AND draft.f IS NOT NULL THEN
                SELECT j.job_id, false AS unchanged INTO standing FROM @schema@.jobs AS j
                WHERE j.target_hash = draft.target_hash AND j.target_hash IS NOT NULL AND j.finished_us IS NULL
                    AND j.fingerprint = draft.f
                ORDER BY j.seq LIMIT 1;
                IF NOT FOUND AND NOT draft.force THEN
                    SELECT f.job_id, true AS unchanged INTO standing FROM @schema@.freshness AS f
                    WHERE f.target_hash = draft.target_hash AND f.fingerprint = draft.f;
                END IF;
            END IF;
            IF FOUND THEN
                RETURN QUERY SELECT draft.place::integer, standing.job_id, standing.unchanged;
                EXIT;
            END IF;
            INSERT INTO @schema@.jobs (
                job_id, task_type, target_type, target_id, payload_json, priority, run_after_us, max_attempts, timeout_s, unique_key,
                owner, fingerprint, created_us, ready, key_hash, target_hash
            ) VALUES (
                draft.id, draft.task, draft.target, draft.target_id, draft.payload, draft.priority, draft.run_after,
                draft.max_attempts, draft.timeout_s, draft.k, draft.owner, draft.f, draft.created, draft.ready, draft.key_hash,
                draft.target_hash
            ) ON CONFLICT (key_hash) WHERE key_hash IS NOT NULL AND finished_us IS NULL DO NOTHING;
            EXIT WHEN FOUND; -- else somebody's retry took the key just now: see who
        END LOOP;
    END LOOP;
END
$scheduler$;
