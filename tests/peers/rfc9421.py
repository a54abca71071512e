"""PyPI `http-message-signatures`: signs and sends the requests that standard input describes, and
verifies those that come to a server of its own. Ends with standard input."""

import json
import sys
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace

import requests
from http_message_signatures import (
    ContentDigest,
    HTTPMessageSigner,
    HTTPMessageVerifier,
    MappingKeyResolver,
    algorithms,
)

KEY_ID, SECRET = sys.argv[1], sys.argv[2].encode()
KEYS = {KEY_ID: SECRET}
SETTINGS = {
    "signature_algorithm": algorithms.HMAC_SHA256,
    "key_resolver": MappingKeyResolver(public_keys=KEYS, private_keys=KEYS),
}


class Sha512(ContentDigest):
    algorithm = "sha-512"


DIGESTS = {"sha-256": ContentDigest, "sha-512": Sha512}


def sign_and_send(wanted):
    headers = dict(wanted["headers"])
    if len(headers) < len(wanted["headers"]):
        raise ValueError("requests sends each field in one line")
    body = wanted["body"].encode()
    if wanted["digest"]:
        DIGESTS[wanted["digest"]].add(headers, body)
    request = requests.Request(wanted["method"], wanted["url"], headers, data=body or None)
    request = request.prepare()
    created = datetime.fromtimestamp(wanted["created"])
    expires_after = wanted["expires_after"]
    HTTPMessageSigner(**SETTINGS).sign(
        request,
        key_id=KEY_ID,
        created=created,
        expires=created + timedelta(seconds=expires_after) if expires_after else None,
        nonce=wanted["nonce"],
        label=wanted["label"],
        tag=wanted["tag"],
        covered_component_ids=wanted["covers"],
        use_existing_digest=bool(wanted["digest"]),
    )
    with requests.Session() as session:
        session.trust_env = False
        answer = session.send(request, timeout=20)
    return {"status": answer.status_code, "body": answer.text}


class Server(BaseHTTPRequestHandler):
    def verify(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        message = SimpleNamespace(
            method=self.command,
            url=f"http://{self.headers['host']}{self.path}",
            headers=self.headers,
        )
        try:
            [result] = HTTPMessageVerifier(**SETTINGS).verify(message, body=body)
            covered = [c for c in result.covered_components if c != '"@signature-params"']
            status, answer = 200, json.dumps(covered)
        except Exception as error:
            status, answer = 401, f"{type(error).__name__}: {error}"
        self.send_response(status)
        self.end_headers()
        self.wfile.write(answer.encode())

    do_GET = do_POST = do_PUT = do_LOCK = verify

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps({"port": server.server_port}), flush=True)
for line in sys.stdin:
    try:
        answer = sign_and_send(json.loads(line))
    except Exception as error:
        answer = {"status": 0, "body": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
