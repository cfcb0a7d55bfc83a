-- Requests that callers may send again: the job that each got (`Store.enqueue`). They outlive their jobs, for a day.
CREATE TABLE @schema@.requests (
    request_hash bytea PRIMARY KEY, -- of owner and key
    owner        text COLLATE "C",
    key          text COLLATE "C" NOT NULL,
    body_hash    text NOT NULL,
    job_id       text COLLATE "C" NOT NULL,
    at_us        bigint NOT NULL
);

CREATE INDEX requests_by_age ON @schema@.requests (at_us);

-- How many ended when, and how: read from the indexes alone.
DROP INDEX @schema@.jobs_done_at;
DROP INDEX @schema@.jobs_failed_at;
CREATE INDEX jobs_done_at ON @schema@.jobs (finished_us) INCLUDE (status, owner)
    WHERE finished_us IS NOT NULL AND status IN ('completed', 'cancelled');
CREATE INDEX jobs_failed_at ON @schema@.jobs (finished_us) INCLUDE (status, owner)
    WHERE finished_us IS NOT NULL AND status NOT IN ('completed', 'cancelled');

-- What a worker runs, as JSON (`offers.py`).
ALTER TABLE @schema@.workers ADD COLUMN offers_json text;
