-- What decides and records a batch of steps on the nonces of one namespace. The functions are
-- PL/pgSQL, of which each session keeps the plans, also behind a pooler: to plan these statements
-- takes longer than to run them.
--
-- Each array has one element for each step; names and bytes are hexadecimal digits.

-- What may have been forgotten, and whether that was written here: in this table of this database, and
-- not in the one that it is a copy of.
CREATE OR REPLACE FUNCTION countersign_present() RETURNS TABLE (since_ms bigint, is_known boolean)
LANGUAGE sql STABLE AS $$
    SELECT store.since_ms, coalesce(
        store.system_identifier = control.system_identifier
            AND store.timeline = left(pg_walfile_name(pg_current_wal_lsn()), 8)
            AND store.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND store.nonces = 'countersign_nonces'::regclass
            AND store.written_by::xid = store.xmin,
        false
    )
    FROM pg_control_system() AS control LEFT JOIN (
        SELECT *, xmin FROM countersign_store ORDER BY id DESC LIMIT 1
    ) AS store ON true
$$;

-- Refuses what was signed up to now, by a clock that may be so far ahead of this one. To be called by
-- hand when an older state of this database was put back in a way that nothing in it shows.
CREATE OR REPLACE FUNCTION countersign_fence(margin_ms bigint DEFAULT 5000) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO countersign_store (since_ms, system_identifier, timeline, database, nonces)
    SELECT greatest(
               (SELECT max(since_ms) FROM countersign_store),
               (extract(epoch FROM clock_timestamp()) * 1000)::bigint + margin_ms
           ), system_identifier, left(pg_walfile_name(pg_current_wal_lsn()), 8),
           (SELECT oid FROM pg_database WHERE datname = current_database()),
           'countersign_nonces'::regclass
    FROM pg_control_system()
$$;

-- When the tables are made, and when they are found to be a copy.
SELECT countersign_fence(0) WHERE NOT EXISTS (SELECT FROM countersign_store);
SELECT countersign_fence() FROM countersign_present() WHERE NOT is_known;

-- Whether an attempt is on record. Its plan goes by the index, as that of `countersign_hold` does.
CREATE OR REPLACE FUNCTION countersign_is_recorded(own_digest text, own_attempt text) RETURNS boolean
LANGUAGE plpgsql SET enable_seqscan = off SET jit = off AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM countersign_nonces
        WHERE digest = decode(own_digest, 'hex') AND attempt = decode(own_attempt, 'hex')
    );
END $$;

-- Why a claim is refused of which a record may have been forgotten, and until when one is kept: what
-- `History` says in Rust, with which a test compares both. Zero says that there was no such moment.
CREATE OR REPLACE FUNCTION countersign_refusal(
    deadline_ms bigint, signed_ms bigint, skew_ms bigint, needs_ms bigint, now_ms bigint,
    since_ms bigint, raised_ms bigint, dropped_ms bigint, retention_ms bigint
) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN needs_ms > retention_ms THEN 'retention'
        WHEN deadline_ms <= now_ms THEN 'past'
        WHEN since_ms > 0 AND signed_ms <= since_ms + skew_ms THEN 'start'
        WHEN raised_ms > 0 AND signed_ms <= raised_ms + skew_ms THEN 'raised'
        WHEN deadline_ms <= dropped_ms THEN 'dropped'
    END
$$;

CREATE OR REPLACE FUNCTION countersign_keep_until(
    deadline_ms bigint, needs_ms bigint, now_ms bigint, retention_ms bigint
) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN retention_ms > needs_ms THEN greatest(deadline_ms, now_ms + retention_ms)
        ELSE deadline_ms
    END
$$;

