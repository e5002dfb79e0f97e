"""A client of TLS for the tests that is none of ours: Python's `ssl`.

Each line on stdin is a connection, each line on stdout what became of it:

  {"address": "127.0.0.1:8443", "first": "PROXY TCP4 ...\\r\\n", "context": "acme", "ca": "ca.pem", "cert": "acme.pem",
   "key": "acme.key", "min": "1.2", "max": "1.3", "ciphers": "ECDHE+AESGCM", "alpn": ["h2", "http/1.1"],
   "name": "api.example.com", "resume": "first", "keep": "second", "send": "GET / HTTP/1.1\\r\\n..."}

  {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "alpn": "http/1.1", "resumed": false, "sha256": "e3b0...",
   "answer": "HTTP/1.1 200 OK\\r\\n..."}
  {"error": "tlsv13 alert certificate required", "while": "answer", "version": "TLSv1.3", ...}

Everything but `address` may be left out. Without `ca` the server's certificate is not verified, without `name` no name is
sent. `first` is sent before TLS, `send` by it; the answer is all that comes until the server closes, or has said something
and then nothing for half a second. Text is Latin-1: a character for each byte.

`keep` keeps the connection's session under that name, `resume` offers the one that was kept under it. OpenSSL wants both
in one context: requests with the same `context` share that of the first, certificates and versions included. TLS 1.3
brings the session after the handshake: keep it together with `send`.

In TLS 1.3 the client has shaken hands before the server has judged its certificate: the alert comes with the answer.
"""

import hashlib
import json
import socket
import ssl
import sys

LIMIT_SECONDS = 10
SILENCE_SECONDS = 0.5

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

contexts = {}
sessions = {}


def make_context(request):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = "ca" in request
    context.verify_mode = ssl.CERT_REQUIRED if "ca" in request else ssl.CERT_NONE
    if "ca" in request:
        context.load_verify_locations(request["ca"])
    if "cert" in request:
        context.load_cert_chain(request["cert"], request["key"])
    if "ciphers" in request:
        context.set_ciphers(request["ciphers"])
    if "alpn" in request:
        context.set_alpn_protocols(request["alpn"])
    context.minimum_version = VERSIONS[request.get("min", "1.2")]
    context.maximum_version = VERSIONS[request.get("max", "1.3")]
    return context


def context_of(request):
    name = request.get("context")
    if name is None:
        return make_context(request)
    if name not in contexts:
        contexts[name] = make_context(request)
    return contexts[name]


def read(stream):
    received = b""
    while True:
        stream.settimeout(SILENCE_SECONDS if received else LIMIT_SECONDS)
        try:
            more = stream.recv(65536)
        except (socket.timeout, ssl.SSLEOFError):
            return received
        if not more:
            return received
        received += more


def facts(stream):
    certificate = stream.getpeercert(binary_form=True)
    return {
        "version": stream.version(),
        "cipher": (stream.cipher() or [None])[0],
        "alpn": stream.selected_alpn_protocol(),
        "resumed": stream.session_reused,
        "sha256": hashlib.sha256(certificate).hexdigest() if certificate else None,
    }


def words(error):
    """The reason alone: what OpenSSL calls the alert, without the names of files and lines of C."""
    reason = getattr(error, "verify_message", None) or getattr(error, "reason", None) or str(error)
    return reason.lower().replace("_", " ")


def answer(request):
    host, port = request["address"].rsplit(":", 1)
    known, step = {}, "handshake"
    try:
        with socket.create_connection((host, int(port)), LIMIT_SECONDS) as plain:
            plain.sendall(request.get("first", "").encode("latin-1"))
            session = sessions[request["resume"]] if "resume" in request else None
            context = context_of(request)
            with context.wrap_socket(plain, server_hostname=request.get("name"), session=session) as stream:
                known, step = facts(stream), "answer"
                stream.sendall(request.get("send", "").encode("latin-1"))
                known["answer"] = read(stream).decode("latin-1") if "send" in request else ""
                if "keep" in request:
                    sessions[request["keep"]] = stream.session
    except (OSError, ValueError) as error:
        return {**known, "error": words(error), "while": step}
    return known


for line in sys.stdin:
    if line.strip():
        print(json.dumps(answer(json.loads(line))), flush=True)
