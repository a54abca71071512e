"""Faults and clean code in other spellings than those of their rules' files."""
import hashlib
import hmac
import json
import os

import stripe
from django.core.cache import cache
from flask import abort

from shop import settings
from shop.schema import Invite, Member, Ticket, db
from shop.services import fulfil


# mac-compared-with-equals
# seen in hookdeck/webhook-skills, skills/clerk-webhooks/examples/fastapi/main.py
def one_of_several(payload, signatures):
    mine = hmac.new(settings.KEY, payload, hashlib.sha256).hexdigest()
    return mine in signatures  # expect: mac-compared-with-equals


def noted_and_returned(request):
    mac = hmac.new(settings.KEY, request.get_data(), hashlib.sha512)
    is_good = True
    if mac.hexdigest() != request.headers.get("X-Shop-Signature"):  # expect: mac-compared-with-equals
        is_good = False
    return is_good


def tag_of_a_page(request, page):  # fine: mac-compared-with-equals
    tag = hmac.new(settings.KEY, page, hashlib.sha256).hexdigest()
    return request.headers.get("If-None-Match") == tag


def name_of_a_host(salt, host, given_hash):  # fine: mac-compared-with-equals
    return hmac.new(salt, host.encode(), hashlib.sha1).digest() == given_hash


# used-get-then-set: through helpers
def was_seen(event):
    return cache.get(f"event:{event}") is not None


# seen in pennersr/django-allauth, allauth/mfa/totp/internal/auth.py
def remember(event):
    cache.set(f"event:{event}", 1, 86400)  # expect: used-get-then-set


def taken_once(event):
    if was_seen(event):
        return False
    remember(event)
    return True


# seen in searxng/searxng, searx/botdetection/link_token.py
def renewed(event):  # fine: used-get-then-set
    if not cache.get(f"event:{event}"):
        return False
    cache.set(f"event:{event}", 1, 600)
    return True


# seen in netbox-community/netbox, netbox/core/views.py
def a_failure_is_kept(source):  # fine: used-get-then-set
    failed = cache.get("catalog-failed")
    if not failed:
        found = source.read()
        if not found:
            cache.set("catalog-failed", True, 300)


def of_two_events(event, other):  # fine: used-get-then-set
    if was_seen(event):
        return False
    cache.set(f"event:{other}", 1, 86400)
    return True


# secret-has-default
# seen in miguelgrinberg/microblog, config.py
SIGNER_SECRET = os.environ.get("SIGNER_SECRET") or "not-for-production"  # expect: secret-has-default
QUEUE_NAME = os.environ.get("QUEUE_NAME") or "default"  # fine: secret-has-default


# failed-check-passes
def read_anyway(payload, header):
    try:
        event = stripe.Webhook.construct_event(payload, header, settings.KEY)
    except Exception:  # expect: failed-check-passes
        event = json.loads(payload)
    fulfil(event)


def refused_and_noted(payload, header):  # fine: failed-check-passes
    try:
        event = stripe.Webhook.construct_event(payload, header, settings.KEY)
    except Exception:
        event = None
    if event:
        fulfil(event)


# checked-then-changed: Flask-SQLAlchemy
def admit(ticket_id, count):
    ticket = Ticket.query.get_or_404(ticket_id)
    if ticket.remaining < count:
        abort(409)
    ticket.remaining = ticket.remaining - count  # expect: checked-then-changed
    db.session.commit()


def admit_locked(ticket_id, count):  # fine: checked-then-changed
    ticket = Ticket.query.filter_by(id=ticket_id).with_for_update().first_or_404()
    if ticket.remaining < count:
        abort(409)
    ticket.remaining = ticket.remaining - count
    db.session.commit()


# unique-checked-then-inserted: Flask-SQLAlchemy
def join(form):
    if Member.query.filter_by(email=form.email).first():
        return "taken"
    member = Member(email=form.email)
    db.session.add(member)  # expect: unique-checked-then-inserted
    db.session.commit()
    return "joined"


def invite(form):  # fine: unique-checked-then-inserted
    member = Member.query.filter_by(email=form.email).first()
    if member is None:
        abort(404)
    db.session.add(Invite(member=member))
    db.session.commit()
