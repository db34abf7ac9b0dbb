"""Where the demo takes place: on loopback, or in a cluster through the operator."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from actor import Actor, Silence, show

CHART = Path("manifests/examples/chat")


class Stage:
    """Starts actors and ends them; a stage says how clients and the admin API are reached."""

    def __init__(self, args):
        self.args, self.actors = args, []

    def __enter__(self):
        # SIGTERM ends the demo as Ctrl-C does, so that nothing is left running.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for actor in reversed(self.actors):
            actor.end()

    def cast(self, *args, **options):
        actor = Actor(*args, **options)
        self.actors.append(actor)
        return actor

    def client(self, name, cookie=None):
        command = [self.args.gateway, "connect", self.url, "--user", name]
        command += ["-H", f"Cookie: {cookie}"] if cookie else []
        actor = self.cast(name, command)
        actor.wait("the connection", lambda line: line.startswith("connected") or None, shown=False)
        show(name, ">", f"(connects to {self.url}" + (f" with the cookie {cookie})" if cookie else ")"))
        return actor

    def admin(self, call, body=None):
        shown = f"{'POST' if body else 'GET'} http://localhost:{self.port}/tapr/ws/conn/{call}"
        show("someone", ">", f"{shown} {json.dumps(body)}" if body else shown)
        show("gateway", "<", json.dumps(json.loads(self.ask(call, body))))


def describe(line):
    """What the app writes of itself, as the requests that they are."""
    document = json.loads(line)
    if call := document.pop("call", None):
        return ">", f"{'POST' if document else 'GET'} /tapr/ws/conn/{call} {json.dumps(document)}"
    return "<", f"POST /ws/message {line}"


# === on loopback ===


class Loopback(Stage):
    @staticmethod
    def arguments(parser):
        parser.add_argument("--gateway", required=True, help="the program ws-gateway")
        parser.add_argument("--keep", action="store_true", help="go on until Ctrl-C")

    def start(self):
        self.app_port, self.port, self.ops = (free_port(port) for port in (8888, 40010, 40011))
        self.url = f"ws://localhost:{self.port}/ws"
        self.folder = tempfile.TemporaryDirectory(prefix="ws-demo-")
        chart = self.chart()
        listen = []
        if (self.port, self.ops) != (40010, 40011):
            listen = ["--listen", f"127.0.0.1:{self.port}", "--ops-listen", f"127.0.0.1:{self.ops}"]
        app = {"HOST": "127.0.0.1", "PORT": str(self.app_port), "GATEWAY": f"http://localhost:{self.port}"}
        self.commands = [
            " ".join(f"{key}={value}" for key, value in app.items()) + f" python3 {CHART / 'app.py'}",
            " ".join([self.args.gateway, "dev", str(chart), *listen]),
        ]
        print("\n".join(f"$ {command}" for command in self.commands))
        self.app = self.cast("app", [sys.executable, "-B", str(CHART / "app.py")], describe, env={**os.environ, **app})
        gateway = self.cast("gateway", [self.args.gateway, "dev", str(chart), *listen])
        gateway.wait("the gateway", lambda line: "ready" in line or None, shown=False)

    def chart(self):
        """The example's chart; with another port in it where the stanza's is taken."""
        if self.app_port == 8888:
            return CHART
        text = (CHART / "OlaresManifest.yaml").read_text()
        copy = Path(self.folder.name) / "OlaresManifest.yaml"
        copy.write_text(re.sub(r"(?m)^(    port: )8888$", rf"\g<1>{self.app_port}", text))
        return copy

    def ask(self, call, body):
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(f"http://localhost:{self.port}/tapr/ws/conn/{call}", data)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()

    def what_next(self):
        tries = self.tries()
        if self.args.keep:
            print(f"\nGateway and app are running; Ctrl-C ends them. Try:\n{tries}", flush=True)
            signal.pause()
        print(f"\nThat was all; nothing is left running. To keep it running: make demo KEEP=1")
        if self.app_port == 8888:
            print("or, in two terminals:\n   " + "\n   ".join(self.commands))
        print(f"Then try:\n{tries}")
        print("\nThe app is a page of plain Python: manifests/examples/chat/app.py. On Kubernetes: make demo CLUSTER=1")

    def tries(self):
        page = f"http://localhost:{self.app_port}/" + ("" if self.port == 40010 else f"?ws={self.url}")
        word = {"all": True, "payload": {"event": "broadcast", "from": "me", "data": "hi"}}
        tries = {
            "a chat in the browser": f"{page}  (in two windows)",
            "a client": f"{self.args.gateway} connect {self.url} --user cleo",
            "who is there": f"curl -s localhost:{self.port}/tapr/ws/conn/list",
            "a word to everyone": f"curl -s localhost:{self.port}/tapr/ws/conn/send -d '{json.dumps(word)}'",
            "what it does": f"curl -s localhost:{self.ops}/metrics",
        }
        return "\n".join(f"   {what:<22}{how}" for what, how in tries.items())

    def __exit__(self, *args):
        super().__exit__(*args)
        self.folder.cleanup()


def free_port(wanted):
    """The port itself, or another one, saying who has it."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            try:
                # As the app and the gateway bind it, so that a port in TIME_WAIT counts as free.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
                found = probe.getsockname()[1]
            except OSError:
                continue
        if found != wanted:
            print(f"demo: port {wanted} is taken{owner(wanted)}; using {found} instead", file=sys.stderr)
        return found
    raise Silence("no port is free")


def owner(port):
    try:
        listing = subprocess.run(["ss", "-Hltnp", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    names = re.findall(r'\("([^"]+)",pid=(\d+)', listing)
    return " by " + ", ".join(f"{name} (pid {pid})" for name, pid in names) if names else ""


# === in a cluster ===


class Cluster(Stage):
    port = 40010

    @staticmethod
    def arguments(parser):
        parser.add_argument("--gateway", required=True, help="the program ws-gateway, as client")
        parser.add_argument("--namespace", required=True, help="where the example app is installed")
        parser.add_argument("--keep", action="store_true", help="the cluster stays")

    def start(self):
        address = self.kubectl("get", "service", "chat-ws", "-o", "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}")
        self.url = f"ws://{address}/ws"
        logs = ["logs", "deployment/chat", "-c", "chat"]
        earlier = len(self.kubectl(*logs).splitlines())
        self.app = self.cast("app", ["kubectl", "-n", self.args.namespace, *logs, "-f"], describe)
        for _ in range(earlier):
            self.app.wait("what the app said before", lambda line: line, shown=False)

    def kubectl(self, *args):
        command = ["kubectl", "-n", self.args.namespace, *args]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def ask(self, call, body):
        """From inside the app's container: the admin API is for the pod only."""
        url = f"http://localhost:{self.port}/tapr/ws/conn/{call}"
        data = ["--post-data", json.dumps(body)] if body else []
        return self.kubectl("exec", "deployment/chat", "-c", "chat", "--", "wget", "-qO-", *data, url)

    def what_next(self):
        print("\nThat was all: three lines of YAML in the app's chart, and the operator.")
        if not self.args.keep:
            print("Nothing is left running. To keep the cluster: make demo CLUSTER=1 KEEP=1")
