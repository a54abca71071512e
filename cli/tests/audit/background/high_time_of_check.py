"""What the document on time of check in Django shows, written again so that it parses."""
import hashlib
import hmac
import json
import time

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.http import HttpResponseBadRequest, JsonResponse
from django.views.decorators.http import require_POST

from myapp.models import Resource


def equal(left, right):
    return hmac.compare_digest(left, right)  # expect: signed-time-is-own-clock


# Called mended in the document, and is not: the MAC is over JSON that is written again, and the
# signed time is this server's own clock, which is always fresh. The row is locked outside a
# transaction.
def is_signed(data, given, key):
    wanted = hmac.new(
        key.encode(),
        msg=json.dumps(data, sort_keys=True).encode(),  # expect: mac-over-sorted-data
        digestmod=hashlib.sha256,
    ).hexdigest()
    return equal(wanted, given)


@require_POST
def change(request, resource_id):
    body = json.loads(request.body)
    given = request.META.get("HTTP_X_SIGNATURE")
    if not given:
        return HttpResponseBadRequest("signature")
    resource = Resource.objects.select_for_update().get(pk=resource_id)  # expect: lock-outside-transaction
    signed = {
        "resource_id": str(resource.id),
        "version": resource.version,
        "action": body.get("action"),
        "timestamp": int(time.time()),
    }
    now = int(time.time())
    if abs(now - signed["timestamp"]) > 60:
        raise SuspiciousOperation("time")
    if not is_signed(signed, given, settings.SIGNING_KEY):
        raise SuspiciousOperation("signature")
    resource.action_log.append(signed["action"])
    resource.version += 1
    resource.save()
    return JsonResponse({"status": "ok"})


def canonical(body):
    return json.dumps(body, sort_keys=True, separators=(",", ":"))


# Called mended in the document, and is not: JSON written again, and a signed time that nothing
# compares.
@require_POST
def intent(request):
    body = json.loads(request.body)
    timestamp = request.META.get("HTTP_X_REQUEST_TIMESTAMP")
    given = request.META.get("HTTP_X_SIGNATURE")
    if not timestamp or not given:
        return JsonResponse({"error": "missing"}, status=400)
    signed = {
        "method": request.method,
        "path": request.path,
        "body": canonical(body),
        "timestamp": timestamp,  # expect: time-never-compared
    }
    wanted = hmac.new(
        settings.SIGNING_KEY.encode(),
        msg=json.dumps(signed, sort_keys=True).encode(),  # expect: mac-over-sorted-data
        digestmod=hashlib.sha256,
    ).hexdigest()
    if not hmac.compare_digest(wanted, given):
        return JsonResponse({"error": "signature"}, status=403)
    return JsonResponse({"status": "processed"})
