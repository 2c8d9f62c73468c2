"""Signs requests with botocore and prints them as JSON: method, url, headers as list of pairs, body."""

import json
import sys
from datetime import datetime, timezone

from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

case = json.load(sys.stdin)
credentials = Credentials(case["accessKeyId"], case["secretAccessKey"])
DATE = "Wed, 04 Mar 2026 00:00:00 GMT"
TARGET = {"X-Amz-Target": "AmazonEC2ContainerRegistry_V20150921.ListImages"}


def draft(method="POST", path="/", headers=None, body="{}", params=None):
    url = "http://localhost:5160" + path
    return AWSRequest(method=method, url=url, headers=headers or {}, data=body, params=params or {})


def show(request):
    prepared = request.prepare()
    headers = [[name, value if isinstance(value, str) else value.decode("latin-1")] for name, value in request.headers.items()]
    headers.append(["Host", "localhost:5160"])
    body = prepared.body or ""
    body = body if isinstance(body, str) else body.decode("utf-8")
    return {"method": prepared.method, "url": prepared.url.removeprefix("http://localhost:5160"), "headers": headers, "body": body}


def header(request):
    auth.SigV4Auth(credentials, case["service"], case["region"]).add_auth(request)
    return show(request)


def query(request, expires):
    auth.SigV4QueryAuth(credentials, case["service"], case["region"], expires).add_auth(request)
    return show(request)


def repeated():
    request = draft(headers=TARGET)
    request.headers.add_header("X-Note", "first  part")
    request.headers.add_header("X-Note", " second ")
    return request


json.dump(
    {
        "now": datetime.now(timezone.utc).isoformat(),
        "an ordinary request": header(draft(headers={**TARGET, "Content-Type": "application/x-amz-json-1.1"}, body='{"a":1}')),
        "a request dated by its Date header": header(draft(headers={**TARGET, "Date": DATE})),
        "a header sent twice": header(repeated()),
        "an unsigned payload": header(draft(headers={**TARGET, "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}, body="anything")),
        "paths and queries in need of encoding": header(
            draft("GET", "/a%20b/%C3%A9/..//c/~d", params={"b c": "d/e+f", "a": "é", "a-": "~", "A": ""}, body="")
        ),
        "a presigned request": query(draft("GET", "/p/q?x=1&y=a%20b", body=""), 60),
    },
    sys.stdout,
)
