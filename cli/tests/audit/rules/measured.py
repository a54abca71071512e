"""What public code taught the rules. Each case is written again in own words."""
import hashlib
import hmac
import os

from django.core.cache import cache
from django.db import models, transaction
from django.shortcuts import get_object_or_404
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from shop.errors import Refused
from shop.models import Job, Message, Order, Product, Role, Tab, User
from shop.tasks import ship


# A digest is a MAC only if a secret is a piece of its text.
class Screens:
    def hash_of(self, text):
        return hashlib.md5(text.encode()).hexdigest()

    async def render(self, model):
        salted = self.salt + model.title
        return f"{salted.upper()} {now()}"

    # seen in dcfrqb/vpn-bot, src/app/ui/screen_manager.py
    async def show(self, model, last_hash):  # fine: mac-compared-with-equals, signed-time-is-own-clock
        text = await self.render(model)
        return self.hash_of(text) == last_hash


def md5_of(text):
    return hashlib.md5(text.encode()).hexdigest()


def through_a_helper(fields, sign, api_secret):
    text = "&".join(f"{k}={v}" for k, v in sorted(fields.items()))
    return md5_of(text + api_secret) == sign  # expect: mac-compared-with-equals


# secret-in-code: the key is public by a standard, and the message is the secret.
# seen in bigidulka/crypto-payment-gateway, src/crypto/hd_wallet.py
def master_of_a_wallet(wallet):  # fine: secret-in-code
    return hmac.new(b"Bitcoin seed", wallet.seed, hashlib.sha512).digest()


# seen in bigidulka/crypto-payment-gateway, src/crypto/solana_wallet.py
def of_a_curve(self):  # fine: secret-in-code
    return hmac.new(b"ed25519 chain", self.mnemonic, hashlib.sha512).digest()


def tries_itself():  # fine: secret-in-code
    return hmac.new(b"Jefe", b"what do ya want for nothing?", hashlib.sha256).hexdigest()


HASH_SALT = "of all names"


def name_without_a_name(email):  # fine: secret-in-code
    return hmac.new(HASH_SALT.encode(), email.encode(), hashlib.sha256).hexdigest()


# secret-has-default
# seen in nelsonboulangerie/django-shopman, config/settings.py
SECRET_DIR = os.environ.get("RUNTIME_SECRET_DIR", "/tmp/secrets")  # fine: secret-has-default
SECRET_PLACE = os.environ.get("SIGNING_SECRET_PLACE", "/etc/signing")  # fine: secret-has-default


# seen in matanmalka1/binder-billing-crm, scripts/run.py
def start_a_child():  # fine: secret-has-default
    return {**os.environ, "JWT_SECRET": os.environ.get("JWT_SECRET", "dev-only")}


def a_record_alone():
    return {"JWT_SECRET": os.environ.get("JWT_SECRET", "dev-only")}  # expect: secret-has-default


class Settings(BaseSettings):
    payment_secret: str = "change-me"  # expect: secret-has-default
    webhook_secret: str = Field(default="")  # expect: secret-has-default
    session_secret: SecretStr = SecretStr("development")  # expect: secret-has-default
    hmac_secret: str = Field("local", description="signs requests")  # expect: secret-has-default
    needed_secret: str  # fine: secret-has-default
    no_secret: str | None = None  # fine: secret-has-default
    checked_secret: str = "change-me"  # fine: secret-has-default
    secret_file: str = "/run/secrets/hmac"  # fine: secret-has-default
    secret_header: str = "X-Secret"  # fine: secret-has-default

    @field_validator("checked_secret")
    @classmethod
    def is_set(cls, value):
        if value == "change-me":
            raise ValueError("set it")
        return value


class Shown:
    shown_secret: str = "not of a setting"  # fine: secret-has-default


# checked-then-changed
# seen in horilla-opensource/horilla, leave/views.py
def ship_if_paid(request, pk):
    order = Order.objects.get(pk=pk)
    if order.status == "paid":
        ship.delay(pk)
        order.status = "shipped"
        order.save()  # expect: checked-then-changed


# seen in rissets/django-payment-midtrans, example/shop/views.py
def ship_and_take(request, pk):
    order = Order.objects.get(pk=pk)
    if order.state == Order.PAID:
        order.state = Order.SHIPPED
        order.save()  # expect: checked-then-changed
        Message.objects.create(order=order)


# seen in healthchecks/healthchecks, hc/api/views.py
def pause(request, code):
    order = get_object_or_404(Order, code=code)
    if order.status == "paused":
        return
    Change.objects.create(order=order, to="paused")
    order.status = "paused"
    order.save(update_fields=("status",))  # expect: checked-then-changed


# seen in paperless-ngx/paperless-ngx, src/documents/views.py
class Bundles:
    def rebuild(self, request, pk=None):
        bundle = self.get_object()
        if bundle.status == Bundle.PROCESSING:
            raise Refused
        bundle.remove_file()
        bundle.status = Bundle.PENDING
        bundle.file_path = ""
        bundle.save(update_fields=["status", "file_path"])  # expect: checked-then-changed


def only_one_step_further(request, pk):  # fine: checked-then-changed
    order = Order.objects.get(pk=pk)
    if order.status == "paid":
        order.status = "shipped"
        order.save()


