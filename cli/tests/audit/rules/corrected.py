"""Faults that were missed once, and clean code that was reported."""
import hashlib
import hmac
import time
from datetime import datetime, timezone

from django.core.cache import cache
from django.http import HttpResponse, HttpResponseForbidden

from shop import settings
from shop.models import Order, Receipt
from shop.schema import Badge

used_nonces = []
nonces_by_time = {}


# mac-compared-with-equals: the MAC is a part of a text
# seen in m4l1c3/flask-hmac-auth, flask_hmac_auth/__init__.py
def behind_a_scheme(request):
    mac = hmac.new(settings.KEY, request.body, hashlib.sha256)
    mine = "{}:{}:{}".format(mac.hexdigest(), request.GET["nonce"], request.GET["sent"])
    if request.META["HTTP_AUTHORIZATION"] == mine:  # expect: mac-compared-with-equals
        return HttpResponse()
    return HttpResponseForbidden()


def behind_a_percent_sign(request):
    mine = "sha1=%s" % hmac.new(settings.KEY, request.body, hashlib.sha1).hexdigest()
    return mine == request.META["HTTP_X_HUB_SIGNATURE"]  # expect: mac-compared-with-equals


def behind_an_equals_sign(request):
    mine = "=".join(("sha256", hmac.new(settings.KEY, request.body, hashlib.sha256).hexdigest()))
    return mine == request.headers["X-Signature"]  # expect: mac-compared-with-equals


def in_a_text_and_in_constant_time(request):  # fine: mac-compared-with-equals
    mine = "sha1=%s" % hmac.new(settings.KEY, request.body, hashlib.sha1).hexdigest()
    return hmac.compare_digest(mine, request.META["HTTP_X_HUB_SIGNATURE"])


# A list or a dictionary is a memory too.
# seen in m4l1c3/flask-hmac-auth, flask_hmac_auth/__init__.py
def noted_in_a_list(request, signature):
    nonce = request.headers["X-Nonce"]
    if nonce in used_nonces:  # expect: memory-can-forget
        return HttpResponseForbidden()
    used_nonces.append(nonce)  # expect: used-get-then-set
    mine = hmac.new(settings.KEY, request.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, signature)  # expect: recorded-before-check


# seen in SharkTrchBrasil/back_end_python_fastAPI, src/core/security/hmac.py
def noted_with_its_time(request, sent):
    nonce = request.headers["X-Nonce"]
    if nonce in nonces_by_time:  # expect: memory-can-forget
        return HttpResponseForbidden()
    nonces_by_time[nonce] = sent  # expect: used-get-then-set
    mine = hmac.new(settings.KEY, request.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, request.headers["X-Signature"])  # expect: recorded-before-check


def noted_under_a_lock(request, guard_lock):  # fine: used-get-then-set
    nonce = request.headers["X-Nonce"]
    with guard_lock:
        if nonce in nonces_by_time:
            return False
        nonces_by_time[nonce] = True
    return True


async def noted_without_a_wait(nonce):  # fine: used-get-then-set
    if nonce in nonces_by_time:
        return False
    nonces_by_time[nonce] = True
    return True


async def noted_after_a_wait(nonce, store):
    if nonce in nonces_by_time:
        return False
    await store.put(nonce)
    nonces_by_time[nonce] = True  # expect: used-get-then-set
    return True


def nonces_of_one_request(request):  # fine: used-get-then-set, recorded-before-check
    seen_nonces = []
    for nonce in request.GET.getlist("nonce"):
        if nonce in seen_nonces:
            return HttpResponseForbidden()
        seen_nonces.append(nonce)
    mine = hmac.new(settings.KEY, request.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, request.headers["X-Signature"])


# window-without-memory: the nonce is signed, and something remembers it
def fresh_and_signed(request):
    sent, nonce = request.headers["X-Sent"], request.headers["X-Nonce"]
    mine = hmac.new(settings.KEY, f"{sent}.{nonce}".encode() + request.body, hashlib.sha256).hexdigest()
    is_fresh = abs(time.time() - int(sent)) <= 300
    return is_fresh and hmac.compare_digest(mine, request.headers["X-Signature"])


