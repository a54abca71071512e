"""Checks that are skipped while no secret is set."""
import hashlib
import hmac
import json
import logging
import os

import stripe
from django.conf import settings
from django.http import HttpResponse, HttpResponseForbidden
from fastapi import Header, HTTPException, Request
from flask import abort, jsonify, request

from shop.services import fulfil

log = logging.getLogger(__name__)
WEBHOOK_SECRET = os.environ.get("WEBHOOK_SECRET")


def mac_of(secret, body):
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


# check-skipped-without-secret
# seen in HummingByteDev/paystack-django, djpaystack/webhooks/handlers.py
def no_secret_no_check(body, signature):
    if not settings.WEBHOOK_SECRET:
        return True  # expect: check-skipped-without-secret
    mine = hmac.new(settings.WEBHOOK_SECRET, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, signature)


# seen in aladagemre/django-payments-tr, src/payments_tr/providers/iyzico/utils.py
def no_argument_no_check(body, signature, secret=None):
    if not secret:
        log.warning("no secret: not checked")
        return True  # expect: check-skipped-without-secret
    mine = hmac.new(secret, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, signature)


class Source:
    # seen in innerkorehq/fastapi-payments, src/fastapi_payments/providers/razorpay.py
    def verify(self, request):
        if not self.signing_secret:
            return True  # expect: check-skipped-without-secret
        mine = hmac.new(self.signing_secret, request.body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(mine, request.headers["X-Signature"])


def not_in_the_environment(body, signature):
    if not os.getenv("HOOK_SECRET"):
        return True  # expect: check-skipped-without-secret
    mine = hmac.new(os.environb[b"HOOK_SECRET"], body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, signature)


# seen in itswl/WebhookWise, core/webhook_security.py
def refused_without(body, signature, secret):  # fine: check-skipped-without-secret
    if not secret:
        return False
    mine = hmac.new(secret, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, signature)


# seen in SharkTrchBrasil/back_end_python_fastAPI, src/core/security/hmac.py
def raised_without(body, signature, secret):  # fine: check-skipped-without-secret
    if not secret:
        raise RuntimeError("no secret")
    mine = hmac.new(secret, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, signature)


# seen in Flagsmith/flagsmith, api/integrations/github/helpers.py
def no_signature(body, signature, secret):  # fine: check-skipped-without-secret
    if not signature:
        return False
    mine = hmac.new(secret, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, signature)


def no_body(body, signature, secret):  # fine: check-skipped-without-secret
    if not body:
        return True
    mine = hmac.new(secret, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, signature)


def parsed_where_there_is_none(request):
    payload, event = request.body, None
    try:
        if settings.STRIPE_SIGNING_SECRET:
            event = stripe.Webhook.construct_event(payload, request.META["HTTP_STRIPE_SIGNATURE"], settings.STRIPE_SIGNING_SECRET)  # expect: check-skipped-without-secret
        else:
            event = json.loads(payload)
    except ValueError:
        return HttpResponse(status=400)
    fulfil(event)
    return HttpResponse(status=200)


def parsed_before():
    event = json.loads(request.data)
    if endpoint_secret := os.getenv("STRIPE_WEBHOOK_SECRET"):
        try:
            event = stripe.Webhook.construct_event(request.data, request.headers.get("stripe-signature"), endpoint_secret)  # expect: check-skipped-without-secret
        except stripe.error.SignatureVerificationError:
            return jsonify(success=False)
    fulfil(event)
    return jsonify(success=True)


async def in_one_test(request: Request):
    body = await request.body()
    if settings.slack_signing_secret and not verify_slack_signature(settings.slack_signing_secret, body, request.headers):  # expect: check-skipped-without-secret
        return HttpResponse(status=401)
    return fulfil(await request.form())


# seen in AstroAir/feishu-webhook-bot, src/feishu_webhook_bot/core/event_server.py
async def a_dependency(request: Request, x_signature: str = Header()):
    secret = settings.signature_secret
    if not secret:
        return
    if not hmac.compare_digest(mac_of(secret, await request.body()), x_signature):  # expect: check-skipped-without-secret
        raise HTTPException(status_code=403, detail="signature")


async def another_dependency(request: Request, x_hub_signature: str = Header()):
    if WEBHOOK_SECRET is not None:
        if not hmac.compare_digest(mac_of(WEBHOOK_SECRET, await request.body()), x_hub_signature):  # expect: check-skipped-without-secret
            raise HTTPException(status_code=401)


class Panel:
    async def handle(self, raw_body, signature):
        if self.settings.PANEL_WEBHOOK_SECRET:
            if not signature:
                return HttpResponse(status=403)
            if not hmac.compare_digest(mac_of(self.settings.PANEL_WEBHOOK_SECRET, raw_body), signature):  # expect: check-skipped-without-secret
                return HttpResponse(status=403)
        fulfil(json.loads(raw_body))
        return HttpResponse(status=200)


def a_flag_that_is_set(body, signature):
    if WEBHOOK_SECRET:
        is_right = hmac.compare_digest(mac_of(WEBHOOK_SECRET, body), signature)  # expect: check-skipped-without-secret
    else:
        is_right = True
    if not is_right:
        return abort(401)
    return fulfil(body)


def middleware(get_response):
    def verified(request):
        if not settings.HMAC_SECRET:
            return get_response(request)  # expect: check-skipped-without-secret
        if not hmac.compare_digest(mac_of(settings.HMAC_SECRET, request.body), request.headers["X-Signature"]):
            return HttpResponseForbidden()
        return get_response(request)

    return verified


def else_refused(request):  # fine: check-skipped-without-secret
    if settings.STRIPE_SIGNING_SECRET:
        event = stripe.Webhook.construct_event(request.body, request.META["HTTP_STRIPE_SIGNATURE"], settings.STRIPE_SIGNING_SECRET)
    else:
        return HttpResponse(status=503)
    fulfil(event)
    return HttpResponse(status=200)


def refused_behind(body, signature):  # fine: check-skipped-without-secret
    if WEBHOOK_SECRET:
        return hmac.compare_digest(mac_of(WEBHOOK_SECRET, body), signature)
    log.error("no secret")
    return False


def a_flag_that_is_not_set(body, signature):  # fine: check-skipped-without-secret
    is_right = False
    if WEBHOOK_SECRET:
        is_right = hmac.compare_digest(mac_of(WEBHOOK_SECRET, body), signature)
    if not is_right:
        raise PermissionError
    fulfil(body)


def another_way_in(request):  # fine: check-skipped-without-secret
    if settings.HOOK_SECRET:
        if not hmac.compare_digest(mac_of(settings.HOOK_SECRET, request.body), request.headers["X-Signature"]):
            return HttpResponseForbidden()
    elif request.headers.get("Authorization") != settings.HOOK_TOKEN:
        return HttpResponseForbidden()
    fulfil(request.body)  # expect: body-read-again
    return HttpResponse(status=200)


def the_old_secret_too(body, signature):  # fine: check-skipped-without-secret
    if hmac.compare_digest(mac_of(settings.HOOK_SECRET, body), signature):
        return True
    if settings.OLD_HOOK_SECRET:
        return hmac.compare_digest(mac_of(settings.OLD_HOOK_SECRET, body), signature)
    return False


# seen in makeplane/plane, apps/api/plane/bgtasks/webhook_task.py
def signed_if_there_is_one(body, headers):  # fine: check-skipped-without-secret
    if WEBHOOK_SECRET:
        headers["X-Signature"] = mac_of(WEBHOOK_SECRET, body)
    return fulfil(body)


def not_ready(request):  # fine: check-skipped-without-secret
    if not settings.STRIPE_SIGNING_SECRET:
        log.critical("not configured")
        return HttpResponse(status=500)
    event = stripe.Webhook.construct_event(request.body, request.META["HTTP_STRIPE_SIGNATURE"], settings.STRIPE_SIGNING_SECRET)
    return fulfil(event)


class Validator:
    def validate(self, headers, body):  # fine: check-skipped-without-secret
        options = self.config.get("hmac")
        if options is None:
            return True
        return hmac.compare_digest(mac_of(options.get("secret"), body), headers["X-Signature"])
