-- Long jobs: each pass over their items, and the outcome of each item. `ok` NULL: to be tried again.
CREATE TABLE @schema@.ledgers (
    seq           bigint NOT NULL REFERENCES @schema@.jobs ON DELETE CASCADE,
    name          text COLLATE "C" NOT NULL,
    begun_us      bigint NOT NULL,
    total         bigint,
    next          bigint NOT NULL,
    done          bigint NOT NULL,
    failed        bigint NOT NULL,
    counters_json text NOT NULL,
    PRIMARY KEY (seq, name)
) WITH (fillfactor = 50);

CREATE TABLE @schema@.items (
    seq        bigint NOT NULL REFERENCES @schema@.jobs ON DELETE CASCADE,
    name       text COLLATE "C" NOT NULL,
    position   bigint NOT NULL,
    key        text NOT NULL,
    ok         boolean,
    error      text,
    value_json text,
    PRIMARY KEY (seq, name, position)
);

CREATE INDEX items_not_done ON @schema@.items (seq, name, position) WHERE ok IS NOT true;
-- Jobs that belong together. `blockers`: so many of those that the job waits for have not ended; it is not claimable before (`ready` NULL).
-- `doomed`: one of them failed, and what is to become of the job. `held_us`: somebody paused the job until then; `due_us` is when it was due.
ALTER TABLE @schema@.jobs
    ADD COLUMN batch text COLLATE "C",
    ADD COLUMN blockers bigint NOT NULL DEFAULT 0,
    ADD COLUMN doomed text,
    ADD COLUMN held_us bigint,
    ADD COLUMN due_us bigint;

-- Owners take turns: their jobs are found owner by owner, and whether there are any, at one look.
DROP INDEX @schema@.jobs_ready;
CREATE INDEX jobs_ready ON @schema@.jobs (task_type, priority DESC, (coalesce(owner, '')), seq) WHERE ready = 1;
CREATE INDEX jobs_ready_owned ON @schema@.jobs (task_type) WHERE ready = 1 AND owner IS NOT NULL;
CREATE INDEX jobs_by_batch ON @schema@.jobs (batch) WHERE batch IS NOT NULL;
CREATE INDEX jobs_batch_open ON @schema@.jobs (batch) WHERE batch IS NOT NULL AND finished_us IS NULL;
CREATE INDEX jobs_unfinished_of ON @schema@.jobs (owner) WHERE owner IS NOT NULL AND finished_us IS NULL;