def kept_in_the_cache(request):  # fine: window-without-memory
    if not fresh_and_signed(request):
        return HttpResponseForbidden()
    if not cache.add("nonce:" + request.headers["X-Nonce"], 1, timeout=600):
        return HttpResponseForbidden()
    Order.objects.create(total=1)
    return HttpResponse()


def kept_in_a_dictionary(request):  # fine: window-without-memory
    if not fresh_and_signed(request):
        return HttpResponseForbidden()
    nonce = request.headers["X-Nonce"]
    if nonce in nonces_by_time:  # expect: memory-can-forget
        return HttpResponseForbidden()
    nonces_by_time[nonce] = True  # expect: used-get-then-set
    Order.objects.create(total=1)
    return HttpResponse()


def kept_by_an_object(request, guard):  # fine: window-without-memory
    if not fresh_and_signed(request):
        return HttpResponseForbidden()
    guard.use(nonce=request.headers["X-Nonce"])
    Order.objects.create(total=1)
    return HttpResponse()


def a_nonce_that_nobody_keeps(request):
    if not fresh_and_signed(request):
        return HttpResponseForbidden()
    Order.objects.create(total=1)  # expect: window-without-memory
    return HttpResponse()


# time-never-compared: a clock that only writes down when something happened compares nothing
def answer_to_slack(event, table):
    if not is_of_slack(event):
        return None
    table.put({"acronym": event["text"], "asked_at": datetime.now(timezone.utc).timestamp()})
    return "noted"


# seen in blackboard-innersource/explain-bot, lambda/add_meaning.py
def is_of_slack(event):
    timestamp = event["headers"]["x-slack-request-timestamp"]
    base = "v0:" + timestamp + ":" + event["body"]  # expect: time-never-compared
    mine = "v0=" + hmac.new(settings.KEY, base.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, event["headers"]["x-slack-signature"])


# unique-checked-then-inserted: the row that was looked for is there
# seen in openedx/ecommerce, ecommerce/extensions/iap/api/v1/views.py
def refunded(request, number):  # fine: unique-checked-then-inserted
    bought = Receipt.objects.filter(number=number).first()
    if not bought:
        return HttpResponse(status=404)
    Receipt.objects.create(number=number, answer=request.body)
    return HttpResponse()


# seen in makeplane/plane, apps/api/plane/app/views/asset/v2.py
def doubled(request, number):  # fine: unique-checked-then-inserted
    first = Receipt.objects.filter(number=number, is_renewal=False).first()
    if not first:
        return HttpResponse(status=404)
    Receipt.objects.create(number=first.number, is_renewal=True)
    return HttpResponse()


def renewed(request, number):  # fine: unique-checked-then-inserted
    if Receipt.objects.filter(number=number).exists():
        Receipt.objects.create(number=number, is_renewal=True)
    return HttpResponse()


# seen in SharkTrchBrasil/back_end_python_fastAPI, src/api/admin/services/cloning_service.py
def badge_of(db, number):  # fine: unique-checked-then-inserted
    badge = db.query(Badge).filter(Badge.number == number).first()
    if badge is not None:
        db.add(Badge(number=number, replaces=badge.id))


def issued(request, number):
    if Receipt.objects.filter(number=number).exists():
        return HttpResponse(status=409)
    else:
        Receipt.objects.create(number=number)  # expect: unique-checked-then-inserted
    return HttpResponse()


def receipt_or_none(number):
    known = Receipt.objects.filter(number=number).first()
    if not known:
        return None
    return known.as_dict()


# seen in vkhansen/Telegram-shop-Physical, bot/database/methods/create.py
def written_if_there_is_none(request, number):
    if receipt_or_none(number):
        return HttpResponse(status=409)
    Receipt.objects.create(number=number)  # expect: unique-checked-then-inserted
    return HttpResponse()
