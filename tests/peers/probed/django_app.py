"""Django with faults, each at a route of its own, and beside each its mended twin.

Prints the port that it listens on.
"""

import json
import time

import django
from django.conf import settings
from django.core.cache import caches
from django.core.exceptions import RequestDataTooBig
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.http import HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from signed import Effects, is_fresh, is_same, mac

LOCAL = "django.core.cache.backends.locmem.LocMemCache"
settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "other.example"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of this test alone",
    DATA_UPLOAD_MAX_MEMORY_SIZE=1 << 20,
    CACHES={
        "default": {"BACKEND": LOCAL, "LOCATION": "large", "OPTIONS": {"MAX_ENTRIES": 1_000_000}},
        "small": {"BACKEND": LOCAL, "LOCATION": "small", "OPTIONS": {"MAX_ENTRIES": 16}},
    },
)
django.setup()
effects = Effects()
cache, small = caches["default"], caches["small"]


class Refused(Exception):
    def __init__(self, status: int):
        self.status = status


def fields(request):
    names = ("X-Signature", "X-Timestamp", "X-Nonce")
    return (request.headers.get(name, "") for name in names)


def verify(request, window=300, is_time_checked=True):
    """Refuses what was not signed as it is here, or not within the window; the id and the nonce."""
    try:
        body = request.body
    except RequestDataTooBig:
        raise Refused(413) from None
    given, at, nonce = fields(request)
    texts = (
        request.method,
        request.headers.get("Host", ""),
        request.get_full_path(),
        at,
        nonce,
        request.headers.get("Content-Type", ""),
    )
    if not is_same(given, mac(*(text.encode() for text in texts), body)):
        raise Refused(401)
    if is_time_checked and not is_fresh(at, window):
        raise Refused(401)
    return json.loads(body)["id"], nonce


def claim(nonce, of=cache, keep=3600):
    """Records the nonce in one step, or refuses."""
    if not of.add(nonce, True, keep):
        raise Refused(409)


def pay(of):
    time.sleep(0.002)
    effects.add(of)


def get_then_set(request):
    of, nonce = verify(request)
    if cache.get(nonce):
        raise Refused(409)
    time.sleep(0.001)
    cache.set(nonce, True, 3600)
    pay(of)


def flag_cleared(request):
    """The flag says that the request is being handled, and is cleared after use."""
    of, nonce = verify(request)
    claim(nonce)
    try:
        pay(of)
    finally:
        cache.delete(nonce)


def no_window(request):
    of, nonce = verify(request, is_time_checked=False)
    claim(nonce)
    pay(of)


def path_not_covered(request):
    given, at, nonce = fields(request)
    message = mac(at.encode(), nonce.encode(), request.body)
    if not is_fresh(at) or not is_same(given, message):
        raise Refused(401)
    claim(nonce)
    pay(json.loads(request.body)["id"])


def evicting(request):
    of, nonce = verify(request)
    claim(nonce, small)
    pay(of)


def status_checked(request):
    """Looks at the status of the order, and changes it later."""
    of, nonce = verify(request)
    claim(nonce)
    if cache.get(f"status:{of}") == "paid":
        raise Refused(409)
    time.sleep(0.001)
    cache.set(f"status:{of}", "paid", 3600)
    pay(of)


def status_changed(request):
    """Changes the status in the step that looks at it."""
    of, nonce = verify(request)
    claim(nonce)
    if not cache.add(f"status:{of}", "paid", 3600):
        raise Refused(409)
    pay(of)


def short_memory(request):
    """Forgets a nonce after a second, and lets a request be 6 seconds old."""
    of, nonce = verify(request, window=6)
    claim(nonce, keep=1)
    pay(of)


def long_memory(request):
    of, nonce = verify(request, window=6)
    claim(nonce, keep=15)
    pay(of)


def mended(request):
    of, nonce = verify(request)
    claim(nonce)
    pay(of)


def view(act):
    @csrf_exempt
    def answer(request):
        try:
            if request.method != "POST":
                raise Refused(405)
            act(request)
        except Refused as refused:
            return HttpResponse(status=refused.status)
        return JsonResponse({"paid": True})

    return answer


urlpatterns = [path("effects/<of>", lambda request, of: HttpResponse(effects.count(of)))]
for name, fault, twin in (
    ("get-then-set", get_then_set, mended),
    ("flag-cleared", flag_cleared, mended),
    ("no-window", no_window, mended),
    ("path-not-covered", path_not_covered, mended),
    ("evicting", evicting, mended),
    ("status-checked", status_checked, status_changed),
    ("short-memory", short_memory, long_memory),
):
    urlpatterns += [path(f"fault/{name}", view(fault)), path(f"mended/{name}", view(twin))]


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


if __name__ == "__main__":
    from django.core.wsgi import get_wsgi_application

    server = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)
    server.daemon_threads = True
    server.set_app(get_wsgi_application())
    print(server.server_port, flush=True)
    server.serve_forever()
