-- Times are milliseconds since the Unix epoch.
--
-- What is recorded about the database and about a namespace is recorded by the first transaction
-- that needs it, which may be a handler's that is open for long. So nothing but nonces is unique: who
-- does not see yet what others have recorded records it once more, and waits for nobody.
CREATE TABLE IF NOT EXISTS countersign_store (
    -- The last row counts.
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- What was signed up to here may have been forgotten.
    since_ms bigint NOT NULL,
    -- The cluster, the timeline, the database and the table in which that is true: others begin with
    -- a fence.
    system_identifier bigint NOT NULL,
    timeline text NOT NULL,
    database oid NOT NULL,
    nonces oid NOT NULL,
    -- The transaction that wrote the row, and so the row's `xmin`. A row that came out of a dump was
    -- written by another one.
    written_by xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE TABLE IF NOT EXISTS countersign_namespaces (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace text NOT NULL,
    -- For how long each of its requests is remembered. The least counts.
    retention_ms bigint NOT NULL,
    -- What was signed up to here may have been remembered for less, and is refused. The greatest counts.
    raised_ms bigint NOT NULL DEFAULT 0,
    -- What has a deadline up to here may have been dropped, and is refused. The greatest counts.
    dropped_up_to_ms bigint NOT NULL
);
-- Half of its rows may be dead between two runs of the vacuum otherwise, and each batch that drops
-- what has expired walks over those at the head of the index on deadlines.
CREATE TABLE IF NOT EXISTS countersign_nonces (
    -- SHA-256 of namespace, key id, nonce and, where it counts, the place.
    digest bytea PRIMARY KEY,
    -- Who claimed it, consumed it, or holds the lease.
    attempt bytea NOT NULL,
    deadline_ms bigint NOT NULL,
    -- The end of the lease; without one, the record is final.
    lease_end_ms bigint
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 10000);
CREATE INDEX IF NOT EXISTS countersign_nonces_by_deadline ON countersign_nonces (deadline_ms);
-- How many records each key of a namespace has, and when they end.
CREATE TABLE IF NOT EXISTS countersign_keys (
    owner bytea NOT NULL,
    end_ms bigint NOT NULL,
    records bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS countersign_keys_by_owner ON countersign_keys (owner);
