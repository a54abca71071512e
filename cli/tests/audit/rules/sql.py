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
