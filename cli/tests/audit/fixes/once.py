"""What is used once, looked up and recorded in two steps."""
import redis
from django.core.cache import cache

client = redis.Redis()


def of_django(nonce):
    if cache.get(nonce):
        return "seen"
    cache.set(nonce, True, 600)
    return "new"


def of_redis(nonce):
    seen = client.get(nonce)
    if seen is not None:
        raise PermissionError("seen")
    client.set(nonce, 1, ex=600)
    return "new"


def of_redis_with_a_time(nonce):
    if client.exists(nonce): return "seen"
    client.setex(nonce, 600, 1)
    return "new"


def of_a_set(nonce):
    if client.sismember("seen", nonce):
        # A comment stays.
        return "seen"
    client.sadd("seen", nonce)
    return "new"
