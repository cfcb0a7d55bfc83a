-- Who does what only one worker at a time should do, and until when (`Store.take_turn`).
CREATE TABLE @schema@.turns (
    duty     text COLLATE "C" PRIMARY KEY,
    worker   text COLLATE "C" NOT NULL,
    until_us bigint NOT NULL
) WITH (fillfactor = 50);
