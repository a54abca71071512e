"""Locks of Redis, values across an await, and files."""
import asyncio
import json
import os
import stat
import tempfile
import uuid
from pathlib import Path

import redis
from django.core.cache import cache
from fastapi import APIRouter, Depends, HTTPException, UploadFile
from django.http import FileResponse
from flask import Blueprint, Flask, abort, request, send_file, send_from_directory
from werkzeug.utils import safe_join, secure_filename

app = Flask(__name__)
views = Blueprint("views", __name__)
router = APIRouter()
client = redis.Redis()
ROOT = "/srv/files"


# lock-released-without-token
# seen in CarterCat/python_example, redis/lock.py
def job(key):
    lock_key = lock_of_a_lane % (key,)
    if client.set(lock_key, 1, nx=True, ex=30):
        try:
            work(key)
        finally:
            client.delete(lock_key)  # expect: lock-released-without-token


def job_of_celery(feed):
    lock_id = f"lock-{feed}"
    if cache.add(lock_id, "true", 600):
        try:
            work(feed)
        finally:
            cache.delete(lock_id)  # expect: lock-released-without-token


async def acquire_for(payment):
    return bool(await client.set(f"lock:{payment}", "1", ex=120, nx=True))


# seen in dcfrqb/vpn-bot, src/app/services/cache.py
async def release_for(payment):
    await client.delete(f"lock:{payment}")  # expect: lock-released-without-token


async def provision(payment):
    if await acquire_for(payment):
        await work(payment)
        await release_for(payment)


# seen in bigidulka/crypto-payment-gateway, src/db/redis.py
async def job_async(key):
    redis = await get_redis()
    lock_key, taken = f"lock:{key}", False
    try:
        taken = await redis.set(lock_key, "1", nx=True, ex=30)
        yield bool(taken)
    finally:
        if taken:
            await redis.delete(lock_key)  # expect: lock-released-without-token


def acquire(lock_id, seconds=300):
    return redis_instance().set(lock_id, "true", nx=True, ex=seconds)


# seen in makeplane/plane, apps/api/plane/bgtasks/email_notification_task.py
def release(lock_id):
    redis_instance().delete(lock_id)  # expect: lock-released-without-token


def mails():
    lock_id = "mails-lock"
    if not acquire(lock_id):
        return
    try:
        work("mails")
    finally:
        release(lock_id)


class Jobs:
    def run(self):
        if not self.redis.set(self.lock_name, "x", ex=60, nx=True):
            return
        work(self)
        self.redis.delete(self.lock_name)  # expect: lock-released-without-token


# seen in aio-libs-abandoned/aioredis-py, aioredis/lock.py
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


# seen in aiogram/aiogram, aiogram/fsm/storage/redis.py
def of_the_library(key):  # fine: lock-released-without-token
    with client.lock("lock:" + key, timeout=30):
        work(key)


# seen in ansible/awx, awx/main/analytics/subsystem_metrics.py
def of_a_metric(name):  # fine: lock-released-without-token
    lock = client.lock(name + "_lock")
    if not lock.acquire(blocking=False):
        return
    try:
        work(name)
    finally:
        lock.release()


# seen in AndriyKostenko/React-FastAPI_E-Commerce_App, backend/shared/idempotency/idempotency_service.py
async def claim(event):  # fine: lock-released-without-token, used-get-then-set
    claimed = await client.set(f"event:{event}", "processing", nx=True, ex=86400)
    return claimed is not None


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

    # seen in Kishan-Thanki/Python, 23_Python_Concurrency_and_Parallelism_Processes/01_Asyncio/09_locks.py
    async def within_a_lock(self, source):  # fine: changed-across-await
        async with self.lock:
            before = self.total
            more = await source.read()
            self.total = before + more

    # seen in aiogram/aiogram, aiogram/utils/chat_action.py
    async def ended_within_a_lock(self):  # fine: changed-across-await
        async with self.lock:
            if self.job is None:
                return
            if not self.closing.is_set():
                self.closing.set()
                await self.closed.wait()
            self.job = None

    # seen in remram44/python-socket-throttle, socket_throttle/asyncio.py
    async def counted_by_another(self, size=-1):  # fine: changed-across-await
        size = await self.bucket.room_for(1, size)
        read = await self.source.read(size)
        self.bucket.take(len(read))
        return read

    # seen in aio-libs/aiohttp, aiohttp/multipart.py
    async def chunk(self, size):  # fine: changed-across-await
        carried = self.carried
        if carried:
            self.carried = b""
        fresh = await self.source.read(size - len(carried))
        self.total += len(fresh)
        return carried + fresh

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


