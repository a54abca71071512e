"""What looks like a fault and is none, each as a service of the world writes it."""
import hashlib
import hmac
import os

from django.core.cache import cache
from django.db import transaction
from django.http import HttpResponse

from shop.models import Order
from shop.settings import API_SECRET


# A screen is drawn again only if it changed: its hash is no MAC, although a text of it was made
# with the help of a secret, far away.
def footer_of(shop):
    return f"{shop.name} {shop.terms(API_SECRET)}"


def text_of(shop):
    return f"{shop.title} {footer_of(shop)}"


def hash_of(text):
    return hashlib.md5(text.encode()).hexdigest()


def draw(request, shop, last_hash):  # fine: mac-compared-with-equals, signed-time-is-own-clock
    text = text_of(shop)
    screen_hash = hash_of(text)
    if last_hash == screen_hash:
        return None
    return text


def keyed_in_a_helper(request, shop):
    return hash_of(shop.name + API_SECRET) == request.headers["X-Sign"]  # expect: mac-compared-with-equals


def keyed_by_the_text_of_a_helper(request):
    return hashlib.md5(signed_text(request).encode()).hexdigest() == request.GET["sign"]  # expect: mac-compared-with-equals


def signed_text(request):
    return request.GET["amount"] + API_SECRET


# The first argument is a name that a standard chose.
def master_key(seed):  # fine: secret-in-code
    return hmac.new(b"Bitcoin seed", seed, hashlib.sha512).digest()


def root_key(wallet):  # fine: secret-in-code
    return hmac.new(b"wallet root", wallet.entropy, hashlib.sha512).digest()


# A folder is no secret.
SECRET_DIR = os.environ.get("SHOP_RUNTIME_SECRET_DIR", "/run/shop")  # fine: secret-has-default


# An outbox is a table of the same transaction.
class Checkout:
    @transaction.atomic
    def buy(self, order):  # fine: task-before-commit
        order.save()
        self.outbox_service.enqueue("bought", order.id)

    @transaction.atomic
    def buy_by_queue(self, order):
        order.save()
        self.queue.enqueue("bought", order.id)  # expect: task-before-commit


# An empty answer is an answer.
def place_of(address, geocoder):  # fine: used-get-then-set
    key = "place:token:" + address
    known = cache.get(key)
    if known is not None:
        return known
    found = geocoder.find(address)
    if not found:
        cache.set(key, [], 86400)
        return None
    cache.set(key, [found.lat, found.lng], 86400)
    return found


# An account that is shut twice is shut.
def fail(user, attempts):  # fine: used-get-then-set
    if cache.get(f"token-locked:{user}"):
        return HttpResponse(status=429)
    if attempts > 5:
        cache.set(f"token-locked:{user}", 1, 900)
    return HttpResponse(status=401)


def count(request, client):  # fine: used-get-then-set
    key = f"webhook:{client}"
    seen = cache.get(key, 0)
    if seen >= 60:
        return HttpResponse(status=429)
    if seen == 0:
        cache.set(key, 1, timeout=60)
    else:
        cache.incr(key)
    return HttpResponse()
