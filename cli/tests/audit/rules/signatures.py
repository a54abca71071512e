"""How a MAC is compared, and what it is over."""
import base64
import hashlib
import hmac
import json

import requests
from django.http import HttpResponse, HttpResponseForbidden, JsonResponse
from flask import abort, request as flask_request

from shop import settings
from shop.models import Invoice, Order, Tenant


# mac-compared-with-equals: as services write it.
# seen in resilient-tech/razorpayx-integration, razorpayx_integration/razorpayx_integration/utils/webhook.py
def hex_in_a_header(request):
    mine = hmac.new(settings.SECRET, request.body, hashlib.sha256).hexdigest()
    if mine != request.headers.get("X-Signature"):  # expect: mac-compared-with-equals
        return HttpResponseForbidden()


# seen in hastexo/webhook-receiver, webhook_receiver/utils.py
def base64_of_a_shop(raw, hmac_header):
    digest = hmac.new(settings.SECRET.encode(), raw, digestmod=hashlib.sha256).digest()
    return base64.b64encode(digest).decode() == hmac_header  # expect: mac-compared-with-equals


class Verifier:
    def sign(self, data):
        return "sha256=" + hmac.new(self.key, data, "sha256").hexdigest()

    # seen in getredash/redash, redash/authentication/__init__.py
    def is_valid(self, data, signature):
        return signature == self.sign(data)  # expect: mac-compared-with-equals


def digest_over_a_secret(fields, sign):
    text = "&".join(f"{k}={v}" for k, v in sorted(fields.items())) + settings.API_SECRET
    return hashlib.md5(text.encode()).hexdigest().upper() == sign  # expect: mac-compared-with-equals


def fed_in_pieces():
    made = hmac.new(settings.SECRET, digestmod=hashlib.sha1)
    made.update(flask_request.get_data())
    if f"sha1={made.hexdigest()}" != flask_request.headers["X-Hub-Signature"]:  # expect: mac-compared-with-equals
        abort(401)


def row_of_a_hash(session, token):  # fine: mac-compared-with-equals
    token_hash = hmac.new(settings.SECRET, token.encode(), hashlib.sha256).hexdigest()
    return session.scalar(select(ApiToken).where(ApiToken.token_hash == token_hash))


def of_a_signed_session(session, user):  # fine: mac-compared-with-equals
    mine = hmac.new(settings.SECRET, user.password.encode(), hashlib.sha256).hexdigest()
    return session.get("hash") == mine


# seen in Flagsmith/flagsmith, api/integrations/github/helpers.py
def in_constant_time(request):  # fine: mac-compared-with-equals
    mine = hmac.new(settings.SECRET, request.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, request.headers["X-Signature"])


# seen in lnbits/lnbits, lnbits/core/services/fiat_providers.py
def result_is_compared(request):  # fine: mac-compared-with-equals
    mine = hmac.new(settings.SECRET, request.body, hashlib.sha256).hexdigest()
    if hmac.compare_digest(mine, request.headers["X-Signature"]) is not True:
        return HttpResponseForbidden()


def checksum_of_a_file(data, wanted_digest):  # fine: mac-compared-with-equals
    return hashlib.sha256(data).hexdigest() == wanted_digest


# seen in slackapi/python-slack-events-api, slackeventsapi/server.py
def length_is_compared(request):  # fine: mac-compared-with-equals
    mine = hmac.new(settings.SECRET, request.body, hashlib.sha256).hexdigest()
    if len(mine) != len(request.headers["X-Signature"]):
        return False
    return hmac.compare_digest(mine, request.headers["X-Signature"])


def etag_of_a_page(request):  # fine: mac-compared-with-equals
    tag = hashlib.md5(request.path.encode()).hexdigest()
    return tag == request.headers.get("If-None-Match")


# mac-over-rewritten-data
# seen in SharkTrchBrasil/back_end_python_fastAPI, src/core/security/hmac.py
def dumps_of_loads(request):
    data = json.loads(request.body)
    message = json.dumps(data, separators=(",", ":")).encode()  # expect: mac-over-rewritten-data
    mine = hmac.new(settings.SECRET, message, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, request.headers["X-Signature"])