-- Who waits for what: a job's id, or a batch's key. Whoever makes a job wait holds what it waits for (the row, or the batch's lock)
-- until that is known, and whoever ends a job looks here after it holds the same.
CREATE TABLE @schema@.waits (
    awaited   text COLLATE "C" NOT NULL,
    seq       bigint NOT NULL,
    if_failed text NOT NULL,
    PRIMARY KEY (awaited, seq)
);

CREATE FUNCTION @schema@.batch_key(batch text, owner text) RETURNS text
LANGUAGE sql IMMUTABLE
AS $scheduler$ SELECT 'batch:' || batch || chr(10) || coalesce(owner, '') $scheduler$;

CREATE FUNCTION @schema@.lock_batch(batch text, owner text) RETURNS void
LANGUAGE sql VOLATILE
AS $scheduler$ SELECT pg_advisory_xact_lock(@caps@ + 2, hashtext(@schema@.batch_key(batch, owner))) $scheduler$;

-- Let go who waits for `awaited`, which has ended; the task types of those that may run now.
CREATE FUNCTION @schema@.let_go_of(key text, name text, failed boolean, now_us bigint) RETURNS SETOF text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $scheduler$
DECLARE
    waiting record;
    freed text;
    dooms text;
BEGIN
    FOR waiting IN SELECT w.seq, w.if_failed FROM @schema@.waits AS w WHERE w.awaited = key ORDER BY w.seq LOOP
        dooms := CASE WHEN failed AND waiting.if_failed <> 'run' THEN waiting.if_failed || ' ' || name END;
        UPDATE @schema@.jobs AS j
        SET doomed = coalesce(dooms, j.doomed), blockers = CASE WHEN dooms IS NULL THEN j.blockers - 1 ELSE 0 END,
            ready = CASE WHEN dooms IS NULL AND j.blockers > 1 THEN NULL WHEN j.run_after_us <= now_us THEN 1 ELSE 0 END
        WHERE j.seq = waiting.seq AND j.finished_us IS NULL AND j.blockers > 0
        RETURNING CASE WHEN j.blockers = 0 THEN j.task_type END INTO freed;
        IF FOUND AND freed IS NOT NULL THEN
            RETURN NEXT freed;
        END IF;
    END LOOP;
    DELETE FROM @schema@.waits AS w WHERE w.awaited = key;
END
$scheduler$;

-- Those jobs have ended, if they have.
CREATE FUNCTION @schema@.let_go(seqs bigint[], now_us bigint) RETURNS SETOF text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $scheduler$
DECLARE
    ended record;
BEGIN
    IF EXISTS (SELECT 1 FROM @schema@.jobs AS j WHERE j.batch IS NOT NULL) THEN -- where there are no batches this costs one look
        PERFORM @schema@.lock_batch(b.batch, b.owner) FROM (
            SELECT DISTINCT j.batch, j.owner FROM @schema@.jobs AS j
            WHERE j.seq = ANY (seqs) AND j.finished_us IS NOT NULL AND j.batch IS NOT NULL ORDER BY 1, 2
        ) AS b;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM @schema@.waits) THEN
        RETURN;
    END IF;
    FOR ended IN
        SELECT j.job_id, j.batch, j.owner, j.status <> 'completed' AS failed FROM @schema@.jobs AS j
        WHERE j.seq = ANY (seqs) AND j.finished_us IS NOT NULL ORDER BY j.seq
    LOOP
        RETURN QUERY SELECT @schema@.let_go_of(ended.job_id, ended.job_id, ended.failed, now_us);
        IF ended.batch IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM @schema@.jobs AS j
            WHERE j.batch = ended.batch AND j.batch IS NOT NULL AND j.finished_us IS NULL AND j.owner IS NOT DISTINCT FROM ended.owner
        ) THEN
            RETURN QUERY SELECT @schema@.let_go_of(
                @schema@.batch_key(ended.batch, ended.owner), 'batch:' || ended.batch, EXISTS (
                    SELECT 1 FROM @schema@.jobs AS j
                    WHERE j.batch = ended.batch AND j.batch IS NOT NULL AND j.status <> 'completed' AND j.owner IS NOT DISTINCT FROM ended.owner
                ), now_us
            );
        END IF;
    END LOOP;
END
$scheduler$;

-- Up to `room` ready jobs of a lane, locked: the highest priority first, owners in turn after `last`, none of those that are paused.
-- From priority to priority and from owner to owner by seeks: the cost grows with the owners that are served, not with their jobs.
CREATE FUNCTION @schema@.in_turn(lane text, kinds text[], room bigint, paused text[], last text) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $scheduler$
DECLARE
    picked bigint[] := '{}';
    got    bigint[];
    level  bigint := 9223372036854775807;
    names  text[];
    hungry text[];
    next   text;
    start  text;
    share  bigint;
    more   bigint;
    take   bigint;
    served text[];
    counts bigint[];
