-- What all workers know of a provider's quota: one JSON document, read and written whole (`Store.share`).
CREATE TABLE pools (
    name       TEXT PRIMARY KEY,
    document   TEXT    NOT NULL,
    updated_us INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
