"""A gRPC service for the tests that is none of ours: `grpcio`.

The first line on stdin says how to listen, every other asks what has been called since:

  {"cert": "PEM", "key": "PEM", "client_ca": "PEM"}                     {"port": 34567}
  {}                                                                    {"calls": [{"method": "/shop.Orders/Unary",
                                                                          "metadata": {"x-consumer": "acme"},
                                                                          "certificate": "gateway"}]}

Without `cert` it speaks HTTP/2 without TLS; with `client_ca` it wants a certificate from there, and tells its common
name. The service `shop.Orders` has methods of each kind; a message is bytes and no more. `Unary` gives it back; `Count`
gives as many as the message has bytes, one every 20 ms; `Gather` gives back all at once what it was sent; `Chat` gives
back each as it comes; `Never` does not answer. `Unary` with the message `refuse` ends with PERMISSION_DENIED. All set the
trailer `x-served: yes`.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

import grpc  # noqa: E402

calls = []


def note(context, method):
    metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
    (certificate,) = context.auth_context().get("x509_common_name", [b""])
    calls.append({"method": f"/shop.Orders/{method}", "metadata": metadata, "certificate": certificate.decode()})
    context.set_trailing_metadata([("x-served", "yes")])


def unary(message, context):
    note(context, "Unary")
    if message == b"refuse":
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "as you wish")
    return message


def never(message, context):
    note(context, "Never")
    while context.is_active():
        time.sleep(0.01)
    return b""


def count(message, context):
    note(context, "Count")
    for number in range(len(message)):
        yield str(number).encode()
        time.sleep(0.02)


def gather(messages, context):
    note(context, "Gather")
    return b"".join(messages)


def chat(messages, context):
    note(context, "Chat")
    for message in messages:
        yield message


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Never": grpc.unary_unary_rpc_method_handler(never),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Gather": grpc.stream_unary_rpc_method_handler(gather),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
}


def start(request):
    server = grpc.server(ThreadPoolExecutor(max_workers=16))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Orders", METHODS)])
    if "cert" not in request:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        client_ca = request["client_ca"].encode() if "client_ca" in request else None
        pair = (request["key"].encode(), request["cert"].encode())
        credentials = grpc.ssl_server_credentials([pair], client_ca, client_ca is not None)
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    return server, {"port": port}


def take():
    taken, calls[:] = list(calls), []
    return {"calls": taken}


server = None
for line in sys.stdin:
    if server is None:
        server, answer = start(json.loads(line))
    else:
        answer = take()
    print(json.dumps(answer), flush=True)
