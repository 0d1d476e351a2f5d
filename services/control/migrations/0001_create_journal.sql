-- One row: whose journal it is, and the version of the ownership table.
CREATE TABLE control (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    term       INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    lease_ms   INTEGER NOT NULL,
    audit_hash TEXT    NOT NULL
) STRICT;
INSERT INTO control VALUES (1, 0, 1, 0, '');

CREATE TABLE capability (
    name               TEXT    PRIMARY KEY,
    seed               INTEGER NOT NULL,
    wanted_percent     REAL    NOT NULL,
    paused             INTEGER NOT NULL,
    burned_owner_epoch INTEGER NOT NULL,
    handovers          INTEGER NOT NULL,
    aborted            INTEGER NOT NULL,
    -- JSON: buckets by holding.
    holdings           TEXT    NOT NULL,
    -- JSON: the attempt that runs.
    attempt            TEXT
) STRICT;

CREATE TABLE handover (
    id          INTEGER PRIMARY KEY,
    capability  TEXT    NOT NULL,
    owner_epoch INTEGER NOT NULL,
    -- JSON.
    report      TEXT    NOT NULL,
    UNIQUE (capability, owner_epoch)
) STRICT;

CREATE TABLE audit (
    id      INTEGER PRIMARY KEY,
    at_ms   INTEGER NOT NULL,
    by      TEXT    NOT NULL,
    action  TEXT    NOT NULL,
    detail  TEXT    NOT NULL,
    reason  TEXT    NOT NULL,
    hash    TEXT    NOT NULL
) STRICT;
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append only'); END;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append only'); END;
