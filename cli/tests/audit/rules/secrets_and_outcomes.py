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

# seen in mitchellvandusen-cell/Flask-Webhook, main.py
app.secret_key = os.getenv("SESSION_SECRET", "not-a-secret-at-all")  # expect: secret-has-default

# seen in gowthamnandha/django-webhook-receiver, webhook_project/webhook_project/settings.py
SENDERS = {"default": {"secret": os.environ.get("DEFAULT_WEBHOOK_SECRET", "change-me"), "header": "X-Signature"}}  # expect: secret-has-default

# seen in django-oscar/django-oscar, sandbox/settings.py
SECRET_KEY = env.str("SHOP_SECRET_KEY", default="k4f0w9ejd02k1ls8")  # expect: secret-has-default

HMAC_KEY = config("HMAC_KEY", default="dev")  # expect: secret-has-default
LOCAL = os.getenv("LOCAL_SIGNING_SECRET", "local-secret")  # expect: secret-has-default


def late():
    return os.environ.get("STRIPE_WEBHOOK_SECRET", default="whsec_test")  # expect: secret-has-default


REQUIRED = os.environ["WEBHOOK_SECRET"]  # fine: secret-has-default

# seen in nahusznaj/validate_slack_requests, validate_slack_request.py
OPTIONAL = os.getenv("signing_secret")  # fine: secret-has-default

NOWHERE = os.environ.get("WEBHOOK_SECRET", None)  # fine: secret-has-default
WHERE = os.environ.get("SECRET_FILE", "/run/secrets/hmac")  # fine: secret-has-default
PORT = os.environ.get("PORT", "8000")  # fine: secret-has-default
OF_A_LOGIN = os.environ.get("SOCIAL_CLIENT_SECRET", "")  # fine: secret-has-default

# seen in SharkTrchBrasil/back_end_python_fastAPI, src/core/security/hmac.py
LATER_SECRET = os.environ.get("LATER_WEBHOOK_SECRET", "")  # fine: secret-has-default


def with_the_later(body, signature):
    if not LATER_SECRET:
        raise ValueError("no secret")
    return hmac.compare_digest(hmac.new(LATER_SECRET, body, hashlib.sha256).digest(), signature)


# secret-in-code
def a_literal(body):
    return hmac.new(b"a secret of the service", body, hashlib.sha256).digest()  # expect: secret-in-code


KEY = "another secret"


# seen in button/webhook-test-apps, python/index.py
def a_constant(body):
    return hmac.new(KEY, body, hashlib.sha256).hexdigest()  # expect: secret-in-code


KEY_OF_BYTES = b"bm90IGEgc2VjcmV0"


# seen in mzmitrulevicius/nowpayments-ipn, ipn_server.py
def a_constant_of_bytes(request):
    mine = hmac.new(KEY_OF_BYTES, request.get_data(), hashlib.sha512).hexdigest()  # expect: secret-in-code
    return hmac.compare_digest(mine, request.headers["X-Signature"])


# seen in Volodya520/dingdingProject, 1/pra.py
def a_local(sent):
    key = "one more secret"
    text = "{}\n{}".format(sent, key)
    return hmac.new(key.encode("utf-8"), text.encode(), digestmod="sha256").digest()  # expect: secret-in-code


# seen in tuwhit/eagles_project, slackbot/verify_requests.py
def of_bytes(body):
    return hmac.new(bytes("the secret", "utf-8"), msg=body, digestmod="sha256").digest()  # expect: secret-in-code


# seen in paperless-ngx/paperless-ngx, src/paperless/celery.py
def of_settings(body):  # fine: secret-in-code
    return hmac.new(settings.KEY.encode(), body, hashlib.sha256).digest()


# seen in openedx/ecommerce, ecommerce/extensions/payment/helpers.py
def a_parameter(body, key):  # fine: secret-in-code
    return hmac.new(key, body, hashlib.sha256).digest()


# seen in liberapay/liberapay.com, liberapay/utils/__init__.py
def derived_as_a_cloud_does(secret, day):  # fine: secret-in-code
    return hmac.new(("AWS4" + secret).encode(), day.encode(), hashlib.sha256).digest()


def with_a_public_salt(user):  # fine: secret-in-code
    return salted_hmac("shop.mail", user.email).hexdigest()


# seen in Asmolu/telegram-shop-platform, backend/app/modules/auth/telegram.py
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


# seen in stripe/stripe-python, examples/webhooks.py
def caught_and_refused(request):  # fine: failed-check-passes
    try:
        stripe.Webhook.construct_event(request.body, request.headers["Stripe-Signature"], settings.KEY)
    except stripe.SignatureVerificationError:
        return HttpResponse(status=400)
    fulfil(request.body)


# seen in anymail/django-anymail, anymail/webhooks/resend.py
def caught_and_raised(request):  # fine: failed-check-passes
    try:
        Webhook(settings.KEY).verify(request.body, request.headers)
    except WebhookVerificationError as error:
        log.warning("signature")
        raise PermissionError from error
    fulfil(request.body)