# seen in CTFd/CTFd, CTFd/views.py
@views.route("/themes/<theme>/<path:path>")
def of_a_theme(theme, path):
    for candidate in (safe_join(app.root_path, "themes", each, path) for each in (theme, *others())):
        if candidate is None:
            abort(404)
        if os.path.isfile(candidate):
            return send_file(candidate)  # expect: file-checked-then-used
    abort(404)


class Backups:
    def path_of(self, name):
        return folder_of_backups() / name

    # seen in mealie-recipes/mealie, mealie/routes/admin/admin_backups.py
    @router.delete("/{name}")
    def delete_one(self, name: str):
        file = self.path_of(name)
        if not file.is_file():
            raise HTTPException(400)
        file.unlink()  # expect: file-checked-then-used link-followed


# seen in matrix-org/synapse, synapse/media/_base.py
async def answer_with(request, file_path, size=None):
    if not os.path.isfile(file_path):
        return respond_404(request)
    if size is None:
        size = os.stat(file_path).st_size
    with open(file_path, "rb") as file:  # expect: file-checked-then-used
        await send(request, file, size)


# seen in wagtail/wagtail, wagtail/utils/sendfile_streaming_backend.py
def of_its_time(request, filename):
    status = os.stat(filename)
    if not was_changed(request.headers.get("If-Modified-Since"), status[stat.ST_MTIME]):
        return None
    return FileResponse(open(filename, "rb"))  # expect: file-checked-then-used


# seen in certbot/certbot, certbot/src/certbot/_internal/account.py
def link_removed(config, server):  # fine: file-checked-then-used, file-exists-then-opened
    folder = config.folder_of(server)
    if os.path.islink(folder):
        os.unlink(folder)
    else:
        os.rmdir(folder)


def by_its_owner(path, me):
    if os.lstat(path).st_uid == me:
        with open(path, "w") as file:  # expect: file-checked-then-used
            file.write("")


# seen in cashubtc/nutshell, cashu/lightning/macaroon.py
def opened_first(path):  # fine: file-checked-then-used, file-exists-then-opened
    try:
        return open(path)
    except FileNotFoundError:
        return None


# seen in vkhansen/Telegram-shop-Physical, bot/utils/menu_io.py
def of_its_folder(path, folder):  # fine: file-checked-then-used, file-exists-then-opened
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError as error:
        return [f"not found: {error}"]


# seen in NxtPoint/webhook-server, video_pipeline/video_worker_app.py
def taken_by_one(folder, path):  # fine: file-checked-then-used, file-exists-then-opened, created-then-restricted
    os.makedirs(folder, exist_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        return True
    except FileExistsError:
        return False


def another_path(path, other):  # fine: file-checked-then-used, file-exists-then-opened
    if os.path.islink(path):
        raise ValueError("link")
    return open(other)


# seen in docker-archive/docker-registry, depends/docker-registry-core/docker_registry/drivers/file.py
def made_if_missing(path):  # fine: file-checked-then-used, file-exists-then-opened
    if not os.path.exists(path):
        os.makedirs(path, exist_ok=True)


def no_decision(path):  # fine: file-checked-then-used, file-exists-then-opened
    there = os.path.exists(path)
    return there, path


# file-exists-then-opened
# seen in cashubtc/nutshell, cashu/lightning/clnrest.py
def settings_of(path):
    if os.path.exists(path):
        return open(path).read()  # expect: file-exists-then-opened


# seen in dcfrqb/vpn-bot, src/app/routers/admin.py
def with_pathlib(folder):
    file = Path(folder) / "payments.jsonl"
    if not file.exists():
        return None
    with open(file, encoding="utf-8") as lines:  # expect: file-exists-then-opened
        return lines.readlines()


# seen in getredash/redash, redash/query_runner/influx_db_v2.py
def old_output(path):
    if path is not None and os.path.exists(path):
        os.remove(path)  # expect: file-exists-then-opened


# seen in RafaelJohn9/mpesakit, mpesakit/security/get_credential.py
def raised_early(path):
    if not os.path.isfile(path):
        raise FileNotFoundError(path)
    return open(path, "rb").read()  # expect: file-exists-then-opened


# created-then-restricted
# seen in janeczku/calibre-web, cps/config_sql.py
def write_key(path, key):
    with open(path, "w") as file:
        file.write(key)
    os.chmod(path, 0o600)  # expect: created-then-restricted


# seen in polarsource/polar, dev/cli/secrets_io.py
def write_with_pathlib(folder, key):
    path = Path(folder) / "id"
    path.write_text(key)
    path.chmod(0o600)  # expect: created-then-restricted
    return True


# seen in nelsonboulangerie/django-shopman, config/settings.py
def write_again(folder, name, content):
    path = Path(folder) / name
    if not path.exists() or path.read_text() != content:
        path.write_text(content)  # expect: file-exists-then-opened
        path.chmod(0o600)  # expect: created-then-restricted


# seen in jupyterhub/jupyterhub, jupyterhub/app.py
def write_with_names(path, key):
    with open(path, "wb") as file:
        file.write(key)
    os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)  # expect: created-then-restricted


