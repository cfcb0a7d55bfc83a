-- Jobs in, and those who may run them told of it, in one call of two transactions. The first stores the jobs and sends the hint, and does
-- not wait for the disk: a commit with a hint makes all others like it wait, and a wait for the disk would count for them all. The
-- second writes next to nothing and is on disk when it returns, and with it all that was committed before: so what the caller hears is
-- acknowledged as ever. Whoever claims one of the jobs meanwhile does so on disk, too, the job with it, before anybody runs it.
-- `standing`: a triple for each draft that was not stored, as rows of `enqueue`. Settings of its own would forbid it to commit.
CREATE PROCEDURE @schema@.enqueue_and_tell(
    job_ids text[], task_types text[], target_types text[], target_ids text[], payloads text[], priorities bigint[],
    run_afters bigint[], max_attempts bigint[], timeouts double precision[], unique_keys text[], owners text[],
    fingerprints text[], forces boolean[], creations bigint[], batches text[], sender text, INOUT standing jsonb
)
LANGUAGE plpgsql
AS $scheduler$
BEGIN
    PERFORM pg_catalog.set_config('synchronous_commit', 'off', true);
    SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(e.place, e.job_id, e.unchanged)) INTO standing FROM @schema@.enqueue(
        job_ids, task_types, target_types, target_ids, payloads, priorities, run_afters, max_attempts, timeouts, unique_keys, owners,
        fingerprints, forces, creations, batches
    ) AS e;
    PERFORM pg_catalog.pg_notify(@channel@, sender);
    COMMIT;
    PERFORM pg_catalog.pg_logical_emit_message(true, 'scheduler', '');
END
$scheduler$;
