"""A client of HTTP Message Signatures (RFC 9421) for the tests that is none of ours: the Python library
`http-message-signatures`.

Each line on stdin is a request, each line on stdout its headers, signed:

  {"method": "POST", "url": "http://127.0.0.1:8080/orders?a=b", "headers": {"host": "api.example.com"}, "body": "text",
   "algorithm": "hmac-sha256", "key_id": "acme-1", "secret": "...", "components": ["@method", "@authority", "@target-uri"],
   "created": 1800000000, "expires": 1800000060, "nonce": "once", "tag": "orders", "label": "sig1"}

  {"host": "api.example.com", "Content-Digest": "...", "Signature-Input": "...", "Signature": "..."}

Everything but `url`, `key_id` and the key may be left out; without `created` a signature is of now. The key is `secret`,
or `private_key` (PEM) with one of the algorithms `ed25519`, `ecdsa-p256-sha256` and `rsa-pss-sha512`. With a `body` that is
not empty the library adds `Content-Digest` and covers it.
"""

import datetime
import json
import sys
from types import SimpleNamespace
from urllib.parse import urlsplit

from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver, algorithms

ALGORITHMS = {
    "hmac-sha256": algorithms.HMAC_SHA256,
    "ed25519": algorithms.ED25519,
    "ecdsa-p256-sha256": algorithms.ECDSA_P256_SHA256,
    "rsa-pss-sha512": algorithms.RSA_PSS_SHA512,
}


class OneKey(HTTPSignatureKeyResolver):
    def __init__(self, key):
        self.key = key

    def resolve_private_key(self, key_id):
        return self.key

    def resolve_public_key(self, key_id):
        raise NotImplementedError


def time(seconds):
    return None if seconds is None else datetime.datetime.fromtimestamp(seconds)


def answer(request):
    headers = {"Host": urlsplit(request["url"]).netloc, **request.get("headers", {})}
    message = SimpleNamespace(method=request.get("method", "GET"), url=request["url"], headers=headers)
    signer = HTTPMessageSigner(
        signature_algorithm=ALGORITHMS[request.get("algorithm", "hmac-sha256")],
        key_resolver=OneKey((request.get("secret") or request["private_key"]).encode()),
    )
    signer.sign(
        message,
        key_id=request["key_id"],
        created=time(request.get("created")),
        expires=time(request.get("expires")),
        nonce=request.get("nonce"),
        tag=request.get("tag"),
        label=request.get("label"),
        covered_component_ids=request.get("components", ["@method", "@authority", "@target-uri"]),
        body=request["body"].encode() if request.get("body") else None,
    )
    return dict(headers)


for line in sys.stdin:
    if line.strip():
        print(json.dumps(answer(json.loads(line))), flush=True)
