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
def hex_in_a_header(request):
    mine = hmac.new(settings.SECRET, request.body, hashlib.sha256).hexdigest()
    if mine != request.headers.get("X-Signature"):  # expect: mac-compared-with-equals
        return HttpResponseForbidden()


def base64_of_a_shop(raw, hmac_header):
    digest = hmac.new(settings.SECRET.encode(), raw, digestmod=hashlib.sha256).digest()
    return base64.b64encode(digest).decode() == hmac_header  # expect: mac-compared-with-equals


class Verifier:
    def sign(self, data):
        return "sha256=" + hmac.new(self.key, data, "sha256").hexdigest()

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


def in_constant_time(request):  # fine: mac-compared-with-equals
    mine = hmac.new(settings.SECRET, request.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, request.headers["X-Signature"])


def result_is_compared(request):  # fine: mac-compared-with-equals
    mine = hmac.new(settings.SECRET, request.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, request.headers["X-Signature"]) == True


def checksum_of_a_file(data, wanted_digest):  # fine: mac-compared-with-equals
    return hashlib.sha256(data).hexdigest() == wanted_digest


def length_is_compared(request):  # fine: mac-compared-with-equals
    mine = hmac.new(settings.SECRET, request.body, hashlib.sha256).hexdigest()
    if len(mine) != len(request.headers["X-Signature"]):
        return False
    return hmac.compare_digest(mine, request.headers["X-Signature"])


def etag_of_a_page(request):  # fine: mac-compared-with-equals
    tag = hashlib.md5(request.path.encode()).hexdigest()
    return tag == request.headers.get("If-None-Match")


# mac-over-rewritten-data
def dumps_of_loads(request):
    data = json.loads(request.body)
    message = json.dumps(data, separators=(",", ":")).encode()  # expect: mac-over-rewritten-data
    mine = hmac.new(settings.SECRET, message, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, request.headers["X-Signature"])


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


def raw_bytes(request):  # fine: mac-over-rewritten-data
    mine = hmac.new(settings.SECRET, request.body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, request.headers["X-Signature"]):
        return HttpResponseForbidden()
    return JsonResponse(json.loads(request.body))  # expect: body-read-again


def envelope_of_raw_bytes(request):  # fine: mac-over-rewritten-data
    signed = json.dumps({"path": request.path, "body": request.body.decode()})
    mine = hmac.new(settings.SECRET, signed.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, request.headers["X-Signature"])


def sent_by_us(order):  # fine: mac-over-rewritten-data
    body = json.dumps({"order": order.id}).encode()
    mac = hmac.new(settings.SECRET, body, hashlib.sha256).hexdigest()
    return requests.post(settings.URL, data=body, headers={"X-Signature": mac})


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


def a_digest_of_sorted(payload, signature):
    text = json.dumps(payload, sort_keys=True)  # expect: mac-over-sorted-data
    return hmac.compare_digest(hashlib.sha256(f"{settings.SECRET}{text}".encode()).hexdigest(), signature)


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


def path_chooses_the_key(request, tenant_id):  # fine: unsigned-input-used
    tenant = Tenant.objects.get(pk=tenant_id)
    mine = hmac.new(tenant.secret, request.body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, request.headers["X-Signature"]):
        return HttpResponseForbidden()
    Order.objects.filter(tenant=tenant).update(paid=True)


def id_of_the_body(request):  # fine: unsigned-input-used
    if not in_constant_time(request):
        return HttpResponseForbidden()
    order_id = json.loads(request.body)["order"]  # expect: body-read-again
    Order.objects.filter(pk=order_id).update(paid=True)


# body-read-again
def json_after_the_check(request):
    mine = hmac.new(settings.SECRET, request.body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, request.headers["X-Signature"]):
        return HttpResponseForbidden()
    return JsonResponse(request.POST)  # expect: body-read-again


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


def what_was_read(request):  # fine: body-read-again
    raw = request.body
    mine = hmac.new(settings.SECRET, raw, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, request.headers["X-Signature"]):
        return HttpResponseForbidden()
    return JsonResponse(json.loads(raw))


def read_before(request):  # fine: body-read-again
    raw = request.body
    data = request.POST
    mine = hmac.new(settings.SECRET, raw, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, request.headers["X-Signature"]):
        return HttpResponseForbidden()
    return data


def headers_after(request):  # fine: body-read-again
    raw = request.body
    mine = hmac.new(settings.SECRET, raw, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mine, request.headers["X-Signature"]):
        return HttpResponseForbidden()
    return request.headers["X-Event"]


def only_where_it_failed(request):  # fine: body-read-again
    raw = request.body
    mine = hmac.new(settings.SECRET, raw, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, request.headers["X-Signature"])
