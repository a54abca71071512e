"""A client of three house formats that sign sorted JSON, with Python's standard library alone.

Takes the address of a server and the secret; sends genuine and altered requests, and prints a line
for each: format, request, status, and what the server said.
"""

import hashlib
import hmac
import json
import sys
import time
import urllib.error
import urllib.request

SERVER, SECRET = sys.argv[1:]

DOCUMENT = {
    "to": "Zoë 😂\x7f",
    "amount": 100,
    "reference": 9007199254740993,
    "rate": 1e-7,
    "limit": 1e16,
    "lines": [{"b": None, "a": -0.0}, {}, [True, "\"quoted\" \\ \n"]],
}


def compact(document):
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def mac(message):
    return hmac.new(SECRET.encode(), message.encode(), hashlib.sha256).hexdigest()


def sign_compact(method, path, document, timestamp):
    """The body alone, sorted and compact."""
    return {"X-Signature": mac(compact(document))}


def sign_strings(method, path, document, timestamp):
    """One sorted document of strings; the body is a string that holds the sorted, compact one."""
    timestamp = str(timestamp)
    message = {
        "method": method,
        "path": path,
        "body": compact(document),
        "timestamp": timestamp,
    }
    signature = mac(json.dumps(message, sort_keys=True))
    return {"X-Signature": signature, "X-Request-Timestamp": timestamp}


def sign_values(method, path, document, timestamp):
    """One sorted document, with the body inside and the time as a number."""
    message = {"method": method, "path": path, "body": document, "timestamp": timestamp}
    signature = mac(json.dumps(message, sort_keys=True))
    return {"X-Signature": signature, "X-Request-Timestamp": str(timestamp)}


def send(method, path, headers, body):
    request = urllib.request.Request(SERVER + path, body.encode(), headers, method=method)
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, said = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["code"]
    return status, "canonical" if said == compact(DOCUMENT).encode() else "given"


def requests(sign, prefix):
    path = prefix + "/transfer"
    now = int(time.time())
    headers = sign("POST", path, DOCUMENT, now)
    body = json.dumps(DOCUMENT)

    def altered(**changes):
        return json.dumps({**DOCUMENT, **changes})

    yield "other amount", "POST", path, headers, altered(amount=1000000)
    yield "other type", "POST", path, headers, altered(amount="100")
    yield "float", "POST", path, headers, altered(amount=100.0)
    yield "nearest double", "POST", path, headers, altered(reference=9007199254740992)
    yield "one more", "POST", path, headers, altered(admin=True)
    yield "amount first", "POST", path, headers, '{"amount": 1000000,' + body[1:]
    yield "amount escaped", "POST", path, headers, r'{"\u0061mount": 1000000,' + body[1:]
    yield "not a number", "POST", path, headers, altered(rate=float("nan"))
    yield "two documents", "POST", path, headers, body + body
    yield "mark", "POST", path, headers, "\ufeff" + body
    yield "no body", "POST", path, headers, ""
    yield "short", "POST", path, {**headers, "X-Signature": headers["X-Signature"][:-2]}, body
    yield "unsigned", "POST", path, {}, body
    if "X-Request-Timestamp" in headers:
        yield "later", "POST", path, {**headers, "X-Request-Timestamp": str(now + 1)}, body
        yield "old", "POST", path, sign("POST", path, DOCUMENT, now - 3600), body
        yield "method", "PUT", path, headers, body
        yield "path", "POST", path + "s", headers, body
    yield "genuine", "POST", path, headers, body
    yield "copy", "POST", path, headers, body
    yield "pretty copy", "POST", path, headers, json.dumps(DOCUMENT, indent=2, sort_keys=True)
    yield "unescaped copy", "POST", path, headers, json.dumps(DOCUMENT, ensure_ascii=False)


for prefix, sign in {
    "/compact": sign_compact,
    "/strings": sign_strings,
    "/values": sign_values,
}.items():
    for name, method, path, headers, body in requests(sign, prefix):
        print(prefix, name, *send(method, path, headers, body), sep="\t")
