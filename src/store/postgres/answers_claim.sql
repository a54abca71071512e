-- $1: the digest, $2: the owner, $3: the fingerprint, $4: the attempt, $5: the retention, $6: the lease,
-- $7: whether the claim may run again.
WITH clock AS MATERIALIZED (
    SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now
), swept AS (
    DELETE FROM countersign_answers WHERE digest IN (
        SELECT digest FROM countersign_answers
        WHERE deadline_ms <= (SELECT now FROM clock) AND digest <> $1
        LIMIT 16 FOR UPDATE SKIP LOCKED
    )
), claimed AS (
    INSERT INTO countersign_answers AS known
        (digest, owner, fingerprint, attempt, deadline_ms, lease_end_ms)
    SELECT $1, $2, $3, $4, now + $5, now + $6 FROM clock
    ON CONFLICT (digest) DO UPDATE SET
        owner = excluded.owner, fingerprint = excluded.fingerprint, attempt = excluded.attempt,
        deadline_ms = excluded.deadline_ms, lease_end_ms = excluded.lease_end_ms, answer = NULL
    WHERE known.deadline_ms <= (SELECT now FROM clock)
        OR $7 AND known.answer IS NULL AND known.fingerprint = excluded.fingerprint
            AND known.lease_end_ms <= (SELECT now FROM clock)
    RETURNING true
)
SELECT EXISTS (SELECT FROM claimed) AS claimed
