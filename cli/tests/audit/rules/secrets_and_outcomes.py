"""Secrets in code, and checks whose result does not count."""
import hashlib
import hmac
import logging
import os

import stripe
from django.conf import settings
from django.http import HttpResponse
from svix.webhooks import Webhook, WebhookVerificationError

from shop.services import fulfil

log = logging.getLogger(__name__)

# secret-has-default
HOOK_SECRET = os.environ.get("PAYMENT_WEBHOOK_SECRET", "")  # fine: secret-has-default
SIGNING = os.getenv("SIGNING_SECRET", "change-me")  # expect: secret-has-default
HMAC_KEY = config("HMAC_KEY", default="dev")  # expect: secret-has-default
LOCAL = os.getenv("LOCAL_SIGNING_SECRET", "local-secret")  # expect: secret-has-default


def late():
    return os.environ.get("STRIPE_WEBHOOK_SECRET", default="whsec_test")  # expect: secret-has-default


REQUIRED = os.environ["WEBHOOK_SECRET"]  # fine: secret-has-default
OPTIONAL = os.environ.get("WEBHOOK_SECRET")  # fine: secret-has-default
NOWHERE = os.environ.get("WEBHOOK_SECRET", None)  # fine: secret-has-default
WHERE = os.environ.get("SECRET_FILE", "/run/secrets/hmac")  # fine: secret-has-default
PORT = os.environ.get("PORT", "8000")  # fine: secret-has-default
OF_A_LOGIN = os.environ.get("SOCIAL_CLIENT_SECRET", "")  # fine: secret-has-default
LATER_SECRET = os.environ.get("LATER_WEBHOOK_SECRET", "")  # fine: secret-has-default


def with_the_later(body, signature):
    if not LATER_SECRET:
        raise ValueError("no secret")
    return hmac.compare_digest(hmac.new(LATER_SECRET, body, hashlib.sha256).digest(), signature)


# secret-in-code
def a_literal(body):
    return hmac.new(b"a secret of the service", body, hashlib.sha256).digest()  # expect: secret-in-code


KEY = "another secret"


def a_constant(body):
    return hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest()  # expect: secret-in-code


def a_local(body):
    key = "one more secret"
    return hmac.new(key.encode("utf-8"), body, "sha256").digest()  # expect: secret-in-code


def of_bytes(body):
    return hmac.new(bytes("the secret", "utf-8"), msg=body, digestmod="sha256").digest()  # expect: secret-in-code


def of_settings(body):  # fine: secret-in-code
    return hmac.new(settings.KEY.encode(), body, hashlib.sha256).digest()


def a_parameter(body, key):  # fine: secret-in-code
    return hmac.new(key, body, hashlib.sha256).digest()


def derived_as_a_cloud_does(secret, day):  # fine: secret-in-code
    return hmac.new(("AWS4" + secret).encode(), day.encode(), hashlib.sha256).digest()


def with_a_public_salt(user):  # fine: secret-in-code
    return salted_hmac("shop.mail", user.email).hexdigest()


def derived_as_a_messenger_does(token):  # fine: secret-in-code
    return hmac.new(b"WebAppData", token.encode(), hashlib.sha256).digest()


# failed-check-passes
def caught_and_logged(request):
    try:
        event = stripe.Webhook.construct_event(request.body, request.headers["Stripe-Signature"], settings.KEY)
    except stripe.SignatureVerificationError:  # expect: failed-check-passes
        log.warning("signature")
    fulfil(request.body)


def caught_and_passed(request):
    try:
        Webhook(settings.KEY).verify(request.body, request.headers)
    except WebhookVerificationError:  # expect: failed-check-passes
        pass
    fulfil(request.body)


def raises_inside(request):
    try:
        mine = hmac.new(settings.KEY, request.body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(mine, request.headers["X-Signature"]):
            raise ValueError("signature")
    except Exception as error:  # expect: failed-check-passes
        log.exception(error)
    fulfil(request.body)  # expect: body-read-again


def true_if_it_breaks(request):
    try:
        mine = hmac.new(settings.KEY, request.body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(mine, request.headers["X-Signature"]):
            raise ValueError("signature")
        return True
    except Exception:  # expect: failed-check-passes
        return True


def caught_and_refused(request):  # fine: failed-check-passes
    try:
        stripe.Webhook.construct_event(request.body, request.headers["Stripe-Signature"], settings.KEY)
    except stripe.SignatureVerificationError:
        return HttpResponse(status=400)
    fulfil(request.body)


def caught_and_raised(request):  # fine: failed-check-passes
    try:
        Webhook(settings.KEY).verify(request.body, request.headers)
    except WebhookVerificationError as error:
        log.warning("signature")
        raise PermissionError from error
    fulfil(request.body)


def caught_and_false(request):  # fine: failed-check-passes
    try:
        mine = hmac.new(settings.KEY, request.body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(mine, request.headers["X-Signature"])
    except Exception:
        return False


def another_fault(request):  # fine: failed-check-passes
    try:
        stripe.Webhook.construct_event(request.body, request.headers["Stripe-Signature"], settings.KEY)
    except KeyError:
        log.warning("no header")
    fulfil(request.body)
