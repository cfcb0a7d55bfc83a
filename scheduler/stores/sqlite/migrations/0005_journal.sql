-- What happened, in the order in which it was committed: triggers write it, so that whoever moves a job, from whichever process,
-- leaves exactly one entry in the same transaction. `seq` NULL: about a pause, not about a job.
-- `at_us` is the time that the change itself records; where it records none, the machine's clock.
CREATE TABLE journal (
    id      INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again: readers go on from it
    at_us   INTEGER NOT NULL,
    seq     INTEGER,
    owner   TEXT,
    name    TEXT NOT NULL,
    status  TEXT,
    reason  TEXT,
    error   TEXT,
    attempt INTEGER,
    worker  TEXT,
    detail  TEXT
) STRICT;

CREATE INDEX journal_of_job ON journal (seq, id) WHERE seq IS NOT NULL;
CREATE INDEX journal_of_owner ON journal (owner, id) WHERE owner IS NOT NULL;

CREATE TRIGGER journal_enqueued AFTER INSERT ON jobs
BEGIN
    INSERT INTO journal (at_us, seq, owner, name, status, attempt)
    VALUES (NEW.created_us, NEW.seq, NEW.owner, 'job.enqueued', NEW.status, NEW.attempts);
END;

CREATE TRIGGER journal_moved AFTER UPDATE OF status ON jobs WHEN NEW.status <> OLD.status
BEGIN
    INSERT INTO journal (at_us, seq, owner, name, status, reason, error, attempt, worker, detail)
    VALUES (
        CASE NEW.status
            WHEN 'processing' THEN NEW.started_us
            ELSE coalesce(NEW.finished_us, CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER))
        END,
        NEW.seq,
        NEW.owner,
        CASE NEW.status
            WHEN 'processing' THEN 'job.started'
            WHEN 'completed' THEN 'job.completed'
            WHEN 'rate_limited' THEN 'job.rate_limited'
            WHEN 'retry_ai' THEN 'job.retrying'
            WHEN 'cancelled' THEN 'job.cancelled'
            WHEN 'pending' THEN CASE OLD.status WHEN 'processing' THEN iif(NEW.reason = 'worker_lost', 'job.lost', 'job.interrupted') ELSE 'job.requeued' END
            ELSE 'job.failed'
        END,
        NEW.status,
        iif(NEW.status = 'processing', NULL, NEW.reason), -- until it ends a job keeps those of the attempt before
        iif(NEW.status = 'processing', NULL, NEW.error),
        NEW.attempts,
        coalesce(NEW.worker, OLD.worker),
        iif(NEW.status IN ('rate_limited', 'retry_ai'), json_object('run_after', NEW.run_after_us / 1000000.0), NULL)
    );
END;

CREATE TRIGGER journal_held AFTER UPDATE OF held_us ON jobs WHEN NEW.held_us IS NOT OLD.held_us AND NEW.status = OLD.status
BEGIN
    INSERT INTO journal (at_us, seq, owner, name, status, reason, attempt, worker, detail)
    VALUES (
        CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER),
        NEW.seq,
        NEW.owner,
        iif(NEW.held_us IS NULL, 'job.resumed', 'job.paused'),
        NEW.status,
        NEW.reason,
        NEW.attempts,
        NEW.worker,
        iif(NEW.held_us < 9000000000000000000, json_object('until', NEW.held_us / 1000000.0), NULL)
    );
END;

CREATE TRIGGER journal_progress AFTER UPDATE OF progress_json ON jobs
WHEN NEW.progress_json IS NOT NULL AND NEW.progress_json IS NOT OLD.progress_json AND NEW.status = 'processing'
BEGIN
    INSERT INTO journal (at_us, seq, owner, name, status, attempt, worker, detail)
    VALUES (
        CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER),
        NEW.seq,
        NEW.owner,
        'job.progress',
        NEW.status,
        NEW.attempts,
        NEW.worker,
        NEW.progress_json
    );
END;

CREATE INDEX journal_progress ON journal (id) WHERE name = 'job.progress';

-- A window is stored by INSERT OR REPLACE: before it, the old one can still be seen.
CREATE TRIGGER journal_paused BEFORE INSERT ON pauses
BEGIN
    INSERT INTO journal (at_us, name, reason, detail)
    SELECT
        CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER), 'lane.paused', NEW.reason,
        json_object('scope', NEW.scope, 'until', NEW.until_us / 1000000.0, 'reason', NEW.reason, 'set_by', NEW.set_by)
    WHERE NOT EXISTS (SELECT 1 FROM pauses WHERE scope = NEW.scope AND until_us IS NEW.until_us AND reason = NEW.reason);
    INSERT INTO journal (at_us, name, reason, detail)
    SELECT
        CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER), 'lane.probing', NEW.reason,
        json_object('scope', NEW.scope, 'reason', NEW.reason, 'probe', NEW.probe)
    WHERE NEW.probe IS NOT NULL AND EXISTS (SELECT 1 FROM pauses WHERE scope = NEW.scope AND probe IS NOT NEW.probe);
END;

CREATE TRIGGER journal_resumed AFTER DELETE ON pauses
BEGIN
    INSERT INTO journal (at_us, name, reason, detail)
    VALUES (
        CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER), 'lane.resumed', OLD.reason,
        json_object('scope', OLD.scope, 'reason', OLD.reason)
    );
END;

CREATE TRIGGER journal_forgotten AFTER DELETE ON jobs
BEGIN
    DELETE FROM journal WHERE seq = OLD.seq;
END;
