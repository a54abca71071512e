"""Statements of SQL that follow each other, and handlers that read a row of a cursor."""


# seen in yamini-Krishna/bootcamp, persistence-drills/using_sqlite_with_python/19_transactional_banking_operations.py
def withdraw(cursor, account, amount):
    cursor.execute("SELECT balance FROM accounts WHERE id = %s", (account,))
    row = cursor.fetchone()
    if not row or row[0] < amount:
        raise ValueError("balance")
    cursor.execute("UPDATE accounts SET balance = balance - %s WHERE id = %s", (amount, account))  # expect: select-then-write


# seen in AstroAir/feishu-webhook-bot, src/feishu_webhook_bot/tasks/persistence.py
def count_a_failure(cursor, name):
    cursor.execute("SELECT * FROM jobs WHERE name = ?", (name,))
    row = cursor.fetchone()
    if row:
        cursor.execute("UPDATE jobs SET failures = failures + 1 WHERE name = ?", (name,))  # expect: select-then-write
    else:
        cursor.execute("INSERT INTO jobs (name, failures) VALUES (?, 1)", (name,))


# seen in geetharuttala/bootcamp, figure-captions-extraction/storage/duckdb_backend.py
def paper_of(connection, paper):
    known = connection.execute("SELECT id FROM papers WHERE paper_id = ?", (paper.number,)).fetchone()
    if known:
        connection.execute("UPDATE papers SET title = ? WHERE id = ?", (paper.title, known[0]))  # expect: select-then-write
        return known[0]
    return insert(connection, paper)


# seen in liberapay/liberapay.com, liberapay/models/participant.py
def address_is_right(cursor, participant, pk, nonce):  # fine: select-then-write
    row = cursor.one("SELECT * FROM emails WHERE participant = %s AND id = %s FOR UPDATE", (participant, pk))
    if row is None or row.nonce != nonce:
        return False
    cursor.run("UPDATE emails SET verified = true WHERE id = %s", (pk,))
    return True


# seen in matrix-org/synapse, synapse/storage/databases/main/push_rule.py
def put_before(cursor, user, rule, other):  # fine: select-then-write
    cursor.execute("SELECT priority FROM push_rules WHERE user_name = %s AND rule_id = %s FOR UPDATE", (user, other))
    row = cursor.fetchone()
    if row is None:
        raise ValueError("rule")
    cursor.execute("UPDATE push_rules SET priority = priority + 1 WHERE user_name = %s AND priority >= %s", (user, row[0]))


# seen in lnbits/nostrmarket, crud.py
async def made_and_read(db, stall):  # fine: select-then-write
    await db.execute("INSERT INTO stalls (id, name) VALUES (:id, :name) ON CONFLICT(id) DO NOTHING", stall)
    row = await db.fetchone("SELECT * FROM stalls WHERE id = :id", {"id": stall["id"]})
    if row is None:
        raise ValueError("stall")
    return row


# seen in FraxlerDev/nowpayments_tgbot, database.py
def kept_until(connection, user, payment, until):  # fine: select-then-write
    connection.execute(
        "INSERT INTO subscriptions (user_id, payment_id, expires) VALUES (?, ?, ?)"
        " ON CONFLICT(user_id) DO UPDATE SET payment_id = excluded.payment_id, expires = excluded.expires",
        (user, payment, until),
    )


def locked(cursor, account, amount):  # fine: select-then-write
    cursor.execute("SELECT balance FROM accounts WHERE id = %s FOR UPDATE", (account,))
    (balance,) = cursor.fetchone()
    if balance < amount:
        raise ValueError("balance")
    cursor.execute("UPDATE accounts SET balance = balance - %s WHERE id = %s", (amount, account))


async def of_asyncpg(connection, code):
    row = await connection.fetchrow("SELECT used FROM coupons WHERE code = $1", code)
    if row["used"]:
        raise ValueError("used")
    await connection.execute("UPDATE coupons SET used = true WHERE code = $1", code)  # expect: select-then-write


# seen in NxtPoint/webhook-server, billing_service.py
def of_sqlalchemy(session, event):
    seen = session.execute(text("SELECT 1 FROM events WHERE id = :id"), {"id": event}).first()
    if seen:
        return False
    session.execute(text("INSERT INTO events (id) VALUES (:id)"), {"id": event})  # expect: select-then-write
    return True


def of_sqlite(db, invite):
    row = db.execute("SELECT open FROM invites WHERE id = ?", (invite,)).fetchone()
    if row is None or not row[0]:
        return False
    db.execute("DELETE FROM invites WHERE id = ?", (invite,))  # expect: select-then-write
    return True


async def on_a_condition(connection, code):  # fine: select-then-write
    row = await connection.fetchrow("SELECT used FROM coupons WHERE code = $1", code)
    if row["used"]:
        raise ValueError("used")
    await connection.execute("UPDATE coupons SET used = true WHERE code = $1 AND NOT used", code)


def on_conflict(cursor, event):  # fine: select-then-write
    cursor.execute("SELECT 1 FROM events WHERE id = %s", (event,))
    if cursor.fetchone():
        return False
    cursor.execute("INSERT INTO events (id) VALUES (%s) ON CONFLICT DO NOTHING", (event,))
    return True


def of_another_table(cursor, order):  # fine: select-then-write
    cursor.execute("SELECT state FROM orders WHERE id = %s", (order,))
    (state,) = cursor.fetchone()
    if state != "open":
        raise ValueError("state")
    cursor.execute("UPDATE visits SET count = count + 1 WHERE id = %s", (order,))
