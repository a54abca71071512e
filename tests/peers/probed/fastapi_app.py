"""FastAPI with faults, each at a route of its own, and beside each its mended twin.

Prints the port that it listens on.
"""

import asyncio
import json
import socket
import time

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from signed import Effects, compact, is_fresh, is_same, mac, once

app = FastAPI()
effects = Effects()
seen: set[str] = set()
LIMIT = 1 << 20


@app.get("/effects/{of}")
async def count(of: str):
    return effects.count(of)


async def body_of(request: Request) -> bytes:
    if int(request.headers.get("content-length", 0)) > LIMIT:
        raise HTTPException(413)
    return await request.body()


def is_signed(request: Request, body: bytes) -> bool:
    """Whether method, host, target, time, nonce, type and body are what was signed."""
    headers = request.headers
    given, at, nonce = (headers.get(name, "") for name in ("x-signature", "x-timestamp", "x-nonce"))
    query = request.scope["query_string"]
    target = request.scope["raw_path"] + (b"?" + query if query else b"")
    texts = (request.method, headers.get("host", ""), at, nonce, headers.get("content-type", ""))
    method, host, *rest = (text.encode() for text in texts)
    names = ("x-signature", "x-timestamp", "x-nonce")
    is_one_each = all(len(headers.getlist(name)) == 1 for name in names)
    return is_one_each and is_same(given, mac(method, host, target, *rest, body))


def full(request: Request, body: bytes) -> bool:
    """The same, and whether it was signed within the window."""
    return is_fresh(request.headers.get("x-timestamp", "")) and is_signed(request, body)


def claim(nonce: str):
    """Records the nonce, or refuses: nothing is awaited in between."""
    if nonce in seen:
        raise HTTPException(409)
    seen.add(nonce)


async def pay(of: str):
    await asyncio.sleep(0.002)
    effects.add(of)
    return {"paid": of}


async def mended(request: Request):
    body = await body_of(request)
    if not full(request, body):
        raise HTTPException(401)
    if not effects.claim(request.headers["x-nonce"]):
        raise HTTPException(409)
    return await pay(json.loads(body)["id"])


for name in (
    "no-memory",
    "body-only",
    "server-clock",
    "unsigned-time",
    "reserialised",
    "workers",
    "fallback",
):
    app.post(f"/mended/{name}")(mended)


@app.post("/fault/no-memory")
@app.post("/fault/workers")
async def no_memory(request: Request):
    body = await body_of(request)
    if not full(request, body):
        raise HTTPException(401)
    if request.url.path.endswith("workers"):
        claim(request.headers["x-nonce"])
    return await pay(json.loads(body)["id"])


@app.post("/fault/body-only")
async def body_only(request: Request):
    """The signature covers the sorted body, and nothing else."""
    body = await body_of(request)
    given = request.headers.get("x-signature", "")
    if not is_same(given, mac(compact(json.loads(body)))):
        raise HTTPException(401)
    claim(given)
    return await pay(json.loads(body)["id"])


@app.post("/fault/server-clock")
async def server_clock(request: Request):
    """The age is reckoned from when the server began to read, and not from the signed time."""
    body = await body_of(request)
    began = time.time()
    if not is_signed(request, body) or time.time() - began > 300:
        raise HTTPException(401)
    claim(request.headers["x-nonce"])
    return await pay(json.loads(body)["id"])


@app.post("/fault/unsigned-time")
async def unsigned_time(request: Request):
    """The time is checked, and not signed."""
    body = await body_of(request)
    headers = request.headers
    nonce, given = headers.get("x-nonce", ""), headers.get("x-signature", "")
    message = mac(nonce.encode(), body)
    if not is_fresh(headers.get("x-timestamp", "")) or not is_same(given, message):
        raise HTTPException(401)
    claim(nonce)
    return await pay(json.loads(body)["id"])


@app.post("/fault/reserialised")
async def reserialised(request: Request):
    """The signature is checked over JSON that was written again."""
    body = await body_of(request)
    try:
        again = compact(json.loads(body))
    except ValueError:
        raise HTTPException(400) from None
    if not full(request, again):
        raise HTTPException(401)
    claim(request.headers["x-nonce"])
    return await pay(json.loads(body)["id"])


def by_sorted_body(request: Request, value) -> str:
    headers = request.headers
    at, nonce = headers.get("x-timestamp", ""), headers.get("x-nonce", "")
    path = request.scope["raw_path"]
    message = mac(request.method.encode(), path, at.encode(), nonce.encode(), compact(value))
    if not is_fresh(at) or not is_same(headers.get("x-signature", ""), message):
        raise HTTPException(401)
    return nonce


@app.post("/fault/duplicate-keys")
async def duplicate_keys(request: Request):
    value = json.loads(await body_of(request))
    claim(by_sorted_body(request, value))
    return await pay(value["id"])


@app.post("/mended/duplicate-keys")
async def keys_once(request: Request):
    try:
        value = json.loads(await body_of(request), object_pairs_hook=once)
    except ValueError:
        raise HTTPException(400) from None
    claim(by_sorted_body(request, value))
    return await pay(value["id"])


async def signed_without_path(request: Request):
    body = await body_of(request)
    headers = request.headers
    at, nonce = headers.get("x-timestamp", ""), headers.get("x-nonce", "")
    message = mac(at.encode(), nonce.encode(), body)
    if not is_fresh(at) or not is_same(headers.get("x-signature", ""), message):
        raise HTTPException(401)
    return json.loads(body)["id"], nonce


@app.post("/fault/path-id/{of}")
async def path_id(of: str, request: Request):
    """Verifies the body, and then acts on the identifier of the path."""
    _, nonce = await signed_without_path(request)
    claim(nonce)
    return await pay(of)


@app.post("/mended/path-id/{of}")
async def path_id_compared(of: str, request: Request):
    signed, nonce = await signed_without_path(request)
    if signed != of:
        raise HTTPException(403)
    claim(nonce)
    return await pay(of)


@app.post("/fault/fallback")
async def fallback(request: Request):
    """Whoever says to come from inside is not asked for a signature."""
    body = await body_of(request)
    inside = request.headers.get("x-forwarded-for") == "127.0.0.1"
    if not inside and not full(request, body):
        raise HTTPException(401)
    if not inside:
        claim(request.headers["x-nonce"])
    return await pay(json.loads(body)["id"])


listener = socket.create_server(("127.0.0.1", 0), backlog=256)
print(listener.getsockname()[1], flush=True)
config = uvicorn.Config(app, log_level="error", access_log=False)
uvicorn.Server(config).run(sockets=[listener])