# seen in ansible/awx, awx/main/utils/licensing.py
def caught_and_named(key, archive, buffer):  # fine: failed-check-passes
    listed, signature = archive.open("listed.zip").read(), archive.open("signature").read()
    try:
        key.verify(signature, listed, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature as error:
        raise ValueError("not signed") from error
    buffer.write(listed)


# seen in Synderis/ecommerce_site, backend/stripe_webhook.py
async def caught_each_for_itself(request):  # fine: failed-check-passes
    body = await request.body()
    try:
        event = stripe.Webhook.construct_event(body, request.headers.get("stripe-signature"), settings.KEY)
    except ValueError as error:
        raise HTTPException(status_code=400, detail="not JSON") from error
    except stripe.error.SignatureVerificationError as error:
        raise HTTPException(status_code=400, detail="not signed") from error
    if event["type"] == "checkout.session.completed":
        fulfil(event["data"]["object"])


def caught_and_false(request):  # fine: failed-check-passes
    try:
        mine = hmac.new(settings.KEY, request.body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(mine, request.headers["X-Signature"])
    except Exception:
        return False


# seen in getsentry/sentry, src/sentry/integrations/github_enterprise/webhook.py
def no_header_no_check(request):
    try:
        kind, given = request.META["HTTP_X_HUB_SIGNATURE"].split("=", 1)
        mine = hmac.new(settings.KEY, request.body, kind).hexdigest()
        if not hmac.compare_digest(mine, given):
            return HttpResponse(status=401)
    except (KeyError, IndexError) as error:  # expect: failed-check-passes
        log.info("unsigned", extra={"error": str(error)})
    shop_events.handle(request)
    return HttpResponse(status=204)


def no_header_in_stripes_name(request):
    try:
        stripe.Webhook.construct_event(request.body, request.headers["Stripe-Signature"], settings.KEY)
    except KeyError:  # expect: failed-check-passes
        log.warning("no header")
    fulfil(request.body)


# seen in Anudeep28/Diecast_cars_pro, inventory/views.py
def paid_in_test_mode(request, gateway):
    try:
        is_signed = gateway.verify_payment_signature(request.POST["payment"], request.POST["signature"])
        if not is_signed:  # expect: failed-check-passes
            print("not signed, going on for the test")
    except Exception as error:  # expect: failed-check-passes
        print("not checked, going on for the test", error)
    member = Member.objects.get(pk=request.user.pk)
    member.is_paid = True
    member.save()


# seen in waltherB/mobilepay_vipps, models/vipps_webhook_security.py
class Gate:
    def _signature(self, payload, header):
        mine = hmac.new(self.key, payload, hashlib.sha256).hexdigest()
        if hmac.compare_digest(mine, header):
            return {"valid": True}
        return {"valid": False, "error": "signature"}
    def admit(self, payload, header):
        outcome = {"admitted": False, "warnings": []}
        signature = self._signature(payload, header)
        log.info("signature: %s", signature)
        if not signature["valid"]:  # expect: failed-check-passes
            log.warning("for now, let through: %s", signature.get("error"))
            outcome["warnings"].append("signature")
        outcome["admitted"] = True
        return outcome


# seen in eltibe/slack-fathom-crono, src/slack_webhook_handler.py
@app.route("/commands", methods=["POST"])
def command_of_slack():
    if not verify_slack_request(request):  # expect: failed-check-passes
        log.warning("signature, let through to find out why")
    name = request.form.get("command")
    if name == "/orders":
        orders.show(request.form["user_id"])
    return "", 200


def noted_on_both_sides(body, given):
    mine = hmac.new(settings.KEY, body, hashlib.sha256).hexdigest()
    is_right = hmac.compare_digest(mine, given)
    if is_right:  # expect: failed-check-passes
        log.info("right")
    else:
        log.warning("wrong")
    fulfil(body)


def told_and_returned(body, given):  # fine: failed-check-passes
    mine = hmac.new(settings.KEY, body, hashlib.sha256).hexdigest()
    is_right = hmac.compare_digest(mine, given)
    if not is_right:
        log.warning("wrong")
    log.info("checked")
    return is_right


def told_and_asked_again(body, given, store):  # fine: failed-check-passes
    mine = hmac.new(settings.KEY, body, hashlib.sha256).hexdigest()
    is_right = hmac.compare_digest(mine, given)
    if not is_right:
        log.warning("wrong")
    store.note("seen")
    if is_right:
        fulfil(body)


def told_at_the_end(body, given):  # fine: failed-check-passes
    mine = hmac.new(settings.KEY, body, hashlib.sha256).hexdigest()
    if hmac.compare_digest(mine, given):
        fulfil(body)
    else:
        log.warning("wrong")
    return HttpResponse()


def all_of_it_in_the_try(request):  # fine: failed-check-passes
    try:
        event = stripe.Webhook.construct_event(request.body, request.headers["Stripe-Signature"], settings.KEY)
        fulfil(event)
    except Exception as error:
        log.exception(error)
    return HttpResponse()


# seen in CarmineRinaldi/football_bot, stripe_payments.py
def event_or_nothing(request):  # fine: failed-check-passes
    event = None
    try:
        event = stripe.Webhook.construct_event(request.data, request.headers.get("stripe-signature"), settings.KEY)
    except Exception as error:
        print("not signed", error)
    return event


def asks_for_the_event(request):  # fine: failed-check-passes
    event = event_or_nothing(request)
    if not event:
        return "", 400
    fulfil(event)
    return "", 200


# seen in python-discord/bot, bot/exts/backend/branding/_cog.py
class Daemon:  # fine: failed-check-passes
    async def look(self):
        for folder in await self.folders():
            self.events.append(await self.construct_event(folder))
    async def run(self):
        try:
            await self.look()
        except Exception:
            log.exception("daemon")
    async def start(self):
        await self.run()
        self.timer.start()
