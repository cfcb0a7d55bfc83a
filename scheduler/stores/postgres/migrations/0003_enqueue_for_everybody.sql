-- Jobs from programs that do not speak Python, in their own transaction: the job exists exactly when their rows do.
-- Checks what the door of the scheduler checks, wakes the workers at the commit.
CREATE FUNCTION @schema@.scheduler_enqueue(
    task_type text, target_type text DEFAULT '', target_id text DEFAULT '', payload jsonb DEFAULT NULL, priority integer DEFAULT 0,
    run_after timestamptz DEFAULT NULL, unique_key text DEFAULT NULL, owner text DEFAULT NULL, max_attempts integer DEFAULT NULL,
    timeout_s double precision DEFAULT NULL
)
RETURNS TABLE (job_id text, created boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $scheduler$
#variable_conflict use_variable
DECLARE
    now_us bigint := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
    due_us bigint := least(coalesce((extract(epoch FROM run_after) * 1000000)::numeric, now_us), 9000000000000000000)::bigint;
    id text := gen_random_uuid()::text;
    standing record;
BEGIN
    IF task_type IS NULL OR task_type = '' OR length(task_type) > 512 OR task_type LIKE 'pool:%' THEN
        RAISE EXCEPTION 'task_type % is not a name of 1 to 512 characters', coalesce(quote_literal(task_type), 'NULL') USING ERRCODE = '22023';
    END IF;
    IF length(target_type) > 512 OR length(target_id) > 2048 OR length(unique_key) > 512 OR length(owner) > 512 THEN
        RAISE EXCEPTION 'target_type, unique_key and owner have at most 512 characters, target_id 2048' USING ERRCODE = '22023';
    END IF;
    IF unique_key = '' OR owner = '' THEN
        RAISE EXCEPTION 'unique_key or owner is empty: leave it out, or give it a value' USING ERRCODE = '22023';
    END IF;
    IF octet_length(payload::text) > 1000000 THEN
        RAISE EXCEPTION 'payload is larger than 1,000,000 bytes: store it elsewhere and pass a reference' USING ERRCODE = '22023';
    END IF;
    IF max_attempts < 1 OR max_attempts > 1000000 OR NOT (timeout_s > 0 AND timeout_s < 'infinity') THEN
        RAISE EXCEPTION 'max_attempts must be 1 or more, timeout_s a number of seconds above 0' USING ERRCODE = '22023';
    END IF;
    SELECT e.job_id INTO standing FROM @schema@.enqueue(
        ARRAY[id], ARRAY[task_type], ARRAY[coalesce(target_type, '')], ARRAY[coalesce(target_id, '')], ARRAY[payload::text],
        ARRAY[priority::bigint], ARRAY[due_us], ARRAY[max_attempts::bigint], ARRAY[timeout_s], ARRAY[unique_key], ARRAY[owner],
        ARRAY[NULL::text], ARRAY[false], ARRAY[now_us]
    ) AS e;
    IF FOUND THEN
        RETURN QUERY SELECT standing.job_id, false;
        RETURN;
    END IF;
    PERFORM pg_notify(@channel@, ''); -- several in one transaction are one
    RETURN QUERY SELECT id, true;
END
$scheduler$;
