"""Locks of Redis, values across an await, and files."""
import asyncio
import os
import stat
import uuid
from pathlib import Path

import redis
from django.core.cache import cache
from flask import Flask, request, send_file
from werkzeug.utils import secure_filename

app = Flask(__name__)
client = redis.Redis()
ROOT = "/srv/files"


# lock-released-without-token
def job(key):
    lock_key = "lock:" + key
    if client.set(lock_key, 1, nx=True, ex=30):
        work(key)
        client.delete(lock_key)  # expect: lock-released-without-token


def job_of_celery(feed):
    lock_id = f"lock-{feed}"
    if cache.add(lock_id, "true", 600):
        try:
            work(feed)
        finally:
            cache.delete(lock_id)  # expect: lock-released-without-token


async def job_async(redis_client, order):
    taken = await redis_client.set(f"order_lock:{order}", "1", nx=True, px=5000)
    if not taken:
        return
    await work(order)
    await redis_client.delete(f"order_lock:{order}")  # expect: lock-released-without-token


class Jobs:
    def run(self):
        if not self.redis.set(self.lock_name, "x", ex=60, nx=True):
            return
        work(self)
        self.redis.delete(self.lock_name)  # expect: lock-released-without-token


def with_a_token(key):  # fine: lock-released-without-token
    lock_key, token = "lock:" + key, uuid.uuid4().hex
    if client.set(lock_key, token, nx=True, ex=30):
        work(key)
        client.eval("if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end", 1, lock_key, token)


def token_is_compared(key):  # fine: lock-released-without-token
    lock_key, token = "lock:" + key, uuid.uuid4().hex
    if client.set(lock_key, token, nx=True, ex=30):
        work(key)
        if client.get(lock_key) == token:
            client.delete(lock_key)


def of_the_library(key):  # fine: lock-released-without-token
    with client.lock("lock:" + key, timeout=30):
        work(key)


def no_lock(key):  # fine: lock-released-without-token
    if client.set("page:" + key, 1, nx=True, ex=30):
        work(key)
        client.delete("page:" + key)


# changed-across-await
class Counter:
    async def add(self, source):
        before = self.total
        more = await source.read()
        self.total = before + more  # expect: changed-across-await

    async def add_in_place(self, source):
        self.total += await source.read()  # expect: changed-across-await

    async def subtract(self, amount):
        left = self.left
        await asyncio.sleep(0)
        self.left = left - amount  # expect: changed-across-await

    async def add_of_two(self, one, other):
        held = self.held
        for source in (one, other):
            await source.read()
        self.held = held + 1  # expect: changed-across-await

    async def within_a_lock(self, source):  # fine: changed-across-await
        async with self.lock:
            before = self.total
            more = await source.read()
            self.total = before + more

    async def read_after(self, source):  # fine: changed-across-await
        more = await source.read()
        self.total += more

    async def only_set(self, source):  # fine: changed-across-await
        self.last = await source.read()

    async def no_await(self):  # fine: changed-across-await
        before = self.total
        self.total = before + 1


# file-checked-then-used
@app.route("/files/<name>")
def download(name):
    path = os.path.join(ROOT, secure_filename(name))
    if os.path.isfile(path):
        return send_file(path)  # expect: file-checked-then-used


def no_link(path):
    if os.path.islink(path):
        raise ValueError("link")
    return open(path)  # expect: file-checked-then-used


def in_a_shared_folder():
    path = "/tmp/service.state"
    if not os.path.exists(path):
        return None
    os.remove(path)  # expect: file-checked-then-used


def by_its_owner(path, me):
    if os.lstat(path).st_uid == me:
        with open(path, "w") as file:  # expect: file-checked-then-used
            file.write("")


def opened_first(path):  # fine: file-checked-then-used, file-exists-then-opened
    try:
        return open(path)
    except FileNotFoundError:
        return None


def another_path(path, other):  # fine: file-checked-then-used, file-exists-then-opened
    if os.path.islink(path):
        raise ValueError("link")
    return open(other)


def made_if_missing(path):  # fine: file-checked-then-used, file-exists-then-opened
    if not os.path.exists(path):
        os.makedirs(path, exist_ok=True)


def no_decision(path):  # fine: file-checked-then-used, file-exists-then-opened
    there = os.path.exists(path)
    return there, path


# file-exists-then-opened
def settings_of(path):
    if os.path.exists(path):
        return open(path).read()  # expect: file-exists-then-opened


def with_pathlib(folder):
    file = Path(folder) / "settings.ini"
    if file.exists():
        return file.read_text()  # expect: file-exists-then-opened


def old_output(path):
    if os.path.isfile(path):
        os.remove(path)  # expect: file-exists-then-opened


def returned_early(path):
    if not os.path.exists(path):
        return None
    with open(path) as file:  # expect: file-exists-then-opened
        return file.read()


# created-then-restricted
def write_key(path, key):
    with open(path, "w") as file:
        file.write(key)
    os.chmod(path, 0o600)  # expect: created-then-restricted


def write_with_pathlib(folder, key):
    path = Path(folder) / "id"
    path.write_text(key)
    path.chmod(0o600)  # expect: created-then-restricted


def write_with_names(path, key):
    with open(path, "wb") as file:
        file.write(key)
    os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)  # expect: created-then-restricted


def write_exclusive(path, key):
    file = open(path, "x")
    file.write(key)
    os.chmod(path, 0o400)  # expect: created-then-restricted


def made_with_its_mode(path, key):  # fine: created-then-restricted
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(key)


def made_to_run(path, text):  # fine: created-then-restricted
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o755)


def only_read(path):  # fine: created-then-restricted
    with open(path) as file:
        file.read()
    os.chmod(path, 0o600)


def another_file(path, other, key):  # fine: created-then-restricted
    with open(path, "w") as file:
        file.write(key)
    os.chmod(other, 0o600)


# link-followed
@app.route("/raw/<name>")
def raw(name):
    return send_file(os.path.join(ROOT, name))  # expect: link-followed


@app.route("/text/<name>")
def text(name):
    with open(f"{ROOT}/{name}") as file:  # expect: link-followed
        return file.read()


@app.route("/query")
def query():
    path = ROOT + "/" + request.args["name"]
    return open(path).read()  # expect: link-followed


@app.post("/upload")
def upload():
    sent = request.files["file"]
    with open(os.path.join(ROOT, sent.filename), "wb") as file:  # expect: link-followed
        file.write(sent.read())


@app.route("/clean/<name>")
def clean(name):  # fine: link-followed
    return send_file(os.path.join(ROOT, secure_filename(name)))


@app.route("/beneath/<name>")
def beneath(name):  # fine: link-followed
    path = Path(ROOT, name).resolve()
    if not path.is_relative_to(ROOT):
        raise ValueError("outside")
    return send_file(os.path.join(ROOT, name))


@app.route("/fixed")
def fixed():  # fine: link-followed
    return send_file(os.path.join(ROOT, "fixed.txt"))


def not_a_handler(name):  # fine: link-followed
    return open(os.path.join(ROOT, name))
