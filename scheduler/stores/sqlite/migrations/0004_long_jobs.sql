-- Long jobs: each pass over their items, and the outcome of each item. `ok` NULL: to be tried again.
CREATE TABLE ledgers (
    seq           INTEGER NOT NULL,
    name          TEXT    NOT NULL,
    begun_us      INTEGER NOT NULL,
    total         INTEGER,
    next          INTEGER NOT NULL,
    done          INTEGER NOT NULL,
    failed        INTEGER NOT NULL,
    counters_json TEXT    NOT NULL,
    PRIMARY KEY (seq, name)
) WITHOUT ROWID, STRICT;

CREATE TABLE items (
    seq        INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    position   INTEGER NOT NULL,
    key        TEXT    NOT NULL,
    ok         INTEGER,
    error      TEXT,
    value_json TEXT,
    PRIMARY KEY (seq, name, position)
) WITHOUT ROWID, STRICT;

CREATE INDEX items_not_done ON items (seq, name, position) WHERE ok IS NOT 1;

CREATE TRIGGER jobs_ledgers AFTER DELETE ON jobs
BEGIN
    DELETE FROM ledgers WHERE seq = OLD.seq;
    DELETE FROM items WHERE seq = OLD.seq;
END;

-- Jobs that belong together. `blockers`: so many of those that the job waits for have not ended; it is not claimable before (`ready` NULL).
-- `doomed`: one of them failed, and what is to become of the job. `held_us`: somebody paused the job until then; `due_us` is when it was due.
ALTER TABLE jobs ADD COLUMN batch TEXT;
ALTER TABLE jobs ADD COLUMN blockers INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN doomed TEXT;
ALTER TABLE jobs ADD COLUMN held_us INTEGER;
ALTER TABLE jobs ADD COLUMN due_us INTEGER;

-- Owners take turns: their jobs are found owner by owner, and whether there are any, at one look.
DROP INDEX jobs_ready;
CREATE INDEX jobs_ready ON jobs (task_type, priority DESC, ifnull(owner, ''), seq) WHERE ready = 1;
CREATE INDEX jobs_ready_owned ON jobs (task_type) WHERE ready = 1 AND owner IS NOT NULL;

CREATE INDEX jobs_by_batch ON jobs (batch, finished_us) WHERE batch IS NOT NULL;
CREATE INDEX jobs_unfinished_of ON jobs (owner) WHERE owner IS NOT NULL AND finished_us IS NULL;

-- Who waits for what: a job's id, or a batch's key.
CREATE TABLE waits (
    awaited   TEXT    NOT NULL,
    seq       INTEGER NOT NULL,
    if_failed TEXT    NOT NULL,
    PRIMARY KEY (awaited, seq)
) WITHOUT ROWID, STRICT;