def write_exclusive(path, key):
    file = open(path, "x")
    file.write(key)
    os.chmod(path, 0o400)  # expect: created-then-restricted


# seen in UltravioletaDAO/x402-rs, scripts/rotate_wallet.py
def made_with_its_mode(path, key):  # fine: created-then-restricted
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(key)


# seen in ansible/awx, awx/main/models/credential.py
def closed_from_the_start(folder, text):  # fine: created-then-restricted
    _, path = tempfile.mkstemp(dir=folder)
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)


def made_to_run(path, text):  # fine: created-then-restricted
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o755)


# seen in aio-libs/aiohttp, aiohttp/cookiejar.py
def written_by_its_opener(path, cookies):  # fine: created-then-restricted
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump(cookies, file)


# seen in cashubtc/nutshell, cashu/tor/tor.py
def unpacked_to_run(archive, name):  # fine: created-then-restricted
    archive.extract(name)
    os.chmod(name, 0o755)


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


# seen in stanmart1/readnwin-fastapi, readnwin-backend/routers/file_upload.py
@router.post("/upload/{kind}")
async def upload_of_a_kind(kind: str, file: UploadFile):
    content = await file.read()
    place = Path(ROOT) / kind / f"{digest_of(content)[:16]}_{file.filename}"
    with open(place, "wb") as stored:  # expect: link-followed
        stored.write(content)


# seen in CTFd/CTFd, CTFd/admin/__init__.py
@app.route("/plugins/<plugin>")
def plugin_page(plugin):
    if plugin in [name for name in os.listdir(ROOT)]:
        return open(os.path.join(app.root_path, "plugins", plugin, "page.html")).read()  # expect: link-followed
    abort(404)


@app.route("/clean/<name>")
def clean(name):  # fine: link-followed
    return send_file(os.path.join(ROOT, secure_filename(name)))


# seen in sl24/file-upload-bot, server.py
@router.get("/download/{filename}")
def download_of(filename: str):
    path = os.path.join(ROOT, filename)
    if not os.path.exists(path):
        raise HTTPException(404)
    return FileResponse(path, filename=filename)  # expect: file-checked-then-used link-followed


class Uploads:
    # seen in CTFd/CTFd, CTFd/utils/uploads/uploaders.py
    def upload(self, sent, filename):  # fine: link-followed
        filename = secure_filename(filename)
        return self.store(sent, os.path.join(self.folder, filename))


# seen in mealie-recipes/mealie, mealie/routes/utility_routes.py
@router.get("/download")
async def download_beneath(path: Path = Depends(valid_token)):  # fine: link-followed
    path = Path(path).resolve()
    if not path.is_relative_to(ROOT) or not path.is_file():
        raise HTTPException(400)
    return FileResponse(path)  # expect: file-exists-then-opened


# seen in Fadel1106/absensi-cnn, serve_uploads.py
@app.route("/uploads/<filename>")
def by_the_framework(filename):  # fine: link-followed
    return send_from_directory(app.config["UPLOADS"], filename)


# seen in searxng/searxng, searx/data/__init__.py
def data_of(name):  # fine: link-followed
    with open(ROOT_OF_DATA / NAMES[name], encoding="utf-8") as file:
        return json.load(file)


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
