-- Targets and what was learned of them. Times are seconds since the epoch; keywords and topics are JSON lists.
CREATE TABLE targets (
    id INTEGER PRIMARY KEY,
    target_id TEXT NOT NULL UNIQUE,
    target_type TEXT NOT NULL,
    title TEXT NOT NULL,
    title_words TEXT NOT NULL,
    path TEXT NOT NULL,
    language TEXT NOT NULL,
    start_line INTEGER NOT NULL,
    end_line INTEGER NOT NULL,
    content_hash TEXT NOT NULL,
    seen_at REAL NOT NULL,
    changed_at REAL NOT NULL,
    -- The job that stands for the target: only it and younger ones may write here.
    job_id TEXT,
    job_created_at REAL,
    ai_status TEXT,
    reason TEXT,
    error TEXT,
    status_at REAL,
    -- What was learned; outlives the next job until that one learns something else.
    summary TEXT,
    keywords TEXT,
    topics TEXT,
    model TEXT,
    enriched_at REAL
);

CREATE INDEX targets_by_path ON targets (path);

CREATE INDEX targets_unfinished ON targets (id)
    WHERE ai_status IN ('pending', 'processing', 'rate_limited', 'retry_ai');

CREATE INDEX targets_by_status ON targets (target_type, ai_status, reason);

-- The search index holds no copies of the text: it reads the table.
CREATE VIRTUAL TABLE targets_fts USING fts5 (
    title, title_words, summary, keywords, topics, path,
    content = 'targets', content_rowid = 'id', tokenize = 'porter unicode61 remove_diacritics 2'
);

CREATE TRIGGER targets_added AFTER INSERT ON targets BEGIN
    INSERT INTO targets_fts (rowid, title, title_words, summary, keywords, topics, path)
    VALUES (new.id, new.title, new.title_words, new.summary, new.keywords, new.topics, new.path);
END;

CREATE TRIGGER targets_removed AFTER DELETE ON targets BEGIN
    INSERT INTO targets_fts (targets_fts, rowid, title, title_words, summary, keywords, topics, path)
    VALUES ('delete', old.id, old.title, old.title_words, old.summary, old.keywords, old.topics, old.path);
END;

-- Only when what is searched changed: a status change costs the index nothing.
CREATE TRIGGER targets_changed AFTER UPDATE OF title, title_words, summary, keywords, topics, path ON targets
WHEN old.title IS NOT new.title OR old.summary IS NOT new.summary OR old.keywords IS NOT new.keywords
    OR old.topics IS NOT new.topics OR old.path IS NOT new.path
BEGIN
    INSERT INTO targets_fts (targets_fts, rowid, title, title_words, summary, keywords, topics, path)
    VALUES ('delete', old.id, old.title, old.title_words, old.summary, old.keywords, old.topics, old.path);
    INSERT INTO targets_fts (rowid, title, title_words, summary, keywords, topics, path)
    VALUES (new.id, new.title, new.title_words, new.summary, new.keywords, new.topics, new.path);
END;
