"""Functions that share their names with others, in a file in which nothing compares a clock."""
import hashlib
import hmac
from datetime import datetime, timezone

from shop import settings


# time-never-compared: something else of this name is called
def renew(body, signature, timestamp):
    mine = hmac.new(settings.KEY, f"{timestamp}.{body}".encode(), hashlib.sha256).hexdigest()  # expect: time-never-compared
    return hmac.compare_digest(mine, signature)


def page_of(session):
    session.renew()
    return session.page


def update(body, signature, timestamp):  # fine: time-never-compared
    mine = hmac.new(settings.KEY, f"{timestamp}.{body}".encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, signature)


def updated(body, signature, timestamp, clock):
    return clock.is_near(timestamp) and update(body, signature, timestamp)


# time-never-compared: the other methods write down when something happened
# seen in innerkorehq/fastapi-payments, src/fastapi_payments/providers/cashfree.py
class Provider:
    def _is_from_provider(self, payload, signature, timestamp):
        mine = hmac.new(self.secret, f"{timestamp}{payload}".encode(), hashlib.sha256).hexdigest()  # expect: time-never-compared
        return hmac.compare_digest(mine, signature)

    def customer(self, name):
        return {"name": name, "created_at": datetime.now(timezone.utc).isoformat()}
