#!/usr/bin/env python3
"""A file without an import of hmac: its MAC comes from another."""
from compare import KEY, hmacsha


def of_another_file(request):
    mine = hmacsha.new(KEY, request.body, "sha256").hexdigest()
    signature = request.headers.get("X-Signature")
    return f"{mine}" == signature


def shadowed(hmac, key, body):
    signature = hmac
    mine = hmacsha.new(key, body, "sha256").hexdigest()
    return mine == signature
