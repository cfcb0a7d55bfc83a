-- Who does what only one worker at a time should do, and until when (`Store.take_turn`).
CREATE TABLE turns (
    duty     TEXT PRIMARY KEY,
    worker   TEXT    NOT NULL,
    until_us INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
