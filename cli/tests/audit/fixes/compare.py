"""MACs that are compared with `==`, each as services write it."""
from __future__ import annotations

import base64
import hashlib
import hmac as hmacsha

KEY = bytes(range(32))


def of_a_header(request):
    mine = hmacsha.new(KEY, request.body, hashlib.sha256).hexdigest()
    return mine == request.headers.get("X-Signature")


def with_a_prefix(request):
    mine = hmacsha.new(KEY, request.body, hashlib.sha256).hexdigest()
    if "sha256=" + mine != request.headers.get("X-Signature"):
        return False
    return True


def in_base64(request):
    digest = hmacsha.new(KEY, request.body, hashlib.sha256).digest()
    given = request.headers.get("X-Signature")
    return base64.b64encode(digest).decode() == given


def as_bytes(request):
    given = request.raw_signature
    return hmacsha.new(KEY, request.body, hashlib.sha256).digest() == given


def negated(request):
    given = request.raw_signature
    if not hmacsha.new(KEY, request.body, hashlib.sha256).digest() != given:
        return True
    return False
