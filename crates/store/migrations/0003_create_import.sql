-- How far the monolith's binlog has been applied; at most one row.
CREATE TABLE import_position (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    file TEXT NOT NULL,
    file_offset INTEGER NOT NULL
);

-- What the monolith's fence says at that position; buckets without a row are the monolith's.
CREATE TABLE stream_fence (
    owner TEXT PRIMARY KEY,
    buckets TEXT NOT NULL
);

CREATE TABLE copy_progress (
    table_name TEXT PRIMARY KEY,
    through INTEGER,
    copied INTEGER NOT NULL,
    done INTEGER NOT NULL
);

CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    bucket INTEGER NOT NULL,
    parked TEXT NOT NULL,
    change TEXT NOT NULL,
    cause TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    settled_ms INTEGER,
    settled_how TEXT
);
CREATE INDEX dead_letters_open ON dead_letters (parked, id) WHERE settled_ms IS NULL;

-- Ids that the monolith has leased to this service and that are not used yet.
CREATE TABLE id_blocks (
    table_name TEXT NOT NULL,
    next INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (table_name, last)
);