-- Claims, or takes leases of so many milliseconds. A nonce is free that has a lease that has ended,
-- or is past its deadline and not dropped yet.
CREATE OR REPLACE FUNCTION countersign_record(
    name text, needs_ms bigint, skew_ms bigint, lease_ms bigint, extends boolean,
    most_records bigint, in_turn boolean,
    own_digest text, own_attempt text, own_deadline_ms bigint, own_ms bigint,
    digests text[], attempts text[], deadlines bigint[], signed bigint[]
) RETURNS TABLE (
    place bigint, refusal text, now_ms bigint, retention_ms bigint, is_own boolean,
    remaining_ms bigint, outside_savepoints boolean
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    here_ms CONSTANT bigint := extract(epoch FROM clock_timestamp()) * 1000;
    is_own_lost CONSTANT boolean := CASE WHEN own_deadline_ms > here_ms
        THEN NOT countersign_is_recorded(own_digest, own_attempt) ELSE false END;
    refusal_of_all text;
    forgotten_ms bigint;
    extended_ms bigint;
    dropped_ms bigint;
    known_ms bigint;
    too_many bigint[];
BEGIN
    IF most_records IS NOT NULL THEN
        too_many := countersign_too_many(digests, most_records, in_turn);
    END IF;
    SELECT CASE
               -- A fence that came later than the lost record covers it.
               WHEN NOT is_known OR is_own_lost AND own_ms > since_ms THEN 'unknown'
               WHEN retention_ms IS NULL THEN 'unregistered'
           END, since_ms, raised_ms, dropped_up_to_ms, retention_ms
    INTO STRICT refusal_of_all, forgotten_ms, extended_ms, dropped_ms, known_ms
    FROM countersign_present(), (
             SELECT min(retention_ms) AS retention_ms, max(raised_ms) AS raised_ms,
                    max(dropped_up_to_ms) AS dropped_up_to_ms
             FROM countersign_namespaces
             WHERE namespace = convert_from(decode(name, 'hex'), 'UTF8')
         ) AS known;
    RETURN QUERY WITH asked AS MATERIALIZED (
        SELECT place, decode(digest, 'hex') AS digest, decode(attempt, 'hex') AS attempt,
               countersign_keep_until(deadline_ms, needs_ms, here_ms, known_ms) AS keep_until_ms,
               coalesce(
                   refusal_of_all,
                   countersign_refusal(
                       deadline_ms, signed_ms, skew_ms, needs_ms, here_ms,
                       forgotten_ms, extended_ms, dropped_ms, known_ms
                   ),
                   CASE WHEN place = ANY (too_many) THEN 'places' END
               ) AS refusal
        FROM unnest(digests, attempts, deadlines, signed) WITH ORDINALITY
            AS step (digest, attempt, deadline_ms, signed_ms, place)
    ), recorded AS (
        INSERT INTO countersign_nonces AS held (digest, attempt, deadline_ms, lease_end_ms)
        -- In one order, so that no two transactions wait for each other.
        SELECT digest, attempt, keep_until_ms, here_ms + lease_ms FROM asked WHERE refusal IS NULL
        ORDER BY digest
        ON CONFLICT (digest) DO UPDATE SET (attempt, deadline_ms, lease_end_ms) = (
            SELECT CASE WHEN is_free THEN excluded.attempt ELSE held.attempt END,
                   CASE WHEN is_free OR extends
                        THEN greatest(held.deadline_ms, excluded.deadline_ms)
                        ELSE held.deadline_ms END,
                   CASE WHEN is_free THEN excluded.lease_end_ms ELSE held.lease_end_ms END
            FROM (SELECT coalesce(held.lease_end_ms, held.deadline_ms) <= here_ms AS is_free) AS state
        )
        WHERE coalesce(held.lease_end_ms, held.deadline_ms) <= here_ms
            OR CASE WHEN lease_ms IS NULL
                -- A duplicate claim is written only to extend an event.
                THEN extends AND held.attempt <> excluded.attempt
                     AND held.deadline_ms < excluded.deadline_ms
                -- A duplicate lease always is, for what it finds comes from the row that it has locked.
                ELSE held.attempt <> excluded.attempt OR held.lease_end_ms IS NULL END
        RETURNING digest, attempt, lease_end_ms,
                  xmin = pg_current_xact_id()::xid AS outside_savepoints
    )
    SELECT place, refusal, here_ms, known_ms, recorded.attempt = asked.attempt,
           recorded.lease_end_ms - here_ms, outside_savepoints
    FROM asked LEFT JOIN recorded USING (digest);
END $$;

-- Which of the steps would give their message more records than it may have. The records of one
-- message are those whose digests have the same first half. In turn: of transactions that add to
-- one message, one waits for the other. Their turns are 1024, so that they fit into the table of
-- locks, and are taken in one order.
CREATE OR REPLACE FUNCTION countersign_too_many(
    digests text[], most_records bigint, in_turn boolean
) RETURNS bigint[] LANGUAGE plpgsql SET enable_seqscan = off SET jit = off AS $$
DECLARE
    turn integer;
BEGIN
    IF in_turn THEN
        FOR turn IN
            SELECT DISTINCT ('x' || left(digest, 4))::bit(16)::integer >> 6
            FROM unnest(digests) AS digest ORDER BY 1
        LOOP
            PERFORM pg_advisory_xact_lock(x'63736967'::integer, turn);
        END LOOP;
    END IF;
    RETURN ARRAY(
        SELECT place FROM (
            SELECT place, row_number() OVER (PARTITION BY message ORDER BY digest) + (
                SELECT count(*) FROM countersign_nonces AS held
                WHERE held.digest BETWEEN message AND message || decode(repeat('ff', 16), 'hex')
            ) AS nth
            FROM (
                SELECT place, decode(digest, 'hex') AS digest,
                       decode(left(digest, 32), 'hex') AS message
                FROM unnest(digests) WITH ORDINALITY AS step (digest, place)
            ) AS step
            WHERE NOT EXISTS (
                SELECT FROM countersign_nonces AS held WHERE held.digest = step.digest
            )
        ) AS new
        WHERE nth > most_records
    );
END $$;

-- Claims in a handler's transaction, and waits for no lock longer than so many milliseconds. When the
-- function ends, the setting is again what it was in that transaction.
CREATE OR REPLACE FUNCTION countersign_consume(
    wait_ms bigint, name text, needs_ms bigint, skew_ms bigint, extends boolean,
    most_records bigint, digest text, attempt text, deadline_ms bigint, signed_ms bigint
) RETURNS TABLE (
    place bigint, refusal text, now_ms bigint, retention_ms bigint, is_own boolean,
    remaining_ms bigint, outside_savepoints boolean
) LANGUAGE plpgsql SET lock_timeout = 0 AS $$
BEGIN
    PERFORM set_config('lock_timeout', wait_ms::text, true);
    RETURN QUERY SELECT * FROM countersign_record(
        name, needs_ms, skew_ms, NULL, extends, most_records, false, NULL, NULL, NULL, NULL,
        ARRAY[digest], ARRAY[attempt], ARRAY[deadline_ms], ARRAY[signed_ms]
    );
END $$;

-- What the holder of a lease does, and nobody else can: one row after the other, in the order in
-- which they are recorded. Its plans are made while the table may be small, and kept while it grows:
-- they go by the index in any case, and what that seems to cost is no reason to compile them.
CREATE OR REPLACE FUNCTION countersign_hold(
    name text, needs_ms bigint, lease_ms bigint, change text,
    digests text[], attempts text[], deadlines bigint[]
) RETURNS TABLE (place bigint, is_own boolean, now_ms bigint)
LANGUAGE plpgsql SET enable_seqscan = off SET jit = off AS $$
DECLARE
    here_ms CONSTANT bigint := extract(epoch FROM clock_timestamp()) * 1000;
    known_ms CONSTANT bigint := (
        SELECT min(retention_ms) FROM countersign_namespaces
        WHERE namespace = convert_from(decode(name, 'hex'), 'UTF8')
    );
    own record;
BEGIN
    FOR own IN
        SELECT step.place, decode(step.digest, 'hex') AS digest,
               decode(step.attempt, 'hex') AS attempt,
               countersign_keep_until(deadline_ms, needs_ms, here_ms, known_ms) AS keep_until_ms
        FROM unnest(digests, attempts, deadlines) WITH ORDINALITY
            AS step (digest, attempt, deadline_ms, place)
        ORDER BY 2
    LOOP
        CASE change
            WHEN 'renew' THEN
                UPDATE countersign_nonces AS held SET lease_end_ms = here_ms + lease_ms
                WHERE held.digest = own.digest AND held.attempt = own.attempt
                    AND held.lease_end_ms IS NOT NULL;
            WHEN 'complete' THEN
                UPDATE countersign_nonces AS held SET lease_end_ms = NULL,
                    deadline_ms = greatest(held.deadline_ms, own.keep_until_ms)
                WHERE held.digest = own.digest AND held.attempt = own.attempt
                    AND held.lease_end_ms IS NOT NULL;
            WHEN 'release' THEN
                DELETE FROM countersign_nonces AS held
                WHERE held.digest = own.digest AND held.attempt = own.attempt
                    AND held.lease_end_ms IS NOT NULL;
        END CASE;
        place := own.place;
        is_own := FOUND;
        now_ms := here_ms;
        RETURN NEXT;
    END LOOP;
END $$;

-- Tells how many more records a key has, or fewer, and when those end; answers how many it has, and
-- when the first of them end.
CREATE OR REPLACE FUNCTION countersign_count(name text, change bigint, change_end_ms bigint)
RETURNS TABLE (records bigint, fewer_at_ms bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    here_ms CONSTANT bigint := extract(epoch FROM clock_timestamp()) * 1000;
    of_key CONSTANT bytea := decode(name, 'hex');
BEGIN
    IF change <> 0 THEN
        UPDATE countersign_keys SET records = records + change
        WHERE ctid = (
            SELECT ctid FROM countersign_keys
            WHERE owner = of_key AND end_ms = change_end_ms LIMIT 1
        );
        IF NOT FOUND THEN
            INSERT INTO countersign_keys (owner, end_ms, records)
            VALUES (of_key, change_end_ms, change);
        END IF;
        DELETE FROM countersign_keys WHERE owner = of_key AND end_ms <= here_ms;
    END IF;
    RETURN QUERY SELECT greatest(coalesce(sum(records), 0), 0)::bigint, coalesce(min(end_ms), 0)
        FROM countersign_keys WHERE owner = of_key AND end_ms > here_ms;
END $$;
