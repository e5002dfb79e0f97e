"""A gRPC server over mutual TLS and a gRPC client without, for the tests, by Google's own library `grpcio`.

Each line on stdin is one thing to do, each line on stdout what came of it:

  {"serve": {"cert": "PEM", "key": "PEM", "client_ca": "PEM"}}          {"port": 50051}

  {"target": "127.0.0.1:8080", "unary": "hello"}                        {"code": "OK", "details": "", "messages": [...]}

and in the place of `unary`: `server_stream` (how many messages), `client_stream` and `both` (messages to send, for `both`
one after the other's answer), `fails` (the details of a status that is not OK), `too_late` (a deadline that passes).
Messages are bytes, and no protocol buffers: what is between is the same.
"""

import json
import sys
import time
from concurrent import futures

import grpc


def unary(request, context):
    names = context.auth_context().get("x509_common_name", [b"nobody"])
    return request + b" by " + names[0]


def server_stream(request, context):
    for number in range(int(request)):
        yield str(number).encode()


def client_stream(requests, context):
    return b"".join(requests)


def both(requests, context):
    yield from requests


def fails(request, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, request.decode())


def too_late(request, context):
    while context.is_active():
        time.sleep(0.01)
    return b""


HANDLERS = {
    "unary": grpc.unary_unary_rpc_method_handler(unary),
    "server_stream": grpc.unary_stream_rpc_method_handler(server_stream),
    "client_stream": grpc.stream_unary_rpc_method_handler(client_stream),
    "both": grpc.stream_stream_rpc_method_handler(both),
    "fails": grpc.unary_unary_rpc_method_handler(fails),
    "too_late": grpc.unary_unary_rpc_method_handler(too_late),
}


def serve(cert, key, client_ca):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Peer", HANDLERS)])
    pair = [(key.encode(), cert.encode())]
    credentials = grpc.ssl_server_credentials(pair, client_ca.encode(), require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    return server, port


def one_by_one(messages, answers):
    """Sends the next message once the one before has been answered: both directions are open at once."""
    for number, message in enumerate(messages):
        while len(answers) < number:
            time.sleep(0.005)
        yield message.encode()


def call(target, method, argument):
    messages = []
    with grpc.insecure_channel(target) as channel:
        path, limit = f"/test.Peer/{method}", 0.5 if method == "too_late" else 8
        try:
            if method == "server_stream":
                for message in channel.unary_stream(path)(argument.encode(), timeout=limit):
                    messages.append(message.decode())
            elif method == "client_stream":
                answer = channel.stream_unary(path)(iter([text.encode() for text in argument]), timeout=limit)
                messages.append(answer.decode())
            elif method == "both":
                for message in channel.stream_stream(path)(one_by_one(argument, messages), timeout=limit):
                    messages.append(message.decode())
            else:
                messages.append(channel.unary_unary(path)(argument.encode(), timeout=limit).decode())
        except grpc.RpcError as error:
            return {"code": error.code().name, "details": error.details(), "messages": messages}
    return {"code": "OK", "details": "", "messages": messages}


server = None
for line in sys.stdin:
    request = json.loads(line)
    if "serve" in request:
        server, port = serve(**request["serve"])
        answer = {"port": port}
    else:
        target = request.pop("target")
        (method, argument), = request.items()
        answer = call(target, method, argument)
    print(json.dumps(answer), flush=True)
