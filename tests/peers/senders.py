"""The packages of senders: each that can sign sends the deliveries that standard input describes, and each
verifies those that come to a server of this script's own, by the first segment of their path. Ends
with standard input."""

import json
import sys
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qsl

import razorpay
import requests
import stripe
from box_sdk_gen import WebhooksManager
from box_sdk_gen.internal.utils import compute_webhook_signature
from coinbase_commerce.error import SignatureVerificationError
from coinbase_commerce.webhook import WebhookSignature
from openai import InvalidWebhookSignatureError, OpenAI
from slack_sdk.signature import SignatureVerifier
from standardwebhooks import Webhook, WebhookVerificationError
from twilio.request_validator import RequestValidator

SECRETS = json.loads(sys.argv[1])


class Stripe:
    secret = SECRETS["stripe"]

    def sign(self, delivery):
        header = stripe.WebhookSignature.generate_signature_header(
            delivery["body"], self.secret, delivery["time"]
        )
        return delivery["url"], {"stripe-signature": header}

    def verify(self, url, headers, body):
        try:
            stripe.Webhook.construct_event(body, headers["stripe-signature"], self.secret)
        except stripe.SignatureVerificationError:
            return False
        return True


class StandardWebhooks:
    webhook = Webhook(SECRETS["standardwebhooks"])

    def sign(self, delivery):
        time = datetime.fromtimestamp(delivery["time"], tz=timezone.utc)
        return delivery["url"], {
            "webhook-id": delivery["id"],
            "webhook-timestamp": str(delivery["time"]),
            "webhook-signature": self.webhook.sign(delivery["id"], time, delivery["body"]),
        }

    def verify(self, url, headers, body):
        try:
            self.webhook.verify(body, dict(headers))
        except WebhookVerificationError:
            return False
        return True


class Slack:
    verifier = SignatureVerifier(SECRETS["slack"])

    def sign(self, delivery):
        time = str(delivery["time"])
        return delivery["url"], {
            "x-slack-request-timestamp": time,
            "x-slack-signature": self.verifier.generate_signature(
                timestamp=time, body=delivery["body"]
            ),
        }

    def verify(self, url, headers, body):
        return self.verifier.is_valid_request(body, dict(headers))


class Twilio:
    validator = RequestValidator(SECRETS["twilio"])

    def sign(self, delivery):
        url, body, form = delivery["url"], delivery["body"], {}
        if is_form(delivery["content_type"]):
            form = dict(parse_qsl(body, keep_blank_values=True))
        else:
            url += "&bodySHA256=" + self.validator.compute_hash(body)
        return url, {"x-twilio-signature": self.validator.compute_signature(url, form)}

    def verify(self, url, headers, body):
        body = body.decode()
        if is_form(headers["content-type"]):
            body = dict(parse_qsl(body, keep_blank_values=True))
        return self.validator.validate(url, body, headers["x-twilio-signature"])


class Razorpay:
    utility = razorpay.Client(auth=("id", "secret")).utility

    def verify(self, url, headers, body):
        signature = headers["x-razorpay-signature"]
        try:
            self.utility.verify_webhook_signature(
                body.decode(), signature, SECRETS["razorpay"]
            )
        except razorpay.errors.SignatureVerificationError:
            return False
        return True


class CoinbaseCommerce:
    def verify(self, url, headers, body):
        signature = headers["x-cc-webhook-signature"]
        try:
            WebhookSignature.verify_sig_header(
                body.decode(), signature, SECRETS["coinbase-commerce"]
            )
        except SignatureVerificationError:
            return False
        return True


class Box:
    secret = SECRETS["box"]
    # Beside the signature, and not signed.
    version = {"box-signature-version": "1", "box-signature-algorithm": "HmacSHA256"}

    def sign(self, delivery):
        time = datetime.fromtimestamp(delivery["time"], tz=timezone.utc)
        headers = self.version | {"box-delivery-timestamp": time.isoformat()}
        signature = compute_webhook_signature(delivery["body"], headers, self.secret)
        return delivery["url"], headers | {"box-signature-primary": signature}

    def verify(self, url, headers, body):
        headers = {name.lower(): value for name, value in headers.items()} | self.version
        return WebhooksManager.validate_message(body.decode(), headers, self.secret)


class OpenAi:
    webhooks = OpenAI(api_key="none", webhook_secret=SECRETS["openai"]).webhooks

    def verify(self, url, headers, body):
        try:
            self.webhooks.verify_signature(body, dict(headers))
        except InvalidWebhookSignatureError:
            return False
        return True


def is_form(content_type):
    return content_type == "application/x-www-form-urlencoded"


SENDERS = {
    "box": Box(),
    "coinbase-commerce": CoinbaseCommerce(),
    "openai": OpenAi(),
    "razorpay": Razorpay(),
    "slack": Slack(),
    "standardwebhooks": StandardWebhooks(),
    "stripe": Stripe(),
    "twilio": Twilio(),
}


def sign_and_send(delivery):
    url, headers = SENDERS[delivery["sender"]].sign(delivery)
    headers |= {"content-type": delivery["content_type"], "x-other": "1"}
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(url, delivery["body"].encode(), headers=headers, timeout=20)
    return {"status": answer.status_code, "body": answer.text}


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        url = f"http://{self.headers['host']}{self.path}"
        try:
            sender = SENDERS[self.path.split("/")[1]]
            status, answer = (200 if sender.verify(url, self.headers, body) else 401), ""
        except Exception as error:
            status, answer = 500, f"{type(error).__name__}: {error}"
        self.send_response(status)
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps({"port": server.server_port}), flush=True)
for line in sys.stdin:
    try:
        answer = sign_and_send(json.loads(line))
    except Exception as error:
        answer = {"status": 0, "body": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
