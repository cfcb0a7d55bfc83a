-- Times are whole microseconds since the epoch: exact in JSON and in comparisons.
-- `ready` says how a waiting job is found: 1 claimable, 0 scheduled for later, NULL not waiting.
-- Each partial index holds only the rows that its question is about, so that the cost of a claim does
-- not grow with finished, future, paused or foreign-lane rows.
CREATE TABLE jobs (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again: leases name it
    job_id        TEXT    NOT NULL,
    task_type     TEXT    NOT NULL,
    target_type   TEXT    NOT NULL,
    target_id     TEXT    NOT NULL,
    payload_json  TEXT,
    status        TEXT    NOT NULL DEFAULT 'pending',
    reason        TEXT,
    error         TEXT,
    priority      INTEGER NOT NULL DEFAULT 0,
    run_after_us  INTEGER NOT NULL,
    attempts      INTEGER NOT NULL DEFAULT 0,
    crashes       INTEGER NOT NULL DEFAULT 0,
    max_attempts  INTEGER,
    timeout_s     REAL,
    token         INTEGER NOT NULL DEFAULT 0,
    worker        TEXT,
    unique_key    TEXT,
    owner         TEXT,
    fingerprint   TEXT,
    created_us    INTEGER NOT NULL,
    started_us    INTEGER,
    finished_us   INTEGER,
    waiting_us    INTEGER,
    result_json   TEXT,
    progress_json TEXT,
    state_json    TEXT,
    ready         INTEGER
) STRICT;

CREATE UNIQUE INDEX jobs_by_id ON jobs (job_id);
CREATE INDEX jobs_ready ON jobs (task_type, priority DESC, seq) WHERE ready = 1;
CREATE INDEX jobs_due ON jobs (task_type, run_after_us) WHERE ready = 0;
CREATE INDEX jobs_running ON jobs (worker) WHERE status = 'processing';
CREATE INDEX jobs_by_status ON jobs (status, task_type, reason);
CREATE INDEX jobs_finished ON jobs (finished_us) WHERE finished_us IS NOT NULL;
CREATE INDEX jobs_put_off ON jobs (waiting_us) WHERE status = 'rate_limited';
CREATE UNIQUE INDEX jobs_unique_key ON jobs (unique_key, ifnull(owner, char(0)))
    WHERE unique_key IS NOT NULL AND status IN ('pending', 'processing', 'rate_limited', 'retry_ai');
CREATE INDEX jobs_by_fingerprint ON jobs (fingerprint, target_id)
    WHERE fingerprint IS NOT NULL AND status IN ('pending', 'processing', 'rate_limited', 'retry_ai');
CREATE INDEX jobs_by_owner ON jobs (owner, seq) WHERE owner IS NOT NULL;

-- What each target's last completed job depended on; survives pruning.
-- An owner's targets are its own: nobody is told of a foreign job.
CREATE TABLE freshness (
    owner       TEXT NOT NULL,
    task_type   TEXT NOT NULL,
    target_type TEXT NOT NULL,
    target_id   TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    job_id      TEXT NOT NULL,
    PRIMARY KEY (owner, task_type, target_type, target_id)
) WITHOUT ROWID, STRICT;

CREATE TRIGGER jobs_freshness AFTER UPDATE OF status ON jobs
WHEN NEW.status = 'completed' AND NEW.fingerprint IS NOT NULL
BEGIN
    INSERT OR REPLACE INTO freshness (owner, task_type, target_type, target_id, fingerprint, job_id)
    VALUES (ifnull(NEW.owner, char(0)), NEW.task_type, NEW.target_type, NEW.target_id, NEW.fingerprint, NEW.job_id);
END;

-- `until_us` NULL: until resumed by hand.
CREATE TABLE pauses (
    scope    TEXT PRIMARY KEY,
    until_us INTEGER,
    reason   TEXT    NOT NULL,
    set_us   INTEGER NOT NULL,
    set_by   TEXT,
    strikes  INTEGER NOT NULL DEFAULT 0,
    probe    TEXT
) WITHOUT ROWID, STRICT;

CREATE TABLE workers (
    worker_id   TEXT PRIMARY KEY,
    host        TEXT    NOT NULL,
    boot        TEXT    NOT NULL,
    pid         INTEGER NOT NULL,
    pid_started REAL    NOT NULL,
    started_us  INTEGER NOT NULL,
    lease_s     REAL    NOT NULL,
    address     TEXT,
    beats       INTEGER NOT NULL DEFAULT 0,
    beat_us     INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
