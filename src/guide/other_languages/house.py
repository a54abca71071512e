# KEY_ID=partner-1 SECRET=… python3 house.py METHOD URL [BODY]
import hashlib
import hmac
import os
import secrets
import sys
import time
import urllib.error
import urllib.parse
import urllib.request


def sign(method, url, body, key_id, secret):
    """Returns the headers to send with exactly these bytes."""
    target = urllib.parse.urlsplit(url)
    path_and_query = (target.path or "/") + (target.query and "?" + target.query)
    timestamp, nonce = str(int(time.time())), secrets.token_hex(16)
    lines = [method, target.netloc.lower(), path_and_query, key_id, timestamp, nonce, ""]
    message = "\n".join(lines).encode() + body
    mac = hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
    return {
        "x-key-id": key_id,
        "x-timestamp": timestamp,
        "x-nonce": nonce,
        "x-signature": f"sha256={mac}",
    }


method, url = sys.argv[1:3]
body = "".join(sys.argv[3:]).encode()
headers = sign(method, url, body, os.environ["KEY_ID"], os.environ["SECRET"])
headers["content-type"] = "application/json"
request = urllib.request.Request(url, body or None, headers, method=method)
try:
    answer = urllib.request.urlopen(request, timeout=30)
except urllib.error.HTTPError as refused:
    answer = refused
print(answer.read().decode(), answer.status, sep="\n")
