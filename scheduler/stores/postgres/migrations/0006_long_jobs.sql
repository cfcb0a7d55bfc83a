-- Long jobs: each pass over their items, and the outcome of each item. `ok` NULL: to be tried again.
CREATE TABLE @schema@.ledgers (
    seq           bigint NOT NULL REFERENCES @schema@.jobs ON DELETE CASCADE,
    name          text COLLATE "C" NOT NULL,
    begun_us      bigint NOT NULL,
    total         bigint,
    next          bigint NOT NULL,
    done          bigint NOT NULL,
    failed        bigint NOT NULL,
    counters_json text NOT NULL,
    PRIMARY KEY (seq, name)
) WITH (fillfactor = 50);

CREATE TABLE @schema@.items (
    seq        bigint NOT NULL REFERENCES @schema@.jobs ON DELETE CASCADE,
    name       text COLLATE "C" NOT NULL,
    position   bigint NOT NULL,
    key        text NOT NULL,
    ok         boolean,
    error      text,
    value_json text,
    PRIMARY KEY (seq, name, position)
);

CREATE INDEX items_not_done ON @schema@.items (seq, name, position) WHERE ok IS NOT true;
