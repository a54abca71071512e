"""Statements of SQL that follow each other, and handlers that read a row of a cursor."""


def withdraw(cursor, account, amount):
    cursor.execute("SELECT balance FROM accounts WHERE id = %s", (account,))
    (balance,) = cursor.fetchone()
    if balance < amount:
        raise ValueError("balance")
    cursor.execute("UPDATE accounts SET balance = balance - %s WHERE id = %s", (amount, account))  # expect: select-then-write


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
