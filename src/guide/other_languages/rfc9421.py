# KEY_ID=partner-1 SECRET=… python3 rfc9421.py METHOD URL [BODY]
import base64
import hashlib
import hmac
import os
import secrets
import sys
import time
import urllib.error
import urllib.parse
import urllib.request


def sign(method, url, content_type, body, key_id, secret):
    """Returns the headers to send with exactly these bytes."""
    target = urllib.parse.urlsplit(url)
    headers = {}
    if body:
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        headers = {"content-type": content_type, "content-digest": f"sha-256=:{digest}:"}
    covered = {
        "@method": method,
        "@authority": target.netloc.lower(),
        "@path": target.path or "/",
        "@query": "?" + target.query,
        **headers,
    }
    names = " ".join(f'"{name}"' for name in covered)
    created, nonce = int(time.time()), secrets.token_hex(16)
    parameters = f'({names});created={created};keyid="{key_id}";nonce="{nonce}"'
    message = "".join(f'"{name}": {value}\n' for name, value in covered.items())
    message += f'"@signature-params": {parameters}'
    mac = hmac.new(secret.encode(), message.encode(), hashlib.sha256).digest()
    headers["signature-input"] = f"sig1={parameters}"
    headers["signature"] = f"sig1=:{base64.b64encode(mac).decode()}:"
    return headers


method, url = sys.argv[1:3]
body = "".join(sys.argv[3:]).encode()
headers = sign(
    method, url, "application/json", body, os.environ["KEY_ID"], os.environ["SECRET"]
)
request = urllib.request.Request(url, body or None, headers, method=method)
try:
    answer = urllib.request.urlopen(request, timeout=30)
except urllib.error.HTTPError as refused:
    answer = refused
print(answer.read().decode(), answer.status, sep="\n")
