-- $1: the digest, $2: the owner, $3: the fingerprint, $4: the attempt, $5: the retention, $6: the lease,
-- $7: whether the claim may run again, $8: whether the owner may have one record more. A record that is
-- taken over is none more.
WITH clock AS MATERIALIZED (
    SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now
), claimed AS (
    INSERT INTO countersign_answers AS known
        (digest, owner, fingerprint, attempt, deadline_ms, lease_end_ms)
    SELECT $1, $2, $3, $4, now + $5, now + $6 FROM clock
    WHERE $8 OR EXISTS (
        SELECT FROM countersign_answers AS held WHERE held.digest = $1 AND held.deadline_ms > now
    )
    ON CONFLICT (digest) DO UPDATE SET
        owner = excluded.owner, fingerprint = excluded.fingerprint, attempt = excluded.attempt,
        deadline_ms = excluded.deadline_ms, lease_end_ms = excluded.lease_end_ms, answer = NULL
    WHERE known.deadline_ms <= (SELECT now FROM clock)
        OR $7 AND known.answer IS NULL AND known.fingerprint = excluded.fingerprint
            AND known.lease_end_ms <= (SELECT now FROM clock)
    RETURNING true
), outcome AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM claimed) AS claimed, EXISTS (
        SELECT FROM countersign_answers AS held, clock
        WHERE held.digest = $1 AND held.deadline_ms > clock.now
    ) AS was_there
), ended AS MATERIALIZED (
    -- After the claim, and never the claim's own record: whoever waits for a record holds none, and no
    -- record is written twice.
    SELECT known.digest FROM countersign_answers AS known, outcome
    WHERE known.deadline_ms <= (SELECT now FROM clock) AND known.digest <> $1
    ORDER BY known.deadline_ms LIMIT 16 FOR UPDATE OF known SKIP LOCKED
), swept AS (
    DELETE FROM countersign_answers USING ended WHERE countersign_answers.digest = ended.digest
)
SELECT claimed, claimed AND NOT was_there AS is_one_more FROM outcome