# seen in gotoUSA/django-shopping-mall, shopping/utils/toss_payment.py
def read_by_the_caller(sent: dict, signature):
    text = json.dumps(sent, separators=(",", ":"), ensure_ascii=False)  # expect: mac-over-rewritten-data
    mine = hmac.new(settings.SECRET, text.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(signature, mine)


# seen in Sumiza/emailtowebhook, hmac_checker.py
def time_in_the_key(key: str, given_signature: str, sent: str, mail: dict):
    mine = hmac.digest((key + sent).encode(), json.dumps(mail).encode(), "sha256")  # expect: mac-over-rewritten-data
    return hmac.compare_digest(mine.hex(), given_signature)


# seen in bagel-dawg/github-slack-mentions, helpers/verify_webhook_secret.py
def read_before_it_came_here(given_signature, event):
    text = json.dumps(event, separators=(",", ":"))  # expect: mac-over-rewritten-data
    mine = hmac.new(settings.SECRET, text.encode(), hashlib.sha1).hexdigest()
    return mine == given_signature.removeprefix("sha1=")  # expect: mac-compared-with-equals


def without_its_signature(request):
    data = request.data
    given = data.pop("signature")
    mine = hmac.new(settings.SECRET, json.dumps(data).encode(), hashlib.sha256).hexdigest()  # expect: mac-over-rewritten-data
    return hmac.compare_digest(mine, given)


async def of_starlette(request):
    payload = await request.json()
    text = f"{request.headers['X-Time']}.{json.dumps(payload)}"  # expect: mac-over-rewritten-data
    mine = hmac.new(settings.SECRET, text.encode(), hashlib.sha512).hexdigest()
    return hmac.compare_digest(mine, request.headers["X-Signature"])


def body_model(payload, signature):
    mine = hmac.new(settings.SECRET, payload.model_dump_json().encode(), "sha256").hexdigest()  # expect: mac-over-rewritten-data
    return hmac.compare_digest(mine, signature)


# seen in mozilla/kitsune, kitsune/customercare/views.py
def raw_bytes(request):  # fine: mac-over-rewritten-data
    mine = hmac.new(settings.SECRET, request.body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, request.headers["X-Signature"]):
        return HttpResponseForbidden()
    return JsonResponse(json.loads(request.body))  # expect: body-read-again


def envelope_of_raw_bytes(request):  # fine: mac-over-rewritten-data
    signed = json.dumps({"path": request.path, "body": request.body.decode()})
    mine = hmac.new(settings.SECRET, signed.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, request.headers["X-Signature"])


# seen in makeplane/plane, apps/api/plane/bgtasks/webhook_task.py
def sent_by_us(order):  # fine: mac-over-rewritten-data
    body = json.dumps({"order": order.id}).encode()
    mac = hmac.new(settings.SECRET, body, hashlib.sha256).hexdigest()
    return requests.post(settings.URL, data=body, headers={"X-Signature": mac})


# seen in danihodovic/django-webhook, django_webhook/http.py
def sent_with_its_time(hook, payload: str, now):  # fine: mac-over-rewritten-data
    mac = hmac.new(hook.secret.encode(), f"{now}:{payload}".encode(), hashlib.sha256).hexdigest()
    return requests.post(hook.url, data=payload.encode(), headers={"X-Signature": mac})


# seen in ansible/awx, tools/scripts/post_webhook.py
def sent_by_a_script(key, sent, url):  # fine: mac-over-rewritten-data
    text = str(json.dumps(sent)).encode("utf-8", "strict")
    headers = {"X-Hub-Signature": "sha1={}".format(hmac.new(key, msg=text, digestmod=hashlib.sha1).hexdigest())}
    return requests.post(url, data=text, headers=headers)


def answer_is_written(request):  # fine: mac-over-rewritten-data
    mine = hmac.new(settings.SECRET, request.body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, request.headers["X-Signature"]):
        return HttpResponse(json.dumps({"error": "signature"}), status=401)


# mac-over-sorted-data
def sorted_model(payload: dict, signature):
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"))  # expect: mac-over-sorted-data
    mine = hmac.new(settings.SECRET, text.encode(), hashlib.sha512).hexdigest()
    return hmac.compare_digest(mine, signature)


def sorted_in_a_helper(event: dict, signature):
    return hmac.compare_digest(signed(event), signature)


def signed(event):
    return hmac.new(settings.SECRET, json.dumps(event, sort_keys=True).encode(), hashlib.sha256).hexdigest()  # expect: mac-over-sorted-data


def sorted_by_another_library(request, signature):
    data = orjson.loads(request.body)
    text = orjson.dumps(data, option=orjson.OPT_SORT_KEYS)  # expect: mac-over-sorted-data
    return hmac.compare_digest(hmac.new(settings.SECRET, text, hashlib.sha256).hexdigest(), signature)


# seen in AstroAir/feishu-webhook-bot, src/feishu_webhook_bot/automation/triggers.py
def a_digest_of_sorted(payload, signature):
    text = json.dumps(payload, sort_keys=True)  # expect: mac-over-sorted-data
    return hashlib.sha256(f"{settings.SECRET}{text}".encode()).hexdigest() == signature  # expect: mac-compared-with-equals


# seen in actuallyrizzn/nowpayments-python-sdk, nowpayments/ipn.py
def sorted_pairs(sent: dict, signature):
    text = json.dumps(dict(sorted(sent.items())), separators=(",", ":"))  # expect: mac-over-sorted-data
    return hmac.compare_digest(hmac.new(settings.SECRET, text.encode(), hashlib.sha512).hexdigest(), signature)


class Notices:
    # seen in NikolaiSch/NOWPayments-Python-API, src/nowpay/ipn.py
    def notice(self):
        sent = flask_request.json
        if flask_request.headers["x-sig"] == self.mac_of(sent):  # expect: mac-compared-with-equals
            self.succeeded(sent)

    # seen in NikolaiSch/NOWPayments-Python-API, src/nowpay/ipn.py
    def mac_of(self, sent):
        text = bytes(json.dumps(dict(sorted(sent.items()))), "utf8")  # expect: mac-over-sorted-data
        return hmac.new(self.secret, text, hashlib.sha512).hexdigest()


# seen in ryssroad/remna-tg-bot, bot/services/nowpayments_service.py
def sorted_by_hand(payload: dict, signature):
    text = json.dumps({key: payload[key] for key in sorted(payload)}, separators=(",", ":"))  # expect: mac-over-sorted-data
    return hmac.compare_digest(hmac.new(settings.SECRET, text.encode(), hashlib.sha512).hexdigest(), signature)


def sorted_and_sent(order):  # fine: mac-over-sorted-data
    body = json.dumps({"order": order.id}, sort_keys=True).encode()
    return requests.post(settings.URL, data=body, headers={"X-Signature": hmac.new(settings.SECRET, body, "sha256").hexdigest()})


def sorted_for_the_log(request, signature, log):  # fine: mac-over-sorted-data
    log.info(json.dumps(dict(request.headers), sort_keys=True))
    return hmac.compare_digest(hmac.new(settings.SECRET, request.body, hashlib.sha256).hexdigest(), signature)


def own_token_read_again(user, now):  # fine: mac-over-sorted-data
    text = json.dumps({"user": user, "now": now}, sort_keys=True)
    token = hmac.new(settings.SECRET, text.encode(), hashlib.sha256).hexdigest()
    mine = hmac.new(settings.SECRET, text.encode(), hashlib.sha256).hexdigest()
    return token, hmac.compare_digest(mine, token)


def text_of_a_token(claims):
    return base64.urlsafe_b64encode(json.dumps(claims, sort_keys=True, separators=(",", ":")).encode())


def token_of(claims):
    return text_of_a_token(claims), hmac.digest(settings.SECRET, text_of_a_token(claims), "sha256")


# seen in Asmolu/telegram-shop-platform, backend/app/core/security.py
def read_token(token):  # fine: mac-over-sorted-data, mac-over-rewritten-data
    head, claims, given = token.split(".")
    mine = hmac.new(settings.SECRET, f"{head}.{claims}".encode(), hashlib.sha256).digest()
    if not hmac.compare_digest(mine, base64.urlsafe_b64decode(given)):
        raise PermissionError
    return json.loads(base64.urlsafe_b64decode(claims))


# seen in leocxy/flask-shopify-utils, src/flask_shopify_utils/__init__.py
def sorted_query():  # fine: mac-over-sorted-data
    given = flask_request.args.get("signature", "")
    fields = {key: value for key, value in flask_request.args.items() if key != "signature"}
    text = "".join(f"{key}={fields[key]}" for key in sorted(fields))
    return hmac.compare_digest(given, hmac.new(settings.SECRET, text.encode(), hashlib.sha256).hexdigest())


# seen in pennersr/django-allauth, allauth/socialaccount/providers/telegram/views.py
def sorted_lines(fields: dict, token):  # fine: mac-over-sorted-data
    given_hash = fields.pop("hash")
    text = "\n".join(sorted(f"{key}={value}" for key, value in fields.items()))
    mine = hmac.new(hashlib.sha256(token.encode()).digest(), text.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(given_hash, mine)


# seen in contentful-labs/request-verification-examples, python/app.py
def sorted_headers(request, signature):  # fine: mac-over-sorted-data
    text = "".join(sorted(request.headers.values())).encode() + request.body
    return hmac.compare_digest(hmac.new(settings.SECRET, text, hashlib.sha256).hexdigest(), signature)


# unsigned-input-used
def path_names_the_order(request, order_id):
    mine = hmac.new(settings.SECRET, request.body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, request.headers["X-Signature"]):
        return HttpResponseForbidden()
    order = Order.objects.get(pk=order_id)  # expect: unsigned-input-used
    order.paid = True
    order.save()


def filter_by_the_path(request, invoice_id):
    raw = request.body
    mine = hmac.new(settings.SECRET, raw, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, request.headers["X-Signature"]):
        return HttpResponseForbidden()
    Invoice.objects.filter(id=invoice_id).update(paid=True)  # expect: unsigned-input-used
    return HttpResponse()


def through_a_helper(request, pk):
    if not in_constant_time(request):
        return HttpResponseForbidden()
    Invoice.objects.filter(id=pk).delete()  # expect: unsigned-input-used


@flask_request.app.route("/orders/<order_id>/cancel", methods=["POST"])
def of_flask(app, order_id):
    if not in_constant_time(flask_request):
        abort(401)
    Order.query.filter(order_id).delete()  # expect: unsigned-input-used


# seen in jenkinslisa1978-code/TrendScout, backend/routes/shopify_webhooks.py
async def header_names_the_shop(request):
    raw = await request.body()
    mine = hmac.new(settings.SECRET, raw, hashlib.sha256).digest()
    if not hmac.compare_digest(base64.b64encode(mine).decode(), request.headers.get("X-Shopify-Hmac-Sha256", "")):
        raise HTTPException(401)
    shop = request.headers.get("X-Shopify-Shop-Domain", "")
    await db.products.delete_many({"shop": shop})  # expect: unsigned-input-used
    return {}


# seen in houssainiS/BeautyAI, recommender/webhooks.py
def header_finds_the_shop(request):
    if not in_constant_time(request):
        return JsonResponse({}, status=401)
    name = request.headers.get("X-Shopify-Shop-Domain")
    if not name:
        return JsonResponse({}, status=400)
    shop = Tenant.objects.filter(domain=name).first()  # expect: unsigned-input-used
    shop.delete()
    return JsonResponse({})


# seen in vyndigital-cloud/EmployeeSuite-Production, gdpr_compliance.py
@flask_request.app.route("/shop/redact", methods=["POST"])
def header_finds_what_is_erased():
    if not in_constant_time(flask_request):
        abort(401)
    domain = flask_request.headers.get("X-Shopify-Shop-Domain", "")
    if "." not in domain:
        domain = f"{domain}.myshopify.com"
    tenant = Tenant.query.filter_by(domain=domain).first()  # expect: unsigned-input-used
    db.session.delete(tenant)
    db.session.commit()


# seen in 1droxion/winkly-backend, stripe_webhook.py
@flask_request.app.route("/stripe", methods=["POST"])
def address_gets_the_coins():
    event = stripe.Webhook.construct_event(flask_request.data, flask_request.headers["Stripe-Signature"], settings.KEY)
    sender = flask_request.remote_addr
    vips = json.load(open("vips.json"))
    if sender not in vips:
        vips[sender] = event["data"]["object"]["amount"]  # expect: unsigned-input-used
        json.dump(vips, open("vips.json", "w"))


def header_in_a_query(request, session):
    if not in_constant_time(request):
        return HttpResponseForbidden()
    tenant = request.META["HTTP_X_TENANT"]
    session.query(Order).filter(Order.tenant == tenant).delete()  # expect: unsigned-input-used


# seen in hastexo/webhook-receiver, webhook_receiver_shopify/views.py
def header_is_the_only_shop(request):  # fine: unsigned-input-used
    shop = request.headers["X-Shopify-Shop-Domain"]
    if shop != settings.SHOP:
        return HttpResponseForbidden()
    if not in_constant_time(request):
        return HttpResponseForbidden()
    Order.objects.filter(shop=shop).update(paid=True)


def header_chooses_the_key(request):  # fine: unsigned-input-used
    shop = request.headers["X-Shopify-Shop-Domain"]
    tenant = Tenant.objects.get(domain=shop)
    mine = hmac.new(tenant.secret, request.body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, request.headers["X-Signature"]):
        return HttpResponseForbidden()
    Order.objects.filter(tenant=tenant).update(paid=True)


def header_is_only_noted(request):  # fine: unsigned-input-used
    if not in_constant_time(request):
        return HttpResponseForbidden()
    shop = request.headers["X-Shopify-Shop-Domain"]
    log.info("from %s", shop)
    Order.objects.filter(pk=1).update(paid=True)


# seen in contentful-labs/request-verification-examples, python/app.py
def path_is_signed(request, order_id):  # fine: unsigned-input-used
    mine = hmac.new(settings.SECRET, request.path.encode() + request.body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, request.headers["X-Signature"]):
        return HttpResponseForbidden()
    Order.objects.filter(pk=order_id).update(paid=True)


def path_is_compared(request, order_id):  # fine: unsigned-input-used
    if not in_constant_time(request):
        return HttpResponseForbidden()
    if json.loads(request.body)["order"] != order_id:  # expect: body-read-again
        return HttpResponseForbidden()
    Order.objects.filter(pk=order_id).update(paid=True)


# seen in ansible/awx, awx/api/views/webhooks.py
def path_chooses_the_key(request, tenant_id):  # fine: unsigned-input-used
    tenant = Tenant.objects.get(pk=tenant_id)
    mine = hmac.new(tenant.secret, request.body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, request.headers["X-Signature"]):
        return HttpResponseForbidden()
    Order.objects.filter(tenant=tenant).update(paid=True)


# seen in mzmitrulevicius/nowpayments-ipn, ipn_server.py
def id_of_the_body(request):  # fine: unsigned-input-used
    if not in_constant_time(request):
        return HttpResponseForbidden()
    order_id = json.loads(request.body)["order"]  # expect: body-read-again
    Order.objects.filter(pk=order_id).update(paid=True)


# body-read-again
# seen in Asana/devrel-examples, python/webhooks_v5/server.py
def json_after_the_check():
    mine = hmac.new(settings.SECRET, flask_request.data, hashlib.sha256).hexdigest()
    if hmac.compare_digest(mine, flask_request.headers["X-Hook-Signature"]):
        print(flask_request.json["events"])  # expect: body-read-again
        return "", 200
    return "", 401


# seen in openedx/openedx-webhooks, openedx_webhooks/github_views.py
def json_after_a_helper():
    if not of_bytes(flask_request.data, flask_request.headers["X-Hub-Signature"]):
        return "signature", 403
    return flask_request.get_json()["action"]  # expect: body-read-again


def of_bytes(payload, signature):
    mine = "sha1=" + hmac.new(settings.SECRET, payload, hashlib.sha1).hexdigest()
    return hmac.compare_digest(mine.encode(), signature.encode())


# seen in hookdeck/webhook-skills, skills/vercel-webhooks/examples/fastapi/main.py
async def starlette_json_again(request):
    raw = await request.body()
    mine = hmac.new(settings.SECRET, raw, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, request.headers["X-Signature"]):
        return HttpResponseForbidden()
    return await request.json()  # expect: body-read-again


def drf_data_again(request):
    raw = request.body
    mine = hmac.new(settings.SECRET, raw, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, request.headers["X-Signature"]):
        return HttpResponseForbidden()
    data = request.data  # expect: body-read-again
    return data["id"]


def form_again(request):
    mine = hmac.new(settings.SECRET, request.get_data(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, request.headers["X-Signature"]):
        return HttpResponseForbidden()
    return request.form["id"]  # expect: body-read-again


# seen in Goldinflam/vpn-shop-bot, backend/backend/payments/cryptobot.py
def what_was_read(raw: bytes, headers):  # fine: body-read-again
    mine = hmac.new(settings.SECRET, raw, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, headers["crypto-pay-api-signature"]):
        raise PermissionError
    return json.loads(raw.decode())


# seen in gowthamnandha/django-webhook-receiver, webhook_project/webhook/views.py
def read_before(request):  # fine: body-read-again
    data = json.loads(request.body)
    if not of_bytes(request.body, request.headers["X-Signature"]):
        return HttpResponseForbidden()
    return data["type"]


# seen in myk-org/github-webhook-server, webhook_server/app.py
async def headers_and_what_was_read(request):  # fine: body-read-again
    event = request.headers.get("X-GitHub-Event")
    raw = await request.body()
    if not of_bytes(raw, request.headers.get("x-hub-signature-256")):
        return HttpResponseForbidden()
    return event, json.loads(raw)


def headers_after(request):  # fine: body-read-again
    raw = request.body
    mine = hmac.new(settings.SECRET, raw, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, request.headers["X-Signature"]):
        return HttpResponseForbidden()
    return request.headers["X-Event"]


# seen in pypi/warehouse, warehouse/admin/views/helpscout.py
def checked_and_not_used(request):  # fine: body-read-again
    mine = hmac.digest(settings.SECRET, request.body, "sha1")
    return hmac.compare_digest(mine, base64.b64decode(request.headers["X-Signature"]))
