-- @schema@ stands for the quoted name of the schema. Times are whole microseconds since the epoch by the database's clock.
-- `ready` says how a waiting job is found: 1 claimable, 0 scheduled for later, NULL not waiting. `finished_us` is set
-- exactly when the job has ended. Each partial index holds only the rows that its question is about, so that the cost of
-- a claim does not grow with finished, future, paused or foreign-lane rows, and an update touches few of them.
-- What may be long is looked up by a digest: an index entry holds less than 2.7 kB.
CREATE TABLE @schema@.jobs (
    seq           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id        text COLLATE "C" NOT NULL,
    task_type     text COLLATE "C" NOT NULL,
    target_type   text COLLATE "C" NOT NULL,
    target_id     text COLLATE "C" NOT NULL,
    payload_json  text,
    status        text COLLATE "C" NOT NULL DEFAULT 'pending',
    reason        text COLLATE "C",
    error         text,
    priority      bigint NOT NULL DEFAULT 0,
    run_after_us  bigint NOT NULL,
    attempts      bigint NOT NULL DEFAULT 0,
    crashes       bigint NOT NULL DEFAULT 0,
    max_attempts  bigint,
    timeout_s     double precision,
    token         bigint NOT NULL DEFAULT 0,
    worker        text COLLATE "C",
    unique_key    text COLLATE "C",
    owner         text COLLATE "C",
    fingerprint   text COLLATE "C",
    created_us    bigint NOT NULL,
    started_us    bigint,
    finished_us   bigint,
    waiting_us    bigint,
    result_json   text,
    progress_json text,
    state_json    text,
    ready         smallint,
    claim_tag     bigint, -- names the claim call that took the job: its answer may get lost on the way
    key_hash      bytea,  -- of owner and unique key
    target_hash   bytea   -- of owner and target, for jobs with a fingerprint
) WITH (
    -- Each job is written three times: dead rows come fast, and are cheap to remove while they are few.
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.1,
    autovacuum_analyze_scale_factor = 0.1,
    autovacuum_vacuum_cost_delay = 0
);

CREATE UNIQUE INDEX jobs_by_id ON @schema@.jobs (job_id);
CREATE INDEX jobs_ready ON @schema@.jobs (task_type, priority DESC, seq) WHERE ready = 1;
CREATE INDEX jobs_due ON @schema@.jobs (task_type, run_after_us) WHERE ready = 0;
CREATE INDEX jobs_unfinished ON @schema@.jobs (status, task_type, seq) WHERE finished_us IS NULL;
CREATE INDEX jobs_failed ON @schema@.jobs (status, task_type, reason) WHERE finished_us IS NOT NULL AND status <> 'completed';
CREATE INDEX jobs_finished ON @schema@.jobs (finished_us) WHERE finished_us IS NOT NULL;
CREATE INDEX jobs_put_off ON @schema@.jobs (waiting_us) WHERE status = 'rate_limited';
CREATE UNIQUE INDEX jobs_unique_key ON @schema@.jobs (key_hash) WHERE key_hash IS NOT NULL AND finished_us IS NULL;
CREATE INDEX jobs_by_target ON @schema@.jobs (target_hash) WHERE target_hash IS NOT NULL AND finished_us IS NULL;
CREATE INDEX jobs_by_owner ON @schema@.jobs (owner, seq) WHERE owner IS NOT NULL;

-- What each target's last completed job depended on; survives pruning. An owner's targets are its own.
CREATE TABLE @schema@.freshness (
    target_hash bytea PRIMARY KEY,
    fingerprint text NOT NULL,
    job_id      text NOT NULL
);

-- `until_us` NULL: until resumed by hand.
CREATE TABLE @schema@.pauses (
    scope    text COLLATE "C" PRIMARY KEY,
    until_us bigint,
    reason   text NOT NULL,
    set_us   bigint NOT NULL,
    set_by   text,
    strikes  bigint NOT NULL DEFAULT 0,
    probe    text COLLATE "C"
);

CREATE TABLE @schema@.workers (
    worker_id   text COLLATE "C" PRIMARY KEY,
    host        text NOT NULL,
    boot        text NOT NULL,
    pid         bigint NOT NULL,
    pid_started double precision NOT NULL,
    started_us  bigint NOT NULL,
    lease_s     double precision NOT NULL,
    address     text,
    beats       bigint NOT NULL DEFAULT 0,
    beat_us     bigint NOT NULL
) WITH (fillfactor = 50); -- beats are written in place

-- What all workers know of a provider's quota: one document, read and written whole. NULL: none yet.
CREATE TABLE @schema@.pools (
    name       text COLLATE "C" PRIMARY KEY,
    document   text,
    updated_us bigint NOT NULL
) WITH (fillfactor = 50);
