"""An issuer of tokens for the tests that is none of ours: the Python library `joserfc`.

Each line on stdin is a request, each line on stdout its answer; both are those of issue_tokens.mjs, which describes them.
"""

import json
import sys

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

# Tokens name the algorithm as RFC 8037 does and as nearly everyone sends it; joserfc knows the name of RFC 9864 too.
MAKERS = {
    "RS": lambda options: RSAKey.generate_key(2048, options),
    "PS": lambda options: RSAKey.generate_key(2048, options),
    "ES": lambda options: ECKey.generate_key(
        {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[options["alg"]], options
    ),
    "Ed": lambda options: OKPKey.generate_key("Ed25519", options),
}

keys = {}


def make_key(kid, alg, secret=None):
    if secret is not None:
        return OctKey.import_key(secret, {"kid": kid, "alg": alg})
    return MAKERS[alg[:2]]({"kid": kid, "alg": alg, "use": "sig"})


def sign(kid, claims, header=None, **_):
    key = keys[kid]
    alg = key.alg
    return jwt.encode({"alg": alg, "kid": kid, **(header or {})}, claims, key, algorithms=[alg])


def answer(request):
    for key in request.get("keys", []):
        if key["kid"] not in keys:
            keys[key["kid"]] = make_key(**key)
    names = request.get("publish", list(keys))
    published = {kid: keys[kid] for kid in names if keys[kid].key_type != "oct"}
    return {
        "jwks": {"keys": [key.as_dict(private=False) for key in published.values()]},
        "pem": {kid: key.as_pem(private=False).decode() for kid, key in published.items()},
        "tokens": {token["name"]: sign(**token) for token in request.get("tokens", [])},
    }


for line in sys.stdin:
    if line.strip():
        print(json.dumps(answer(json.loads(line))), flush=True)
