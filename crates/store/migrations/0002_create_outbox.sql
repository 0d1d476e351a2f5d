CREATE TABLE incarnation (id TEXT NOT NULL);
INSERT INTO incarnation VALUES (lower(hex(randomblob(16))));

CREATE TABLE outbox (
    position INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    bucket INTEGER,
    changes TEXT NOT NULL,
    mark INTEGER,
    committed_ms INTEGER NOT NULL,
    traceparent TEXT
);

-- Outcomes of commands that carried an idempotency key.
CREATE TABLE answers (
    key TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    outcome TEXT NOT NULL,
    at_ms INTEGER NOT NULL
);
CREATE INDEX answers_by_age ON answers (at_ms);
