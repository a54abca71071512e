"""A FastAPI application that checks no signature, and whose transfer reads, waits and writes.

Prints the port that it listens on.
"""

import asyncio
import socket

import uvicorn
from fastapi import FastAPI, Request

app = FastAPI()
state = {"transfers": 0, "amounts": []}


@app.get("/transfers")
async def transfers():
    return state["transfers"]


@app.get("/amounts")
async def amounts():
    return state["amounts"]


@app.post("/transfer")
async def transfer(request: Request):
    order = await request.json()
    await asyncio.sleep(0.002)
    state["transfers"] += 1
    state["amounts"].append(order["amount"])
    return {"amount": order["amount"], "by": request.headers["countersign-key-id"]}


if __name__ == "__main__":
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])
