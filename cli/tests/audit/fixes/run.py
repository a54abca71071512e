"""Runs the mended files: a valid request, a forged one, and one without its header."""
import base64
import hashlib
import hmac
import os
import tempfile
from types import SimpleNamespace

import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()

import compare
import once
import opened
import opened_low
import plain
import sums
from django.core.cache import cache
from django.db import connection
from django.db.models import F

BODY = b'{"amount": 1}'
DIGEST = hmac.new(compare.KEY, BODY, hashlib.sha256).digest()


def request(signature, raw=None):
    headers = {} if signature is None else {"X-Signature": signature}
    return SimpleNamespace(body=BODY, headers=headers, raw_signature=raw)


# Text beyond ASCII, half of a pair of surrogates, other types: false, as it was before.
FORGED = ["00" * 32, "", None, "caf\u00e9", "\ud800", DIGEST, 7]
for check, right in [
    (compare.of_a_header, DIGEST.hex()),
    (compare.with_a_prefix, "sha256=" + DIGEST.hex()),
    (compare.in_base64, base64.b64encode(DIGEST).decode()),
    (plain.of_another_file, DIGEST.hex()),
]:
    assert check(request(right)) is True, check
    for forged in FORGED:
        assert check(request(forged)) is False, (check, forged)
for check in [compare.as_bytes, compare.negated]:
    assert check(request(None, DIGEST)) is True, check
    for forged in [bytes(32), b"", None, "text", 7]:
        assert check(request(None, forged)) is False, (check, forged)

# Another request records the same nonce between the look-up and the record.
client = once.client
for at, use in enumerate([once.of_redis, once.of_redis_with_a_time]):
    assert use(f"a{at}") == "new"
    client.between = lambda it, name=f"b{at}": it.rows.setdefault(name, 1)
    try:
        assert use(f"b{at}") == "seen", use
    except PermissionError:
        pass
    client.between = None
assert once.of_a_set("a") == "new"
client.between = lambda it: it.rows["seen"].add("b") if "b" not in it.rows["seen"] else None
members = client.rows["seen"]
client.sismember = lambda name, value: (value in members, members.add(value))[0]
assert once.of_a_set("c") == "seen"
assert once.of_django("a") == "new"
get = cache.get
cache.get = lambda key: (get(key), cache.set(key, True))[0]
assert once.of_django("b") == "seen"

with connection.schema_editor() as editor:
    editor.create_model(sums.Post)
post = sums.Post.objects.create(views=10)


def between():
    sums.Post.objects.filter(pk=post.pk).update(views=F("views") + 100)


sums.one_more(post.pk, between)
sums.less_a_difference(post.pk, between, 5, 3)
sums.in_words(post.pk, between)
post.refresh_from_db()
assert post.views == 10 + 300 + 1 - 2 + 2, post.views

with tempfile.TemporaryDirectory() as root:
    with open(root + "/file", "wb") as file:
        file.write(b"content")
    os.symlink("/etc/hostname", root + "/link")
    asked = lambda name: SimpleNamespace(GET={"name": name})
    assert opened.by_its_name(asked("file"), root) == b"content"
    assert opened_low.no_link(root + "/file") == b"content"
    # The link is made after the check.
    os.path.islink = lambda path: False
    for follow in [lambda: opened.by_its_name(asked("link"), root), lambda: opened_low.no_link(root + "/link")]:
        try:
            follow()
        except OSError:
            continue
        raise AssertionError("a link was followed")
print("all")