BEGIN
    WHILE cardinality(picked) < room LOOP
        SELECT j.priority INTO level FROM @schema@.jobs AS j
        WHERE j.ready = 1 AND j.task_type = lane AND j.priority < level AND (kinds IS NULL OR j.target_type = ANY (kinds))
        ORDER BY j.priority DESC LIMIT 1;
        EXIT WHEN NOT FOUND;
        names := '{}';
        start := last;
        WHILE start IS NOT NULL AND cardinality(names) < room - cardinality(picked) LOOP -- those after the last
            SELECT coalesce(j.owner, '') INTO next FROM @schema@.jobs AS j
            WHERE j.ready = 1 AND j.task_type = lane AND j.priority = level AND coalesce(j.owner, '') > start
                AND (kinds IS NULL OR j.target_type = ANY (kinds))
            ORDER BY coalesce(j.owner, '') LIMIT 1;
            EXIT WHEN NOT FOUND;
            start := next;
            IF next <> ALL (paused) THEN
                names := names || next;
            END IF;
        END LOOP;
        start := NULL;
        WHILE cardinality(names) < room - cardinality(picked) LOOP -- then from the first on, up to the last
            IF start IS NULL THEN
                SELECT coalesce(j.owner, '') INTO next FROM @schema@.jobs AS j
                WHERE j.ready = 1 AND j.task_type = lane AND j.priority = level AND (kinds IS NULL OR j.target_type = ANY (kinds))
                ORDER BY coalesce(j.owner, '') LIMIT 1;
            ELSE
                SELECT coalesce(j.owner, '') INTO next FROM @schema@.jobs AS j
                WHERE j.ready = 1 AND j.task_type = lane AND j.priority = level AND coalesce(j.owner, '') > start
                    AND (kinds IS NULL OR j.target_type = ANY (kinds))
                ORDER BY coalesce(j.owner, '') LIMIT 1;
            END IF;
            EXIT WHEN NOT FOUND OR next > last;
            start := next;
            IF next <> ALL (paused) THEN
                names := names || next;
            END IF;
        END LOOP;
        served := names;
        counts := array_fill(0::bigint, ARRAY[cardinality(served)]);
        WHILE cardinality(names) > 0 AND cardinality(picked) < room LOOP -- shared out until nobody has more
            share := (room - cardinality(picked)) / cardinality(names);
            more := (room - cardinality(picked)) % cardinality(names);
            hungry := '{}';
            FOREACH next IN ARRAY names LOOP
                take := share + (more > 0)::int;
                got := ARRAY(
                    SELECT j.seq FROM @schema@.jobs AS j
                    WHERE j.ready = 1 AND j.task_type = lane AND j.priority = level AND coalesce(j.owner, '') = next
                        AND j.seq <> ALL (picked) AND (kinds IS NULL OR j.target_type = ANY (kinds))
                    ORDER BY j.seq LIMIT take FOR NO KEY UPDATE SKIP LOCKED
                );
                IF cardinality(got) > 0 AND cardinality(got) = take THEN
                    hungry := hungry || next;
                END IF;
                picked := picked || got;
                counts[array_position(served, next)] := counts[array_position(served, next)] + cardinality(got);
                more := more - 1;
            END LOOP;
            names := hungry;
        END LOOP;
        -- The turn goes on after the last of those that got most.
        SELECT s.name INTO next FROM unnest(served, counts) WITH ORDINALITY AS s(name, count, place)
        WHERE s.count > 0 AND s.count = (SELECT max(c) FROM unnest(counts) AS c) ORDER BY s.place DESC LIMIT 1;
        IF FOUND THEN
            last := next;
        END IF;
    END LOOP;
    RETURN picked;
END
$scheduler$;

