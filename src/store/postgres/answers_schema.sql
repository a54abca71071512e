-- The answers to intentions. Times are milliseconds since the Unix epoch.
CREATE TABLE IF NOT EXISTS countersign_answers (
    digest bytea PRIMARY KEY,
    owner bytea NOT NULL,
    fingerprint bytea NOT NULL,
    attempt bytea NOT NULL,
    deadline_ms bigint NOT NULL,
    lease_end_ms bigint NOT NULL,
    answer bytea
);
CREATE INDEX IF NOT EXISTS countersign_answers_by_deadline ON countersign_answers (deadline_ms);
-- Counting the records of an owner that have not ended reads no others.
CREATE INDEX IF NOT EXISTS countersign_answers_by_owner_and_deadline
    ON countersign_answers (owner, deadline_ms);
