"""PyPI `http-sf`: reads dictionaries, each a line of JSON, and answers with the names in them and how
each member is serialized; or with null."""

import json
import sys

import http_sf


def read(field):
    members = http_sf.parse(field.encode(), tltype="dictionary")
    return [[name, http_sf.ser([member])] for name, member in members.items()]


for line in sys.stdin:
    try:
        answer = read(json.loads(line))
    except Exception:
        answer = None
    print(json.dumps(answer), flush=True)