-- The claim of 0005, with owners in turn.
DROP FUNCTION @schema@.claim(jsonb, text, bigint, bigint);
CREATE FUNCTION @schema@.claim(wants jsonb, by_worker text, now_us bigint, tag bigint)
RETURNS TABLE (
    want integer, probing text[], seq bigint, job_id text, task_type text, target_type text, target_id text, payload_json text,
    status text, reason text, error text, priority bigint, run_after_us bigint, attempts bigint, crashes bigint,
    max_attempts bigint, timeout_s double precision, token bigint, worker text, unique_key text, owner text, fingerprint text,
    created_us bigint, started_us bigint, finished_us bigint, waiting_us bigint, result_json text, progress_json text,
    state_json text, batch text, blockers bigint, doomed text, held_us bigint
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
    paused text[];
BEGIN
    -- On disk before anybody runs: a claim that a crash of the server undoes would be made again under the same token.
    PERFORM set_config('synchronous_commit', 'on', true);
    PERFORM pg_advisory_xact_lock_shared(@gates@); -- whoever stores a pause waits for us, and we for them
    PERFORM pg_advisory_xact_lock(@caps@, hashtext(capped.t)) FROM (
        SELECT DISTINCT w.t FROM jsonb_to_recordset(wants) AS w(t text, c bigint) WHERE w.c IS NOT NULL ORDER BY w.t
    ) AS capped;
    paused := ARRAY( -- owners whose jobs somebody paused
        SELECT substr(p.scope, 7) FROM @schema@.pauses AS p
        WHERE p.scope >= 'owner:' AND p.scope < 'owner;' AND (p.until_us IS NULL OR p.until_us > now_us)
    );
    FOR wanted IN SELECT w.* FROM jsonb_to_recordset(wants) AS w(i integer, t text, n bigint, s text[], k text[], c bigint, a text[], o text) LOOP
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
                AND coalesce(j.owner, '') <> ALL (paused)
                ORDER BY j.priority, coalesce(j.owner, '') DESC, j.seq DESC LIMIT room FOR NO KEY UPDATE SKIP LOCKED
            );
            IF cardinality(picked) = 0 THEN
                picked := ARRAY(
                    SELECT j.seq FROM @schema@.jobs AS j WHERE j.ready = 1 AND j.task_type = wanted.t
                    AND (wanted.k IS NULL OR j.target_type = ANY (wanted.k)) AND coalesce(j.owner, '') <> ALL (paused)
                    ORDER BY j.priority, coalesce(j.owner, '') DESC, j.seq DESC LIMIT room FOR NO KEY UPDATE SKIP LOCKED
                );
            END IF;
        ELSIF cardinality(paused) > 0 OR EXISTS (
            SELECT 1 FROM @schema@.jobs AS j WHERE j.ready = 1 AND j.owner IS NOT NULL AND j.task_type = wanted.t
        ) THEN
            picked := @schema@.in_turn(wanted.t, wanted.k, room, paused, wanted.o);
        ELSIF wanted.k IS NULL THEN
            picked := ARRAY(
                SELECT j.seq FROM @schema@.jobs AS j WHERE j.ready = 1 AND j.task_type = wanted.t
                ORDER BY j.priority DESC, coalesce(j.owner, ''), j.seq LIMIT room FOR NO KEY UPDATE SKIP LOCKED
            );
        ELSE
            picked := ARRAY(
                SELECT j.seq FROM @schema@.jobs AS j WHERE j.ready = 1 AND j.task_type = wanted.t AND j.target_type = ANY (wanted.k)
                ORDER BY j.priority DESC, coalesce(j.owner, ''), j.seq LIMIT room FOR NO KEY UPDATE SKIP LOCKED
            );
        END IF;
        CONTINUE WHEN cardinality(picked) = 0;
        RETURN QUERY UPDATE @schema@.jobs AS j
        SET status = 'processing', attempts = j.attempts + 1, token = j.token + 1, worker = by_worker,
            started_us = greatest(now_us, j.run_after_us), ready = NULL, claim_tag = tag, held_us = NULL, due_us = NULL
        WHERE j.seq = ANY (picked)
        RETURNING wanted.i, coalesce(probes, '{}'), j.seq, j.job_id, j.task_type, j.target_type, j.target_id, j.payload_json,
            j.status, j.reason, j.error, j.priority, j.run_after_us, j.attempts, j.crashes, j.max_attempts, j.timeout_s, j.token,
            j.worker, j.unique_key, j.owner, j.fingerprint, j.created_us, j.started_us, j.finished_us, j.waiting_us,
            j.result_json, j.progress_json, j.state_json, j.batch, j.blockers, j.doomed, j.held_us;
        IF probes IS NOT NULL THEN
            UPDATE @schema@.pauses AS p SET probe = (SELECT j.job_id FROM @schema@.jobs AS j WHERE j.seq = picked[1])
            WHERE p.scope = ANY (probes);
        END IF;
    END LOOP;
END
$scheduler$;

