"""Names that imports give to things: each rule knows them."""
import hashlib as h
import hmac as m
import os.path as p
import time as clock
from datetime import datetime as dt, timedelta
from hmac import compare_digest as eq, new as mac
from os import environ as env

import stripe as pay
from django.core.cache import cache as kept
from django.db import transaction as tx
from django.utils import timezone as tz

from shop.models import Order, Post
from shop.tasks import fulfil

SECRET = env.get("ALIASED_WEBHOOK_SECRET", "dev")  # expect: secret-has-default
try:
    import simplejson as json
except ImportError:
    import json


def whole_module(request, key):
    mine = m.new(key, request.body, h.sha256).hexdigest()
    return mine == request.headers["X-Signature"]  # expect: mac-compared-with-equals


def one_part(request, key):
    mine = mac(key, request.body, "sha256").hexdigest()
    return request.headers["X-Signature"] == mine  # expect: mac-compared-with-equals


def inside_a_function(request, key):
    import hmac as _hmac

    return _hmac.new(key, request.body, h.sha256).hexdigest() == request.headers["X-Signature"]  # expect: mac-compared-with-equals


def a_keyed_digest(request, secret_key):
    return h.sha256(secret_key + request.body).hexdigest() == request.headers["X-Signature"]  # expect: mac-compared-with-equals


def own_clock(request, key):
    now = str(int(clock.time()))
    return eq(mac(key, now.encode() + request.body, h.sha256).hexdigest(), request.headers["X-Signature"])  # expect: signed-time-is-own-clock


def one_side(timestamp, body, signature, key):
    if dt.now() - dt.fromtimestamp(int(timestamp)) > timedelta(minutes=5):
        return False
    return eq(mac(key, f"{timestamp}.{body}".encode(), h.sha256).hexdigest(), signature)  # expect: time-compared-on-one-side


def of_another_module(timestamp, body, signature, key):
    if tz.now() - timestamp > timedelta(minutes=5):
        return False
    return eq(mac(key, f"{timestamp}.{body}".encode(), h.sha256).hexdigest(), signature)  # expect: time-compared-on-one-side


def in_two_steps(nonce):
    if kept.get(f"nonce:{nonce}"):
        return False
    kept.set(f"nonce:{nonce}", 1, 600)  # expect: used-get-then-set
    return True


def a_library(request):
    try:
        pay.Webhook.construct_event(request.body, request.headers["Stripe-Signature"], SECRET)
    except Exception:  # expect: failed-check-passes
        pass
    fulfil(request.body)


def a_path(name):
    if p.exists(name):
        return open(name).read()  # expect: file-exists-then-opened
    return None


def in_a_transaction(pk):
    with tx.atomic():
        order = Order.objects.select_for_update().get(pk=pk)
        if order.status == "open":
            order.status = "paid"
            order.save()


def a_variable_of_that_name(m, body, signature):
    return m.new(body) == signature


def two_libraries_of_one_name(payload, signature, key):
    mine = mac(key, json.dumps(payload).encode(), h.sha256).hexdigest()  # expect: mac-over-rewritten-data
    return eq(mine, signature)
