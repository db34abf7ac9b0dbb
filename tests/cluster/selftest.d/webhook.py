"""Admits everything, labels it, and so shows that the API server reaches a Service by ClusterIP."""
import base64
import http.server
import json
import ssl

PATCH = b'[{"op": "add", "path": "/metadata/labels", "value": {"admitted": "yes"}}]'


class Admit(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        review["response"] = {
            "uid": review.pop("request")["uid"],
            "allowed": True,
            "patchType": "JSONPatch",
            "patch": base64.b64encode(PATCH).decode(),
        }
        body = json.dumps(review).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/webhook/tls.crt", "/webhook/tls.key")
server = http.server.ThreadingHTTPServer(("", 8443), Admit)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
