"""A Django application that checks no signature, served by threads. Prints the port that it listens on."""

import json
import time
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="of a test")
state = {"transfers": 0, "amounts": []}


def transfers(_):
    return JsonResponse(state["transfers"], safe=False)


def amounts(_):
    return JsonResponse(state["amounts"], safe=False)


def transfer(request):
    order = json.loads(request.body)
    time.sleep(0.002)
    state["transfers"] += 1
    state["amounts"].append(order["amount"])
    return JsonResponse({"amount": order["amount"], "by": request.META["HTTP_COUNTERSIGN_KEY_ID"]})


urlpatterns = [
    path("transfers", transfers),
    path("amounts", amounts),
    path("transfer", transfer),
]


class Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


application = get_wsgi_application()
if __name__ == "__main__":
    server = Threads(("127.0.0.1", 0), Quiet)
    server.set_app(application)
    print(server.server_port, flush=True)
    server.serve_forever()
