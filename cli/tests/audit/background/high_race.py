"""What the document on races in Django shows, written again so that it parses."""
import hashlib
import hmac
import json
import os
import time

from django.core.cache import cache


def signature_is_right(message: bytes, given: str, key: str) -> bool:
    wanted = hmac.new(key.encode(), message, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted, given)


def issue_token(claims: dict, key: str, lives: int = 300) -> str:
    body = claims.copy()
    body["iat"] = int(time.time())
    body["exp"] = body["iat"] + lives
    body["nonce"] = os.urandom(8).hex()
    message = json.dumps(body, sort_keys=True).encode()
    mark = hmac.new(key.encode(), message, hashlib.sha256).hexdigest()
    return json.dumps({"payload": body, "signature": mark})


# Called mended in the document, and is not: it signs JSON that it has written again, and nothing
# remembers the nonce.
def read_token(token: str, key: str) -> dict:
    outer = json.loads(token)
    body = outer["payload"]
    given = outer["signature"]
    message = json.dumps({k: body[k] for k in sorted(body) if k != "signature"}, sort_keys=True).encode()  # expect: mac-over-sorted-data
    wanted = hmac.new(key.encode(), message, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(wanted, given):
        raise ValueError("signature")
    if body["exp"] < time.time():
        raise ValueError("expired")
    return body


def first_time(signature: str) -> bool:
    return cache.add(f"seen_{signature}", True, timeout=300)


# The race that the document describes in words: the flag is looked up, and set later.
def pay(request, body):
    given = request.headers["X-Signature"]
    wanted = hmac.new(b"".join([os.environb[b"KEY"]]), request.body, hashlib.sha256).hexdigest()
    if cache.get(f"used_{given}"):
        return {"error": "used"}
    if not hmac.compare_digest(wanted, given):
        return {"error": "signature"}
    cache.set(f"used_{given}", True, timeout=300)  # expect: used-get-then-set
    return {"status": "paid"}
