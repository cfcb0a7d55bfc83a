"""An audit trail inside the store's own file: triggers that note every move of every job, in commit order.

It is the checker's best witness: SQLite writes it in the very transaction that makes the move, whatever the
engine believes it did. Does not belong here: judging the trail (``checker.py``).
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from scheduler.stores.sqlite import schema

_TRAIL = """
CREATE TABLE audit (
    n INTEGER PRIMARY KEY, kind TEXT NOT NULL, seq INTEGER, job_id TEXT, task_type TEXT, was TEXT, now TEXT, token INTEGER,
    attempts INTEGER, crashes INTEGER, worker TEXT, unique_key TEXT, run_after_us INTEGER, started_us INTEGER, max_attempts INTEGER,
    reason TEXT, percent REAL, scope TEXT, until_us INTEGER, at_us INTEGER
);
CREATE TRIGGER audit_insert AFTER INSERT ON jobs BEGIN
    INSERT INTO audit (kind, seq, job_id, task_type, now, token, attempts, unique_key, run_after_us)
    VALUES ('made', NEW.seq, NEW.job_id, NEW.task_type, NEW.status, NEW.token, NEW.attempts, NEW.unique_key, NEW.run_after_us);
END;
CREATE TRIGGER audit_move AFTER UPDATE OF status ON jobs BEGIN
    INSERT INTO audit (kind, seq, job_id, task_type, was, now, token, attempts, crashes, worker, unique_key, run_after_us, started_us,
                       max_attempts, reason)
    VALUES ('move', NEW.seq, NEW.job_id, NEW.task_type, OLD.status, NEW.status, NEW.token, NEW.attempts, NEW.crashes,
            coalesce(NEW.worker, OLD.worker), NEW.unique_key, OLD.run_after_us, NEW.started_us, NEW.max_attempts, NEW.reason);
END;
CREATE TRIGGER audit_refund AFTER UPDATE OF attempts ON jobs WHEN NEW.status = OLD.status AND NEW.attempts <> OLD.attempts BEGIN
    INSERT INTO audit (kind, seq, job_id, now, token, attempts)
    VALUES ('refunded', NEW.seq, NEW.job_id, NEW.status, NEW.token, NEW.attempts);
END;
CREATE TRIGGER audit_progress AFTER UPDATE OF progress_json ON jobs WHEN NEW.progress_json IS NOT OLD.progress_json BEGIN
    INSERT INTO audit (kind, seq, job_id, now, token, percent)
    VALUES ('progress', NEW.seq, NEW.job_id, NEW.status, NEW.token, json_extract(NEW.progress_json, '$.percent'));
END;
CREATE TRIGGER audit_delete AFTER DELETE ON jobs BEGIN
    INSERT INTO audit (kind, seq, job_id, was) VALUES ('deleted', OLD.seq, OLD.job_id, OLD.status);
END;
CREATE TRIGGER audit_pause AFTER INSERT ON pauses BEGIN
    INSERT INTO audit (kind, scope, until_us, reason, job_id) VALUES ('paused', NEW.scope, NEW.until_us, NEW.reason, NEW.probe);
END;
CREATE TRIGGER audit_probe AFTER UPDATE ON pauses BEGIN
    INSERT INTO audit (kind, scope, until_us, reason, job_id) VALUES ('paused', NEW.scope, NEW.until_us, NEW.reason, NEW.probe);
END;
CREATE TRIGGER audit_resume AFTER DELETE ON pauses BEGIN
    INSERT INTO audit (kind, scope, at_us) VALUES ('resumed', OLD.scope, (julianday('now') - 2440587.5) * 86400e6);
END;
"""


def audited_store(path: Path) -> None:
    """Make a store at ``path`` that keeps an audit trail."""
    schema.prepare(path)
    connection = sqlite3.connect(path)
    try:
        connection.executescript(_TRAIL)
    finally:
        connection.close()
