"""A gRPC client for the tests that is none of ours: `grpcio`.

Each line on stdin is a call, each line on stdout its answer:

  {"address": "127.0.0.1:8443", "ca": "PEM", "cert": "PEM", "key": "PEM", "name": "api.example.com",
   "method": "/shop.Orders/Chat", "kind": "stream_stream", "messages": ["one", "two"], "metadata": {"x-api-key": "..."},
   "seconds": 10}

  {"code": "OK", "details": "", "messages": ["one", "two"], "trailers": {"x-served": "yes"}, "after_ms": [3, 5]}

Without `ca` it speaks HTTP/2 without TLS. `name` is verified, and is `:authority`. `kind` is one of `unary_unary`,
`unary_stream`, `stream_unary` and `stream_stream`; with the last of them a message is sent once the one before has been
answered. `after_ms` says how long after the call each message came. Calls to one address with the same certificates
share a connection.
"""

import json
import os
import queue
import sys
import time

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

import grpc  # noqa: E402

channels = {}


def channel(request):
    who = tuple(request.get(part) for part in ("address", "ca", "cert", "key", "name"))
    if who not in channels:
        channels[who] = open_channel(*who)
    return channels[who]


def open_channel(address, ca, cert, key, name):
    if ca is None:
        options = [("grpc.default_authority", name)] if name else []
        return grpc.insecure_channel(address, options)
    options = [("grpc.ssl_target_name_override", name)] if name else []
    pair = (key.encode(), cert.encode()) if cert else (None, None)
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(ca.encode(), *pair), options)


def one_by_one(messages, answered):
    """Each message once the one before it has been answered."""
    for message in messages:
        yield message
        answered.get()


def call(request):
    kind = request.get("kind", "unary_unary")
    messages = [message.encode() for message in request.get("messages", [])]
    answered = queue.Queue()
    argument = messages[0] if kind.startswith("unary_") else iter(messages)
    if kind == "stream_stream":
        argument = one_by_one(messages, answered)
    method = getattr(channel(request), kind)(request["method"])
    options = {"timeout": request.get("seconds", 10), "metadata": list(request.get("metadata", {}).items())}
    if kind.endswith("_unary"):
        message, ended = method.with_call(argument, **options)
        yield message, ended
        return
    ended = method(argument, **options)
    for message in ended:
        answered.put(None)
        yield message, None
    yield None, ended


def answer(request):
    begun, came, after = time.monotonic(), [], []
    ended = None
    try:
        for message, ended in call(request):
            if message is not None:
                came.append(message.decode())
                after.append(round((time.monotonic() - begun) * 1000))
    except grpc.RpcError as error:
        ended = error
    trailers = {key: value for key, value in ended.trailing_metadata() or () if isinstance(value, str)}
    return {
        "code": ended.code().name,
        "details": ended.details(),
        "messages": came,
        "trailers": trailers,
        "after_ms": after,
    }


for line in sys.stdin:
    if line.strip():
        print(json.dumps(answer(json.loads(line))), flush=True)