@transaction.atomic
def ship_a_locked_row(request, pk):  # fine: checked-then-changed
    order = Order.objects.select_for_update().get(pk=pk)
    if order.status == "paid":
        order.status = "shipped"
        order.save()
        Message.objects.create(order=order)


# seen in SharkTrchBrasil/back_end_python_fastAPI, src/api/app/services/customer_order_service.py
def stock_if_counted(db, item):
    product = db.query(Product).filter(Product.id == item.product_id).first()
    if product and product.stock_quantity is not None:  # fine: checked-then-changed
        product.stock_quantity -= item.quantity  # expect: read-modify-write
    db.commit()


# seen in vkhansen/Telegram-shop-Physical, bot/payments/refunds.py
def filled_in_first(db, pk, more):
    user = db.query(User).filter(User.id == pk).first()
    if user.balance is None:  # fine: checked-then-changed
        user.balance = 0
    db.commit()


# seen in nelsonboulangerie/django-shopman, packages/orderman/shopman/orderman/dispatch.py
def claimed_before(pk):  # fine: checked-then-changed
    job = Job.objects.get(pk=pk)
    if job.status != "queued":
        return
    claimed = Job.objects.filter(pk=pk, status="queued").update(status="running")
    if not claimed:
        return
    job.status = "done"
    job.save()
    Message.objects.create(job=job)


def updated_and_not_asked(pk):
    job = Job.objects.get(pk=pk)
    if job.status != "queued":
        return
    Job.objects.filter(pk=pk).update(seen=True)
    job.status = "done"
    job.save()  # expect: checked-then-changed


# seen in lukaszj321/reliable-webhook-service, src/reliable_webhook_service/delivery_job_execution_service.py
def retries_left(db, pk):  # fine: checked-then-changed
    job = db.query(Job).filter(Job.id == pk).first()
    if not isinstance(job.attempts, int) or job.attempts < 0:
        raise Refused
    job.attempts = 0
    db.commit()


# read-modify-write
# seen in hussu97/mm-ecommerce, apps/api/app/services/batching_service.py
def starts_again(db, pk):  # fine: read-modify-write
    run = db.query(Job).filter(Job.id == pk).first()
    run.attempts = 0
    run.attempts += 1
    db.commit()


# used-get-then-set
# seen in nelsonboulangerie/django-shopman, shopman/shop/services/geocoding.py
def place_of(address, find):  # fine: used-get-then-set
    key = f"place:{address}"
    if cache.get(key) is not None:
        return cache.get(key)
    place = find(address)
    if place is None:
        cache.set(key, "-", 60)
        return None
    cache.set(key, [place.lat, place.lng], 600)
    return place


# seen in SharkTrchBrasil/back_end_python_fastAPI, src/api/admin/routes/auth.py
def shut_out(name, attempts):  # fine: used-get-then-set
    if cache.get(f"shut:{name}"):
        raise Refused
    if attempts >= 5:
        cache.set(f"shut:{name}", "yes", 900)


# seen in gowthamnandha/django-webhook-receiver, webhook_project/webhook/services.py
def within_a_rate(address):  # fine: used-get-then-set
    key = f"rate:{address}"
    current = cache.get(key, 0)
    if current >= 10:
        raise Refused
    if current == 0:
        cache.set(key, 1, 60)
    else:
        cache.incr(key)


# unique-checked-then-inserted
# seen in stanmart1/readnwin-fastapi, readnwin-backend/create_superadmin.py
def first_role(db):  # fine: unique-checked-then-inserted
    if not db.query(Role).filter(Role.name == "administrator").first():
        db.add(Role(name="administrator"))
        db.commit()


TOPIC_SENT = "sent"


# seen in nelsonboulangerie/django-shopman, shopman/shop/handlers/production_alerts.py
def another_topic(self, order):  # fine: unique-checked-then-inserted
    if Message.objects.filter(topic=self.topic, order=order).exists():
        return
    Message.objects.create(topic=TOPIC_SENT)


# task-before-commit
# seen in Asmolu/telegram-shop-platform, backend/app/modules/orders/service.py
def written_to_an_outbox(self, session, order):  # fine: task-before-commit
    session.add(order)
    self.outbox_service.enqueue(order.id)
    session.commit()


# recorded-before-check
# seen in SharkTrchBrasil/back_end_python_fastAPI, src/core/security/hmac.py
def named_before(body, signature, nonce, client):
    key = f"nonce:{nonce}"
    if not cache.set(key, "1", nx=True, px=60000):
        return False
    mine = hmac.new(client.key, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine, signature)  # expect: recorded-before-check


# changed-across-await
class Balances:
    async def take(self, name, amount):
        before = self.balances[name]
        await self.log(name)
        self.balances[name] = before - amount  # expect: changed-across-await

    async def give(self, name, amount):
        before = self.balances.get(name, 0)
        await self.log(name)
        self.balances[name] = before + amount  # expect: changed-across-await

    async def of_another(self, name, other, amount):  # fine: changed-across-await
        before = self.balances[other]
        await self.log(name)
        self.balances[name] = before - amount

    async def read_behind(self, name, amount):  # fine: changed-across-await
        await self.log(name)
        before = self.balances[name]
        self.balances[name] = before - amount
