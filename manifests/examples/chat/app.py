"""A chat in plain HTTP: it holds no socket, the gateway beside it does.

The gateway posts what clients do to /ws/message (`open`, `message`, `close`) and takes what is for
them at http://localhost:40010/tapr/ws/conn/{send,close,list}. With SIGNING_KEYS, a file with a key a
line, it takes signed callbacks only.
"""

import base64
import hmac
import json
import os
import re
import signal
import sys
import time
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import Request, urlopen

GATEWAY = os.environ.get("GATEWAY", "http://localhost:40010")
PAGE = Path(__file__).with_name("index.html")
KEYS = os.environ.get("SIGNING_KEYS")  # a file: it changes with its Secret


def gateway(call, body=None):
    print(json.dumps({"call": call, **(body or {})}), flush=True)
    data = json.dumps(body).encode() if body else None
    request = Request(f"{GATEWAY}/tapr/ws/conn/{call}", data, {"Content-Type": "application/json"})
    with urlopen(request, timeout=10) as answer:
        return json.load(answer).get("data")


def on_open(client, nick):
    gateway("send", {"conn_id": client["conn_id"], "payload": {"event": "hello", "data": f"hello, {nick}"}})


def on_message(client, nick):
    conn, message = client["conn_id"], client["data"]
    event, data = (message.get("event"), message.get("data")) if isinstance(message, dict) else (None, message)
    if event == "say":  # to everyone
        gateway("send", {"all": True, "payload": {"event": "broadcast", "data": data, "from": nick}})
    elif event == "who":  # is here?
        names = {user["name"] or "guest": user["conns_number"] for user in gateway("list")}
        gateway("send", {"conn_id": conn, "payload": {"event": "who", "data": names}})
    elif event == "bye":  # close me
        gateway("close", {"conns": [conn], "code": 4000, "reason": "bye"})
    else:
        seen = {"user_name": client["user_name"], "conn_id": conn, "nick": nick}
        gateway("send", {"conn_id": conn, "payload": {"event": "echo", "data": message, **seen}})


def verify(headers, body, secrets):
    id, sent, given = (headers.get(f"webhook-{name}") or "" for name in ("id", "timestamp", "signature"))
    if not re.fullmatch("[0-9]{1,12}", sent) or abs(time.time() - int(sent)) > 300:
        return False
    for secret in secrets:
        key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
        mac = hmac.digest(key, f"{id}.{sent}.".encode() + body, "sha256")
        mine = b"v1," + base64.b64encode(mac)
        if len(key) >= 24 and any(hmac.compare_digest(mine, one) for one in given.encode().split()):
            return True
    return False


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # many clients may arrive at once


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keep-alive: the gateway reuses its connections
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path.partition("?")[0] == "/":
            self.answer(200, PAGE.read_bytes(), "text/html; charset=utf-8")
        else:
            self.answer(404, b"not found\n")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if KEYS and not verify(self.headers, body, Path(KEYS).read_text().split("\n")):
            self.answer(401, b"this callback is not signed by the gateway\n")
            return
        client = json.loads(body)
        # The client's own cookies come along, so a session of the app works as it does over HTTP.
        nick = SimpleCookie(self.headers["Cookie"]).get("nick")
        nick = nick.value if nick else client["user_name"] or "guest"
        seen = {key: client[key] for key in ("action", "user_name", "conn_id", "data")}
        print(json.dumps({**seen, "nick": nick}), flush=True)
        try:
            if client["action"] == "open":
                on_open(client, nick)
            elif client["action"] == "message":
                on_message(client, nick)
            self.answer(204)
        except OSError as error:  # the gateway refused or is away; its next callback may fare better
            self.answer(500, f"{error}\n".encode())

    def answer(self, status, body=b"", kind="text/plain"):
        self.send_response(status)
        if body:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """The callbacks are the log."""


if __name__ == "__main__":
    # The first process of a container hears SIGTERM only if it asks to.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    address = os.environ.get("HOST", ""), int(os.environ.get("PORT", "8888"))
    Server(address, App).serve_forever()
