"""Olares' sandbox-webhook as it is up to 1.12.6, as far as a pod shows it.

The path that the API server posts to says what it adds, and ends with what its annotation is to say:
/envoy/gateway/1. It adds to every pod, Jobs included; it looks at no names, and never again at a pod
that has its annotation.
"""

import base64
import http.server
import json
import os
import signal
import ssl
import sys
from pathlib import Path

HERE = Path(__file__).parent
DONE = "sidecar.bytetrade.io/proxy-uuid"
# What comes in is led to Envoy; what the pod's own processes ask of each other never passes here.
CAPTURE = """iptables-restore --noflush <<EOF
*nat
:PROXY_INBOUND - [0:0]
-A PREROUTING -p tcp -j PROXY_INBOUND
-A PROXY_INBOUND -p tcp --dport 15000 -j RETURN
-A PROXY_INBOUND -p tcp -j REDIRECT --to-port 15003
COMMIT
EOF
"""


def init():
    return {
        "name": "olares-sidecar-init",
        "image": os.environ["INIT_IMAGE"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", CAPTURE],
        "securityContext": {"runAsNonRoot": False, "runAsUser": 0, "capabilities": {"add": ["NET_ADMIN"]}},
    }


def envoy(gateway_port):
    return {
        "name": "olares-envoy-sidecar",
        "image": os.environ["ENVOY_IMAGE"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", (HERE / "envoy.py").read_text()],
        "env": [{"name": "GATEWAY_PORT", "value": gateway_port}],
        "ports": [{"name": "proxy-admin", "containerPort": 15000}, {"name": "proxy-inbound", "containerPort": 15003}],
        "securityContext": {"allowPrivilegeEscalation": False, "runAsUser": 1555},
    }


def gateway():
    return {
        "name": "olares-ws-sidecar",
        "image": os.environ["GATEWAY_IMAGE"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["/ws-gateway"],
        "env": [{"name": "WS_PORT", "value": "8888"}, {"name": "WS_URL", "value": "/ws/message"}],
    }


def additions(pod, parts):
    """Places in the pod, and what is put there."""
    annotations = pod["metadata"].get("annotations", {})
    if DONE in annotations:
        return
    if "envoy" in parts:
        yield "/spec/initContainers", [*pod["spec"].get("initContainers", []), init()]
        yield "/spec/containers/-", envoy("40010" if "gateway" in parts else "")
    if "gateway" in parts:
        yield "/spec/containers/-", gateway()
    yield "/metadata/annotations", {**annotations, DONE: parts[-1]}


class Admit(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = review.pop("request")
        parts = self.path.partition("?")[0].split("/")
        patch = [{"op": "add", "path": place, "value": value} for place, value in additions(request["object"], parts)]
        review["response"] = {
            "uid": request["uid"],
            "allowed": True,
            "patchType": "JSONPatch",
            "patch": base64.b64encode(json.dumps(patch).encode()).decode(),
        }
        body = json.dumps(review).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


# The first process of a container hears SIGTERM only if it asks to.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(HERE / "tls.crt", HERE / "tls.key")
server = http.server.ThreadingHTTPServer(("", 8443), Admit)
# Each connection shakes hands in its own thread: one that stalls holds up nobody.
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