-- The settle of 0002: jobs that are held wait, and whoever waited for what has ended is let go; place 0 names their task types.
DROP FUNCTION @schema@.settle(
    bigint[], bigint[], text[], text[], text[], text[], bigint[], integer[], integer[], bigint[], bigint[], smallint[], boolean
);
CREATE FUNCTION @schema@.settle(
    seqs bigint[], tokens bigint[], statuses text[], reasons text[], errors text[], results text[], run_afters bigint[],
    refunds integer[], crashed integer[], waitings bigint[], finishes bigint[], readies smallint[], synced boolean
)
RETURNS TABLE (place integer, lanes text[])
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
DECLARE
    over  bigint[];
    freed text[];
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
            run_after_us = CASE WHEN j.held_us IS NULL OR e.ready IS NULL THEN coalesce(e.run_after_us, j.run_after_us)
                ELSE greatest(coalesce(e.run_after_us, j.run_after_us), j.held_us) END,
            due_us = CASE WHEN j.held_us IS NOT NULL THEN coalesce(e.run_after_us, j.run_after_us) END, attempts = greatest(j.attempts - e.refund, 0),
            crashes = j.crashes + e.crash, waiting_us = e.waiting_us, finished_us = e.finished_us,
            ready = CASE WHEN e.ready = 1 AND j.held_us IS NOT NULL THEN 0 ELSE e.ready END, worker = NULL,
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
    SELECT d.place::integer, NULL::text[] FROM done AS d;
    over := ARRAY(SELECT e.seq FROM unnest(seqs, finishes) AS e(seq, finished) WHERE e.finished IS NOT NULL);
    IF cardinality(over) > 0 THEN
        freed := ARRAY(SELECT @schema@.let_go(over, (SELECT max(e.finished) FROM unnest(finishes) AS e(finished))));
        IF cardinality(freed) > 0 THEN
            RETURN QUERY SELECT 0, freed;
        END IF;
    END IF;
END
$scheduler$;

-- The enqueue of 0002, with the batch.
DROP FUNCTION @schema@.enqueue(
    text[], text[], text[], text[], text[], bigint[], bigint[], bigint[], double precision[], text[], text[], text[], boolean[], bigint[]
);
CREATE FUNCTION @schema@.enqueue(
    job_ids text[], task_types text[], target_types text[], target_ids text[], payloads text[], priorities bigint[],
    run_afters bigint[], max_attempts bigint[], timeouts double precision[], unique_keys text[], owners text[],
    fingerprints text[], forces boolean[], creations bigint[], batches text[] DEFAULT NULL
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
            created_us, batch, ready
        )
        SELECT d.*, CASE WHEN d.run_after <= d.created THEN 1 ELSE 0 END FROM unnest(
            job_ids, task_types, target_types, target_ids, payloads, priorities, run_afters, max_attempts, timeouts, owners, creations,
            coalesce(batches, array_fill(NULL::text, ARRAY[cardinality(job_ids)]))
        ) AS d(id, task, target, target_id, payload, priority, run_after, max_attempts, timeout_s, owner, created, batch);
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
            owners, fingerprints, forces, creations, batches
        ) WITH ORDINALITY AS d(
            id, task, target, target_id, payload, priority, run_after, max_attempts, timeout_s, k, owner, f, force, created, batch, place
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
                owner, fingerprint, created_us, batch, ready, key_hash, target_hash
            ) VALUES (
                draft.id, draft.task, draft.target, draft.target_id, draft.payload, draft.priority, draft.run_after,
                draft.max_attempts, draft.timeout_s, draft.k, draft.owner, draft.f, draft.created, draft.batch, draft.ready,
                draft.key_hash,
                draft.target_hash
            ) ON CONFLICT (key_hash) WHERE key_hash IS NOT NULL AND finished_us IS NULL DO NOTHING;
            EXIT WHEN FOUND; -- else somebody's retry took the key just now: see who
        END LOOP;
    END LOOP;
END
$scheduler$;

-- The places of those leases that hold and whose jobs somebody paused.
CREATE FUNCTION @schema@.paused_among(seqs bigint[], tokens bigint[]) RETURNS SETOF integer
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
    WHERE j.status = 'processing' AND j.held_us IS NOT NULL;
END
$scheduler$;

-- The places of those leases that hold. A job that gets on is none that only crashes.
CREATE OR REPLACE FUNCTION @schema@.note(seqs bigint[], tokens bigint[], progresses text[], states text[], synced boolean) RETURNS SETOF integer
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
    SET progress_json = coalesce(n.progress, j.progress_json), state_json = coalesce(n.state, j.state_json),
        crashes = CASE WHEN n.state IS NULL OR n.state = j.state_json THEN j.crashes ELSE 0 END
    FROM unnest(seqs, tokens, progresses, states) WITH ORDINALITY AS n(seq, token, progress, state, place)
    WHERE j.seq = n.seq AND j.token = n.token AND j.status = 'processing'
    RETURNING n.place::integer;
END
$scheduler$;
