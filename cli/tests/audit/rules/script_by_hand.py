"""Run by hand, once: a script makes the first user."""
from shop.db import session
from shop.schema import User


# seen in stanmart1/readnwin-fastapi, readnwin-backend/update_admin_user.py
def first_user(email):  # fine: unique-checked-then-inserted
    if session.query(User).filter(User.email == email).first():
        return
    session.add(User(email=email))
    session.commit()


if __name__ == "__main__":
    first_user(input())
