"""A client of AWS for the tests that is none of ours: `botocore` signs requests with Signature Version 4.

Each line on stdin is a request, each line on stdout the same request signed:

  {"method": "PUT", "url": "http://127.0.0.1:8080/a%20b?c=d", "headers": {"content-type": "text/plain"}, "body": "text",
   "access_key": "AKIDEXAMPLE", "secret_key": "...", "region": "eu-central-1", "service": "s3",
   "presigned_seconds": 900, "unsigned": false, "token": null}

  {"method": "PUT", "url": "http://127.0.0.1:8080/a%20b?c=d&X-Amz-...", "headers": {"Authorization": "..."}, "body": "text"}

Everything but `url`, `access_key`, `secret_key`, `region` and `service` may be left out. With `presigned_seconds` the
signature goes into the query. With `unsigned` the body is not signed. With `service` `s3` paths are encoded as S3 has it
and `X-Amz-Content-Sha256` is sent; with others the body's hash is signed and not sent.

botocore signs for the time at which it is asked; `Host` is that of the URL, and has to be sent like that.
"""

import json
import sys

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials


def signer(request):
    credentials = Credentials(request["access_key"], request["secret_key"], request.get("token"))
    for_s3 = request["service"] == "s3"
    where = (credentials, request["service"], request["region"])
    if request.get("presigned_seconds"):
        return (S3SigV4QueryAuth if for_s3 else SigV4QueryAuth)(*where, expires=request["presigned_seconds"])
    return (S3SigV4Auth if for_s3 else SigV4Auth)(*where)


def answer(request):
    signed = AWSRequest(
        method=request.get("method", "GET"),
        url=request["url"],
        headers=request.get("headers", {}),
        data=request.get("body", "").encode(),
    )
    # S3SigV4Auth asks the client's configuration whether to sign the body. Others ask this.
    signed.context["client_config"] = Config(s3={"payload_signing_enabled": not request.get("unsigned", False)})
    signed.context["payload_signing_enabled"] = not request.get("unsigned", False)
    signer(request).add_auth(signed)
    prepared = signed.prepare()
    return {
        "method": prepared.method,
        "url": prepared.url,
        "headers": {name: text(value) for name, value in prepared.headers.items()},
        "body": request.get("body", ""),
    }


def text(value):
    return value.decode() if isinstance(value, bytes) else value


for line in sys.stdin:
    if line.strip():
        print(json.dumps(answer(json.loads(line))), flush=True)
