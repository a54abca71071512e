"""What the document on FastAPI shows, written again so that it parses."""
import hashlib
import hmac
import json

from fastapi import FastAPI, Header, HTTPException

app = FastAPI()
SECRET_KEY = b"example-secret-key"


def make(key: bytes, message: str) -> str:
    return hmac.new(key, message.encode("utf-8"), hashlib.sha256).hexdigest()  # expect: secret-in-code


def is_right(key: bytes, message: str, given: str) -> bool:
    return hmac.compare_digest(make(key, message), given)


def canonical(body: dict) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"))  # expect: mac-over-sorted-data


# Called mended in the document, and is not: what is signed is JSON that was written again, and a
# request can be sent again for ever.
@app.post("/transfer")
def transfer(body: dict, x_signature: str = Header(..., alias="X-Signature")):
    payload = canonical(body)
    if not is_right(SECRET_KEY, payload, x_signature):
        raise HTTPException(status_code=401)
    if not body.get("from") or not body.get("to") or body.get("amount", 0) <= 0:
        raise HTTPException(status_code=400)
    return {"status": "ok", "signed": payload}


# Called mended in the document, and is not: the helper that it leaves open verifies nothing. No rule
# sees that, because no MAC is in sight.
def resource_of(given: str, key: bytes) -> str:
    return "resource"


@app.delete("/resource/{resource_id}")
def remove(resource_id: str, x_signature: str = Header(...)):
    verified = resource_of(x_signature, SECRET_KEY)
    if verified != resource_id:
        raise HTTPException(status_code=403)
    return {"status": "deleted"}
