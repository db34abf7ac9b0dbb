"""The demo's conversation: two clients, the gateway and the example app, line by line.

Every line shown is what a real program wrote; a step that does not happen within 20 seconds ends
the demo with what was last heard. `demo/run` and `demo/cluster` call this.
"""

import argparse
import json
import sys
from contextlib import ExitStack

from stage import Cluster, Loopback, Silence


def tell(text):
    print(f"\n{text}", flush=True)


def callback(action):
    return lambda line: line.get("action") == action


def call(name):
    return lambda line: line.get("call") == name


def event(name):
    return lambda line: line.get("event") == name


def converse(stage):
    tell("1. Ann connects. The gateway tells the app, and the app greets her at once.")
    ann = stage.client("ann", cookie="nick=Annie")
    conn = stage.app.expect(callback("open"))["conn_id"]
    stage.app.expect(call("send"))
    ann.expect(event("hello"))

    tell("2. Ann sends a message. The app gets it as a POST, and answers her alone.")
    ann.say({"event": "question", "data": {"n": 12345678901234567890}})
    stage.app.expect(callback("message"))
    stage.app.expect(call("send"))
    ann.expect(event("echo"))

    tell("3. Bob connects too. What he says goes to everyone.")
    bob = stage.client("bob")
    stage.app.expect(callback("open"))
    bob.expect(event("hello"))
    bob.say({"event": "say", "data": "hello everyone"})
    stage.app.expect(callback("message"))
    stage.app.expect(call("send"))
    ann.expect(event("broadcast"))
    bob.expect(event("broadcast"))

    tell("4. Heartbeats stay between client and gateway: the app is not bothered.")
    bob.say({"event": "ping", "data": {}})
    bob.expect(event("pong"))

    tell("5. Who is there? Anything in the app's pod may ask the gateway.")
    stage.admin("list")

    tell("6. The app closes Ann's connection, and hears that it is closed.")
    stage.admin("close", {"conns": [conn], "code": 4000, "reason": "good night"})
    ann.expect_text("closed: 4000")
    stage.app.expect(callback("close"))

    tell("7. Bob leaves by himself. The app hears of that too.")
    bob.leave()
    stage.app.expect(callback("close"))


def main():
    parser = argparse.ArgumentParser()
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind in (Loopback, Cluster):
        kind.arguments(kinds.add_parser(kind.__name__.lower()))
    args = parser.parse_args()
    kind = {"loopback": Loopback, "cluster": Cluster}[args.kind]
    with ExitStack() as stack:
        try:
            stage = stack.enter_context(kind(args))
            converse(stage)
            stage.what_next()
        except Silence as silence:
            print(f"\ndemo: {silence}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
