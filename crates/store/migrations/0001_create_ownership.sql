-- One row per bucket: who may write it here, and the newest turn that a coordinator's command carried.
CREATE TABLE ownership (
    bucket INTEGER PRIMARY KEY,
    open INTEGER NOT NULL DEFAULT 0,
    owner_epoch INTEGER NOT NULL DEFAULT 0,
    term INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,
    step INTEGER NOT NULL DEFAULT 0
);
WITH RECURSIVE bucket(number) AS (SELECT 0 UNION ALL SELECT number + 1 FROM bucket WHERE number < 4095)
INSERT INTO ownership (bucket) SELECT number FROM bucket;
