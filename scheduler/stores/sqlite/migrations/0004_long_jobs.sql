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
