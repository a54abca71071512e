"""The signed time, and what remembers that a request was used."""
import base64
import base64
import hashlib
import hmac
import json
import math
import struct
import time
from datetime import datetime, timedelta, timezone

import redis
from cachetools import TTLCache
from django.core.cache import cache
from django.db import IntegrityError, transaction
from django.http import HttpResponse, HttpResponseForbidden

from shop import settings
from django.db.models import F

from shop.models import Account, Job, Order, SeenEvent
from shop.tasks import fulfil

r = redis.Redis()
MAX_AGE = 300


def mac_of(timestamp, body):
    return hmac.new(settings.KEY, f"{timestamp}.{body}".encode(), hashlib.sha256).hexdigest()


# signed-time-is-own-clock
def now_in_the_message(request):
    now = int(time.time())
    mine = hmac.new(settings.KEY, f"{now}.{request.body}".encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, request.headers["X-Signature"])  # expect: signed-time-is-own-clock


def now_as_text(request):
    stamp = datetime.now(timezone.utc).isoformat()
    mine = hmac.new(settings.KEY, stamp.encode() + request.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, request.headers["X-Signature"])  # expect: signed-time-is-own-clock


def of_this_hour(request):
    hour = str(int(time.time() // 3600))
    mine = hmac.new(settings.KEY, hour.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, request.headers["X-Signature"])  # expect: signed-time-is-own-clock


def through_a_helper(request):
    mine = mac_of(time.time(), request.body)
    return hmac.compare_digest(mine, request.headers["X-Signature"])  # expect: signed-time-is-own-clock


# seen in linkedin/oncall, src/oncall/auth/__init__.py
def of_these_five_seconds(request, key):
    five = int(time.time()) // 5
    for part in (five, five - 1):
        text = f"{part} {request.method} {request.path} {request.body}"
        mine = hmac.new(key, text.encode(), hashlib.sha512).hexdigest()
        if hmac.compare_digest(mine, request.headers["Authorization"]):  # expect: signed-time-is-own-clock
            return True
    return False


# seen in aaronwmorris/indi-allsky, indi_allsky/flask/syncapi_views.py
def of_half_an_hour(request, key):
    part = math.floor(time.time() / 300)
    for of in [part, part + 1, part - 1, part - 2, part - 3]:
        mine = hmac.new(key, str(of).encode() + request.body, hashlib.sha3_512).hexdigest()
        if hmac.compare_digest(mine, request.headers["Authorization"]):  # expect: signed-time-is-own-clock
            return
    raise PermissionError("signature")


# seen in Silvy66/Dynamic_Token_system, shared/config.py
def is_token_of_now(token, around=1):
    now = int(time.time() // 30)
    for step in range(-around, around + 1):
        if hmac.new(settings.KEY, str(now + step).encode(), hashlib.sha256).hexdigest() == token:  # expect: signed-time-is-own-clock mac-compared-with-equals
            return True
    return False


# seen in viccar/portknock, knockServer.py
def knocked(data, door):
    second = str(datetime.now().replace(microsecond=0))
    mine = hashlib.sha256((second + settings.SECRET_KEY).encode()).hexdigest()
    if data.decode().split(":")[1] == mine:  # expect: signed-time-is-own-clock
        door.open()


# seen in artoj/meta.sr.ht, metasrht/totp.py
def one_time_password(secret, code):  # fine: signed-time-is-own-clock
    step = int(time.time()) // 30
    for ago in range(-2, 3):
        digest = hmac.new(base64.b32decode(secret), struct.pack(">q", step - ago), hashlib.sha1).digest()
        at = digest[-1] & 0xF
        if struct.unpack(">I", digest[at : at + 4])[0] % 10**6 == code:
            return True
    return False


# seen in polarsource/polar, server/polar/integrations/slack/verification.py
def two_sided(request):  # fine: signed-time-is-own-clock, time-compared-on-one-side, time-never-compared
    timestamp = request.headers["X-Timestamp"]
    if abs(time.time() - int(timestamp)) > 300:
        return HttpResponseForbidden()
    return hmac.compare_digest(mac_of(timestamp, request.body), request.headers["X-Signature"])


def when_none_is_given(body, signature, timestamp=None):  # fine: signed-time-is-own-clock
    if timestamp is None:
        timestamp = int(time.time())
    if abs(time.time() - timestamp) > 300:
        return False
    return hmac.compare_digest(mac_of(timestamp, body), signature)


def signed_and_read_again(body):  # fine: signed-time-is-own-clock
    now = int(time.time())
    token = mac_of(now, body)
    return hmac.compare_digest(mac_of(now, body), token)


# seen in bigidulka/crypto-payment-gateway, src/core/security.py
def signing(body):  # fine: signed-time-is-own-clock, time-never-compared
    now = int(time.time())
    return now, mac_of(now, body)


def time_of_the_log(request, log):  # fine: signed-time-is-own-clock
    mine = hmac.new(settings.KEY, request.body, hashlib.sha256).hexdigest()
    log.info("checked", at=time.time())
    return hmac.compare_digest(mine, request.headers["X-Signature"])


# seen in lnbits/lnbits, lnbits/core/services/fiat_providers.py
def within_a_tolerance(payload, header, secret, tolerance=300):  # fine: signed-time-is-own-clock, time-compared-on-one-side, time-never-compared
    items = dict(it.split("=") for it in header.split(","))
    timestamp = int(items["t"])
    if abs(time.time() - timestamp) > tolerance:
        raise ValueError("time")
    signed = f"{timestamp}.{payload.decode()}"
    mine = hmac.new(key=secret.encode(), msg=signed.encode(), digestmod=hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, items["v1"]):
        raise ValueError("signature")


def of_the_sender(request):  # fine: signed-time-is-own-clock
    sent = datetime.fromtimestamp(int(request.headers["X-Timestamp"]))
    if abs(datetime.now() - sent) > timedelta(minutes=5):
        return False
    return hmac.compare_digest(mac_of(request.headers["X-Timestamp"], ""), request.headers["X-Signature"])


# time-compared-on-one-side
# seen in tuwhit/eagles_project, slackbot/verify_requests.py
def only_old(request):
    timestamp = request.headers["X-Timestamp"]
    if time.time() - int(timestamp) > 300:  # the check
        return HttpResponseForbidden()
    return hmac.compare_digest(mac_of(timestamp, request.body), request.headers["X-Signature"])  # expect: time-compared-on-one-side


# seen in leocxy/flask-shopify-utils, src/flask_shopify_utils/__init__.py
def older_than_a_day(args):
    if int(args.get("timestamp", 0)) < time.time() - 86400:
        return False
    text = f"code={args['code']}&timestamp={args['timestamp']}"
    mine = hmac.new(settings.KEY, text.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, args["hmac"])  # expect: time-compared-on-one-side


# seen in fylein/fyle-slack-app, fyle_slack_app/slack/__init__.py
def only_old_with_a_flag(request):
    sent = request.META["HTTP_X_TIMESTAMP"]
    is_right = True
    if sent is not None and time.time() - int(sent) > 60 * 5:
        is_right = False
    if is_right:
        text = "v0:{}:{}".format(sent, request.body.decode())
        mine = "v0=" + hmac.new(settings.KEY, text.encode(), hashlib.sha256).hexdigest()
        is_right = hmac.compare_digest(mine, request.META["HTTP_X_SIGNATURE"])  # expect: time-compared-on-one-side
    return is_right


NONCES = []


# seen in m4l1c3/flask-hmac-auth, flask_hmac_auth/__init__.py
def only_old_and_new_nonces(request, secret):
    parts = request.headers["Authorization"].split(":")
    nonce = parts[1]
    sent = parts[2]
    if int(time.time()) - int(sent) < 20 and nonce not in NONCES:  # expect: memory-can-forget
        NONCES.append(nonce)  # expect: used-get-then-set
        message = "{}{}{}".format(request.base_url, sent, nonce).encode()
        mac = hmac.new(secret, message, hashlib.sha256)
        mine = "{}:{}:{}".format(mac.hexdigest(), nonce, sent)
        return request.headers["Authorization"] == mine  # expect: mac-compared-with-equals recorded-before-check
    return False


def only_old_added(body, signature, timestamp):
    if int(timestamp) + MAX_AGE < time.time():
        return False
    return hmac.compare_digest(mac_of(timestamp, body), signature)  # expect: time-compared-on-one-side


def only_old_as_text(body, signature, ts):
    if datetime.now() - datetime.fromtimestamp(int(ts)) > timedelta(minutes=5):
        return False
    return hmac.compare_digest(mac_of(ts, body), signature)  # expect: time-compared-on-one-side


# seen in hookdeck/webhook-skills, skills/replicate-webhooks/examples/fastapi/main.py
def only_old_after(body, signature, timestamp):
    is_right = hmac.compare_digest(mac_of(timestamp, body), signature)  # expect: time-compared-on-one-side
    return is_right and time.time() - float(timestamp) < 60


def both_sides(body, signature, timestamp):  # fine: time-compared-on-one-side
    now = time.time()
    if int(timestamp) > now + 5 or int(timestamp) < now - 300:
        return False
    return hmac.compare_digest(mac_of(timestamp, body), signature)


# seen in getredash/redash, redash/authentication/__init__.py
def expires_within_an_hour(request, user):  # fine: time-compared-on-one-side
    expires = float(request.args.get("expires") or 0)
    if time.time() < expires <= time.time() + 3600:
        mine = hmac.new(user.key, f"{request.path}{expires}".encode(), hashlib.sha1).hexdigest()
        return hmac.compare_digest(mine, request.args["signature"])
    return False


def between(body, signature, timestamp):  # fine: time-compared-on-one-side
    if not time.time() - 300 < int(timestamp) < time.time() + 5:
        return False
    return hmac.compare_digest(mac_of(timestamp, body), signature)


def verify_csrf_token(token):  # fine: time-compared-on-one-side
    timestamp, signature = token.split(".")
    if time.time() - int(timestamp) > 3600:
        return False
    return hmac.compare_digest(mac_of(timestamp, ""), signature)


# seen in itswl/WebhookWise, services/notifications/feishu_actions.py
def it_expires(body, signature, expires):  # fine: time-compared-on-one-side
    if int(expires) < time.time():
        return False
    return hmac.compare_digest(mac_of(expires, body), signature)


# time-never-compared
# seen in mozilla/kitsune, kitsune/customercare/views.py
def signed_and_forgotten(request):
    timestamp = request.headers["X-Timestamp"]
    mine = hmac.new(settings.KEY, timestamp.encode() + request.body, hashlib.sha256).hexdigest()  # expect: time-never-compared
    return hmac.compare_digest(mine, request.headers["X-Signature"])


# seen in blackboard-innersource/explain-bot, lambda/explain.py
def of_slack(request):
    ts = request.headers["X-Slack-Request-Timestamp"]
    base = "v0:" + ts + ":" + request.body.decode()  # expect: time-never-compared
    mine = "v0=" + hmac.new(settings.KEY, base.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, request.headers["X-Slack-Signature"])


class Events:
    # seen in AstroAir/feishu-webhook-bot, src/feishu_webhook_bot/core/event_server.py
    def verify(self, request, body: bytes):
        timestamp = request.headers.get("X-Event-Timestamp")
        nonce = request.headers.get("X-Event-Nonce")
        message = (timestamp + nonce).encode() + body  # expect: time-never-compared
        mine = base64.b64encode(hmac.new(self.key, message, hashlib.sha256).digest()).decode()
        if not hmac.compare_digest(request.headers["X-Event-Signature"], mine):
            raise PermissionError


def of_a_parameter(body, signature, timestamp):
    message = "{}.{}".format(timestamp, body)  # expect: time-never-compared
    mine = hmac.new(settings.KEY, message.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, signature)


# seen in anymail/django-anymail, anymail/webhooks/mailgun.py
def of_fields(fields, given_signature):
    timestamp = fields["timestamp"]
    mine = hmac.new(settings.KEY, (timestamp + fields["token"]).encode(), hashlib.sha256).hexdigest()  # expect: time-never-compared
    return hmac.compare_digest(mine, given_signature)


def handed_on(body, signature, timestamp, clock):  # fine: time-never-compared
    clock.must_be_near(timestamp)
    return hmac.compare_digest(mac_of(timestamp, body), signature)


# seen in NzeStan/Django-Paystack-Wallet, wallet/services/webhook_service.py
def no_time(body, signature):  # fine: time-never-compared
    mine = hmac.new(settings.KEY, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, signature)


# window-without-memory
def within_a_window(request):
    timestamp = request.headers["X-Timestamp"]
    if abs(time.time() - int(timestamp)) > 300:
        return HttpResponseForbidden()
    if not hmac.compare_digest(mac_of(timestamp, request.body), request.headers["X-Signature"]):
        return HttpResponseForbidden()
    Order.objects.create(body=request.body)  # expect: window-without-memory body-read-again
    return HttpResponse()


# seen in Marcofoxx85/CreonAI, stripe_webhook.py
@router.post("/stripe/credits")
async def credits_of_stripe(request, db=Depends(session)):
    event = stripe.Webhook.construct_event(await request.body(), request.headers.get("stripe-signature"), settings.KEY)
    if event["type"] == "checkout.session.completed":
        member = db.query(Member).filter(Member.email == event["data"]["object"]["customer_email"]).first()
        if member:
            member.credits += 100  # expect: window-without-memory read-modify-write
            db.commit()
    return {}


# seen in 1droxion/winkly-backend, stripe_webhook.py
@router.post("/stripe/coins")
def coins_of_stripe(request):
    event = stripe.Webhook.construct_event(request.data, request.headers.get("stripe-signature"), settings.KEY)
    name = event["data"]["object"]["client_reference_id"]
    with open("coins.json", "r+") as file:
        coins = json.load(file)
        coins[name] = coins.get(name, 0) + 50  # expect: window-without-memory
        file.seek(0)
        json.dump(coins, file)
    return "", 200


# seen in Ahmad55666/itsmehehehe, stripe_webhook.py
@router.post("/stripe/tokens")
async def tokens_of_stripe(request, db=Depends(session)):
    try:
        event = stripe.Webhook.construct_event(await request.body(), request.headers.get("stripe-signature"), settings.KEY)
    except Exception as error:
        raise HTTPException(400) from error
    paid = event["data"]["object"]
    bought = int(paid["amount_total"] // 10)
    if paid["client_reference_id"] and bought:
        member = db.query(Member).filter(Member.id == int(paid["client_reference_id"])).first()
        member.tokens += bought  # expect: window-without-memory read-modify-write
        db.add(Purchase(member=member.id, amount=bought))
        db.commit()
    return {"status": "success"}


# seen in jestasecurity/thumper, server/thumper/api/routes.py
@router.post("/alarm")
async def alarm_of_an_agent(request, background: BackgroundTasks):
    raw = await request.body()
    sent = parse_qs(raw.decode())["timestamp"][0]
    mine = hmac.new(settings.KEY, raw, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, request.headers["X-Signature"]):
        raise HTTPException(403)
    if abs((datetime.now(timezone.utc) - datetime.fromisoformat(sent)).total_seconds()) > 300:
        raise HTTPException(403)
    background.add_task(tell, raw)  # expect: window-without-memory
    return {}


@router.post("/stripe/sums")
def sum_of_stripe(request):
    event = stripe.Webhook.construct_event(request.body, request.headers["Stripe-Signature"], settings.KEY)
    Account.objects.filter(pk=event["account"]).update(balance=F("balance") + 100)  # expect: window-without-memory


@router.post("/stripe/status")
def status_of_stripe(request, db=Depends(session)):  # fine: window-without-memory
    event = stripe.Webhook.construct_event(request.body, request.headers["Stripe-Signature"], settings.KEY)
    member = db.query(Member).filter(Member.email == event["email"]).first()
    member.is_paid = True
    db.commit()


@router.post("/stripe/once")
def paid_already(request, db=Depends(session)):  # fine: window-without-memory
    event = stripe.Webhook.construct_event(request.body, request.headers["Stripe-Signature"], settings.KEY)
    order = db.query(Order).filter(Order.number == event["order"]).first()
    if order.status == "paid":
        return {}
    order.status = "paid"
    order.member.credits += 100
    db.commit()


# seen in MetakizzProject/metakizz-unplug, app/routes/stripe_webhook.py
@router.post("/stripe/places")
def a_row_is_there(request, db=Depends(session)):  # fine: window-without-memory
    event = stripe.Webhook.construct_event(request.body, request.headers["Stripe-Signature"], settings.KEY)
    place = db.query(Place).filter(Place.session == event["data"]["object"]["id"]).first()
    if place:
        return {}
    member = db.query(Member).get(event["member"])
    member.places += 1  # expect: read-modify-write
    db.add(Place(session=event["data"]["object"]["id"]))  # expect: unique-checked-then-inserted
    db.commit()


# seen in AnthropicBots/hiero-bot-py, app/billing/stripe_webhooks.py
@router.post("/stripe/claimed")
def claimed_by_its_id(request, db=Depends(session)):  # fine: window-without-memory
    event = stripe.Webhook.construct_event(request.body, request.headers["Stripe-Signature"], settings.KEY)
    try:
        db.add(SeenEvent(id=event["id"]))
        db.flush()
    except IntegrityError:
        return {}
    db.query(Member).get(event["member"]).credits += 100
    db.commit()


def a_task_each_time(request):
    sent = int(request.headers["X-Timestamp"])
    if abs(time.time() - sent) > MAX_AGE:
        return HttpResponseForbidden()
    if not hmac.compare_digest(mac_of(sent, request.body), request.headers["X-Signature"]):
        return HttpResponseForbidden()
    fulfil.delay(request.body)  # expect: window-without-memory body-read-again
    return HttpResponse()


def checked(request):
    timestamp = request.headers["X-Timestamp"]
    if abs(time.time() - int(timestamp)) > 60:
        return False
    return hmac.compare_digest(mac_of(timestamp, request.body), request.headers["X-Signature"])


def behind_a_helper(request):
    if not checked(request):
        return HttpResponseForbidden()
    Account.objects.filter(pk=1).update(balance=F("balance") + int(request.body))  # expect: window-without-memory body-read-again
    return HttpResponse()


def the_same_again(request):  # fine: window-without-memory
    if not checked(request):
        return HttpResponseForbidden()
    order = Order.objects.filter(body=request.body).first()  # expect: body-read-again
    order.is_confirmed = True
    order.save()
    return HttpResponse()


def mail_each_time(request, mailer):
    if not checked(request):
        return HttpResponseForbidden()
    mailer.send_email(request.body)  # expect: window-without-memory body-read-again
    return HttpResponse()


def remembered(request):  # fine: window-without-memory, used-get-then-set, recorded-before-check, memory-shorter-than-window
    if not checked(request):
        return HttpResponseForbidden()
    if not cache.add("seen:" + request.headers["X-Signature"], 1, timeout=600):
        return HttpResponseForbidden()
    Order.objects.create(body=request.body)  # expect: body-read-again
    return HttpResponse()


def once_by_its_id(request):  # fine: window-without-memory
    if not checked(request):
        return HttpResponseForbidden()
    Order.objects.get_or_create(event_id=request.headers["X-Event"])
    return HttpResponse()


def handed_on_with_its_id(request, events):  # fine: window-without-memory
    if not checked(request):
        return HttpResponseForbidden()
    event = request.json()  # expect: body-read-again
    events.enqueue(event["id"], event)
    return HttpResponse()


def an_order_that_ends(request, pk):  # fine: window-without-memory
    mine = hmac.new(settings.KEY, request.body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, request.headers["X-Signature"]):
        return HttpResponseForbidden()
    order = Order.objects.get(pk=pk)  # expect: unsigned-input-used
    if abs(time.time() - order.opened) > 300:
        order.delete()
    return HttpResponse()


def reads_only(request):  # fine: window-without-memory
    if not checked(request):
        return HttpResponseForbidden()
    return HttpResponse(Order.objects.count())


# seen in polarsource/polar, server/polar/integrations/slack/verification.py
def a_helper_alone(body, signature, timestamp):  # fine: window-without-memory
    if abs(time.time() - int(timestamp)) > 60:
        return False
    return hmac.compare_digest(mac_of(timestamp, body), signature)


# seen in blongene/NovaTrade3.0, hmac_auth.py
def a_helper_with_its_own_mac(secret, body, sent, signature, seconds=180):  # fine: window-without-memory
    if not secret or abs(time.time() - int(sent)) > seconds:
        return False
    mine = hmac.new(secret.encode(), sent.encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, signature)


# used-get-then-set
def get_then_set(nonce):
    if cache.get(f"nonce:{nonce}"):
        return False
    cache.set(f"nonce:{nonce}", True, 600)  # expect: used-get-then-set
    return True


# seen in mozilla/kitsune, kitsune/wiki/tasks.py
def schedule_once():
    if cache.get(settings.REBUILD_TOKEN):
        return
    cache.set(settings.REBUILD_TOKEN, True)  # expect: used-get-then-set
    fulfil.delay()


# seen in dcfrqb/vpn-bot, src/app/tasks/remnawave_reconciler.py
async def alert_once(subscription):
    key = f"alert_sent:{subscription}"
    already = await r.get(key)
    if already:
        return
    await r.set(key, "1", ex=86400)  # expect: used-get-then-set
    await alert(subscription)


class OnceForAnAddress:
    cache = caches["once"]

    # seen in Flagsmith/flagsmith, api/onboarding/throttling.py
    def allow(self, request):
        key = key_of(request)
        if self.cache.get(key):
            return False
        self.cache.set(key, 1)  # expect: used-get-then-set
        return True


def exists_then_setex(event):
    if r.exists(event["id"]):
        return "seen"
    r.setex(event["id"], 86400, 1)  # expect: used-get-then-set


def is_none(token):
    key = "used:" + token
    seen = cache.get(key)
    if seen is not None:
        raise PermissionError
    cache.set(key, "1", timeout=600)  # expect: used-get-then-set


def of_a_set(signature):
    if r.sismember("seen", signature):
        return False
    r.sadd("seen", signature)  # expect: used-get-then-set
    return True


def added(nonce):  # fine: used-get-then-set
    return cache.add(f"nonce:{nonce}", True, 600)


def set_if_new(nonce):  # fine: used-get-then-set
    return r.set(f"nonce:{nonce}", 1, nx=True, ex=600)


def a_cached_page(key, render):  # fine: used-get-then-set
    page = cache.get(key)
    if page is None:
        page = render()
        cache.set(key, page, 60)
    return page


def a_cached_answer(user):  # fine: used-get-then-set
    known = cache.get(f"has-photo:{user}")
    if known is None:
        if storage.exists(user):
            cache.set(f"has-photo:{user}", True, 60)
        else:
            cache.set(f"has-photo:{user}", False, 60)
    return known


def under_a_lock(nonce, lock):  # fine: used-get-then-set
    with lock:
        if cache.get(nonce):
            return False
        cache.set(nonce, True, 600)
    return True


# recorded-before-check
def added_first(request):
    if not cache.add("nonce:" + request.headers["X-Nonce"], 1, 900):
        return HttpResponseForbidden()
    mine = hmac.new(settings.KEY, request.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, request.headers["X-Signature"])  # expect: recorded-before-check


def set_first(body, signature, nonce):
    if not r.set(f"nonce:{nonce}", 1, nx=True, ex=900):
        return False
    mine = hmac.new(settings.KEY, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, signature)  # expect: recorded-before-check


async def named_key_first(request, signature):
    key = f"seen:{request.headers['X-Nonce']}"
    if not await r.set(key, 1, nx=True, ex=900):
        return False
    mine = hmac.new(settings.KEY, request.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, signature)  # expect: recorded-before-check


def claim(nonce):
    return cache.add("nonce:" + nonce, 1, 900)


# seen in geekyous/uvp-backend, app/core/security.py
def helper_first(body, signature, nonce):
    if not claim(nonce):
        return False
    mine = hmac.new(settings.KEY, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, signature)  # expect: recorded-before-check


def mac_of_parts(timestamp, nonce, body):
    return hmac.new(settings.KEY, timestamp.encode() + b"." + nonce.encode() + b"." + body, hashlib.sha256).hexdigest()


USED = set()


def set_of_a_process(body, signature, nonce):
    used_nonces = USED
    used_nonces.add(nonce)
    mine = hmac.new(settings.KEY, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, signature)  # expect: recorded-before-check


def after_the_check(body, signature, nonce):  # fine: recorded-before-check
    mine = hmac.new(settings.KEY, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, signature):
        return False
    return cache.add("nonce:" + nonce, 1, 900)


# seen in aimxlabs/hello-auth-python, examples/service/service.py
def listed_after_the_check(body, signature, nonce):  # fine: recorded-before-check
    mine = hmac.new(settings.KEY, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, signature):
        raise PermissionError("signature")
    if nonce in listed_nonces:  # expect: memory-can-forget
        raise PermissionError("nonce")
    listed_nonces.append(nonce)  # expect: used-get-then-set


# seen in pablondrina/django-shopman, packages/guestman/shopman/guestman/gates.py
def row_of_an_event(body, signature, sent, event):  # fine: recorded-before-check, memory-can-forget, memory-shorter-than-window, used-get-then-set
    mine = hmac.new(settings.KEY, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine.lower(), signature.lower()):
        raise PermissionError("signature")
    if abs(int(time.time()) - sent) > MAX_AGE:
        raise PermissionError("time")
    try:
        with transaction.atomic():
            SeenEvent.objects.create(nonce=event["id"], sender="chat")
    except IntegrityError as error:
        raise PermissionError("again") from error


# seen in zharuk/django-deva7, deva7km/catalog/auth_tokens.py
def token_that_is_used_once(token):  # fine: recorded-before-check, memory-can-forget, memory-shorter-than-window, used-get-then-set
    member, sent, signature = token.split(":")
    if time.time() - int(sent) > MAX_AGE:
        raise PermissionError("age")
    if not hmac.compare_digest(mac_of(sent, member), signature):
        raise PermissionError("signature")
    if not cache.add(f"token_used:{token}", True, timeout=MAX_AGE):
        raise PermissionError("again")
    return int(member)


def helper_after(body, signature, nonce):  # fine: recorded-before-check
    mine = hmac.new(settings.KEY, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, signature) and claim(nonce)


def counts_attempts(body, signature, address):  # fine: recorded-before-check
    cache.set("attempts:" + address, 1, 60)
    mine = hmac.new(settings.KEY, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, signature)


# memory-shorter-than-window
def half_of_the_window(request):
    if not checked(request):
        return False
    return cache.add("nonce:" + request.headers["X-Nonce"], 1, timeout=60)  # expect: memory-shorter-than-window


def a_minute(request):
    timestamp = int(request.headers["X-Timestamp"])
    if abs(time.time() - timestamp) > 300:
        return False
    if not hmac.compare_digest(mac_of(timestamp, request.body), request.headers["X-Signature"]):
        return False
    return r.set("nonce:" + request.headers["X-Nonce"], 1, nx=True, ex=300)  # expect: memory-shorter-than-window


# seen in geekyous/uvp-backend, app/core/security.py
def of_constants(request):
    timestamp = int(request.headers["X-Timestamp"])
    if abs(time.time() - timestamp) > MAX_AGE:
        return False
    if not hmac.compare_digest(mac_of(timestamp, request.body), request.headers["X-Signature"]):
        return False
    return cache.add("sig:" + request.headers["X-Signature"], 1, MAX_AGE)  # expect: memory-shorter-than-window


# seen in mehran-shabani/soapify_back, infra/middleware/hmac_auth.py
def looked_up_first_and_kept_last(request):  # fine: recorded-before-check, memory-can-forget
    sent, nonce = request.META["HTTP_X_TIMESTAMP"], request.META["HTTP_X_NONCE"]
    if abs(time.time() - float(sent)) > 300:
        return HttpResponseForbidden()
    key = f"nonce_of_a_service:{nonce}"
    if cache.get(key):
        return HttpResponseForbidden()
    text = f"{request.method}:{request.path}:{sent}:{nonce}:{request.body.decode()}"
    mine = hmac.new(settings.KEY, text.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, request.META["HTTP_X_SIGNATURE"]):
        return HttpResponseForbidden()
    cache.set(key, True, 300)  # expect: memory-shorter-than-window used-get-then-set


# seen in ax128/AegisGate, aegisgate/core/gateway.py
def kept_for_the_width_of_one_side(request):
    sent, nonce = request.headers["X-Timestamp"], request.headers["X-Nonce"]
    if abs(int(time.time()) - int(sent)) > MAX_AGE:
        return HttpResponseForbidden()
    if not r.set(f"gate:nonce:{nonce}", "1", ex=MAX_AGE, nx=True):  # expect: memory-shorter-than-window
        return HttpResponseForbidden()
    mine = mac_of_parts(sent, nonce, request.body)
    return hmac.compare_digest(mine, request.headers["X-Signature"])  # expect: recorded-before-check


MAX_SKEW_MS = 5 * 60 * 1000


# seen in SharkTrchBrasil/back_end_python_fastAPI, src/core/security/hmac.py
async def kept_in_milliseconds(headers, raw: bytes):
    sent, nonce = headers["x-timestamp"], headers["x-nonce"]
    if abs(int(time.time() * 1000) - int(sent)) > MAX_SKEW_MS:
        raise PermissionError("time")
    if not await r.set(f"mac_nonce:{nonce}", "1", nx=True, px=MAX_SKEW_MS):  # expect: memory-shorter-than-window
        raise PermissionError("again")
    mine = mac_of_parts(sent, nonce, raw)
    return hmac.compare_digest(mine, headers["x-signature"])  # expect: recorded-before-check


NONCE_KEPT = 5
CLOCKS_DIFFER = 10 * 60


# seen in ZhaoQi99/drf-access-key, rest_framework_access_key/authentication.py
def kept_for_seconds(request):
    sent, nonce = request.headers["Auth-Timestamp"], request.headers["Auth-Nonce"]
    if abs(time.time() - int(sent)) > CLOCKS_DIFFER:
        raise PermissionError("time")
    key = "{}-{}".format("nonce", nonce)
    if cache.get(key) is not None:
        raise PermissionError("again")
    cache.set(key, "1", NONCE_KEPT)  # expect: memory-shorter-than-window used-get-then-set
    mine = mac_of_parts(sent, nonce, request.path.encode())
    return hmac.compare_digest(mine, request.headers["Auth-Signature"])  # expect: recorded-before-check


def five_minutes(request):
    timestamp = int(request.headers["X-Timestamp"])
    if abs(time.time() - timestamp) > 60 * 60:
        return False
    if not hmac.compare_digest(mac_of(timestamp, request.body), request.headers["X-Signature"]):
        return False
    r.setex("nonce:" + request.headers["X-Nonce"], 60 * 5, 1)  # expect: memory-shorter-than-window


def twice_the_window(request):  # fine: memory-shorter-than-window
    if not checked(request):
        return False
    return cache.add("nonce:" + request.headers["X-Nonce"], 1, timeout=2 * 60)


# seen in itswl/WebhookWise, core/webhook_security.py
async def claimed_for_both_sides(headers, raw: bytes, skew):  # fine: memory-shorter-than-window, recorded-before-check, used-get-then-set, window-without-memory
    timestamp = headers.get("x-webhook-timestamp", "").strip()
    if abs(int(time.time()) - int(timestamp)) > skew:
        raise PermissionError("time")
    mine = hmac.new(settings.KEY, timestamp.encode() + b"." + raw, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine.encode(), headers["x-webhook-signature"].encode()):
        raise PermissionError("signature")
    if not await r.set("replay:" + headers["x-webhook-signature"], "1", nx=True, ex=skew * 2):
        raise PermissionError("again")


# seen in pennersr/django-allauth, allauth/socialaccount/internal/jwtkit.py
def until_it_expires(claims):  # fine: memory-shorter-than-window, used-get-then-set
    timeout = claims["exp"] - time.time()
    if not cache.add(key=f"jwt:{claims['jti']}", value=True, timeout=timeout):
        raise PermissionError("again")


def a_day(request):  # fine: memory-shorter-than-window
    if not checked(request):
        return False
    return r.set("nonce:" + request.headers["X-Nonce"], 1, nx=True, ex=86400)


def another_entry(request):  # fine: memory-shorter-than-window
    if not checked(request):
        return False
    return cache.add("page:" + request.path, 1, timeout=10)


# memory-can-forget
seen_nonces = TTLCache(maxsize=1000, ttl=600)
used_signatures = set()
processed = {}
processed_event_ids = {}
used_tokens = set()
listed_nonces = []
replay_guard_seen = set()


def full_cache(body, signature, nonce):
    mine = hmac.new(settings.KEY, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, signature):
        return False
    if nonce in seen_nonces:  # expect: memory-can-forget
        return False
    seen_nonces[nonce] = True  # expect: used-get-then-set
    return True


def own_process(body, signature):
    mine = hmac.new(settings.KEY, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, signature):
        return False
    if signature in used_signatures:  # expect: memory-can-forget
        return False
    used_signatures.add(signature)  # expect: used-get-then-set
    return True


def own_record(body, signature, event):
    mine = hmac.new(settings.KEY, body, hashlib.sha256).hexdigest()
    if event not in processed and hmac.compare_digest(mine, signature):  # expect: memory-can-forget
        processed[event] = True  # expect: used-get-then-set
        return True
    return False


def own_set_again(body, signature, nonce):
    mine = hmac.new(settings.KEY, body, hashlib.sha256).hexdigest()
    fresh = nonce not in replay_guard_seen  # expect: memory-can-forget
    return fresh and hmac.compare_digest(mine, signature)


def a_list_of_algorithms(body, signature, algorithm):  # fine: memory-can-forget
    mine = hmac.new(settings.KEY, body, hashlib.sha256).hexdigest()
    return algorithm in {"sha256", "sha512"} and hmac.compare_digest(mine, signature)


# seen in ilab-vishal/Integration, shopify/utils/shopify_router_utils.py
def is_known(event_id):
    if event_id in processed_event_ids:  # expect: memory-can-forget
        return True
    processed_event_ids[event_id] = datetime.now()  # expect: used-get-then-set
    return False


# seen in ilab-vishal/Integration, shopify/routers/product_create.py
def events_of_a_shop(body, signature, event_id):
    if is_known(event_id):
        return False
    mine = base64.b64encode(hmac.new(settings.KEY, body, hashlib.sha256).digest()).decode()
    return hmac.compare_digest(mine, signature)  # expect: recorded-before-check


# seen in hsniama/mydevops, app/utils/jwt_handler.py
def tokens_of_a_process(token):
    if token in used_tokens:  # expect: memory-can-forget
        return False
    body, signature = token.rsplit(".", 1)
    mine = hmac.new(settings.KEY, body.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, signature):
        return False
    used_tokens.add(token)  # expect: used-get-then-set
    return True


# seen in ansible/awx, awx/api/views/webhooks.py
def job_of_an_event(request, event_id):  # fine: memory-can-forget, recorded-before-check
    mine = hmac.new(settings.KEY, request.body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, request.headers["X-Signature"]):
        raise PermissionError("signature")
    if Job.objects.filter(event_id=event_id).exists():  # expect: unsigned-input-used
        return HttpResponse()
    Job.objects.create(event_id=event_id)  # expect: unique-checked-then-inserted
    return HttpResponse()


ALLOWED = set()


# seen in amirhossein-moloki/django-ecommerce-api, payment/views.py
def a_set_of_senders(body, signature, sender):  # fine: memory-can-forget
    mine = hmac.new(settings.KEY, body, hashlib.sha256).hexdigest()
    return sender in ALLOWED and hmac.compare_digest(mine, signature)


def no_signature_here(word):  # fine: memory-can-forget
    return word in used_signatures


def a_local_set(body, signature, fields):  # fine: memory-can-forget
    seen = set()
    for field in fields:
        if field in seen:
            return False
        seen.add(field)
    mine = hmac.new(settings.KEY, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, signature)
