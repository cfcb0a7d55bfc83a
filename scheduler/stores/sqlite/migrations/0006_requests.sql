-- Requests that callers may send again: the job that each got (`Store.enqueue`). They outlive their jobs, for a day.
CREATE TABLE requests (
    owner     TEXT    NOT NULL,
    key       TEXT    NOT NULL,
    body_hash TEXT    NOT NULL,
    job_id    TEXT    NOT NULL,
    at_us     INTEGER NOT NULL,
    PRIMARY KEY (owner, key)
) WITHOUT ROWID, STRICT;

CREATE INDEX requests_by_age ON requests (at_us);

-- How many ended when, and how: read from the index alone.
DROP INDEX jobs_finished;
CREATE INDEX jobs_finished ON jobs (finished_us, status, owner) WHERE finished_us IS NOT NULL;

-- What a worker runs, as JSON (`offers.py`).
ALTER TABLE workers ADD COLUMN offers_json TEXT;
