"""A process of the demo: what it writes is awaited, and shown when it was awaited."""

import json
import queue
import subprocess
import threading
import time

PATIENCE = 20


class Silence(Exception):
    """Something did not happen in time."""


def show(who, arrow, text):
    print(f"   {who:>7} {arrow} {text}", flush=True)


class Actor:
    def __init__(self, name, command, describe=None, **options):
        self.name = name
        self.describe = describe or (lambda line: ("<", line.removeprefix("< ")))
        self.heard, self.lines = [], queue.Queue()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1, **options
        )
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def expect_text(self, wanted):
        """Waits for a line that contains `wanted`, and shows it."""
        return self.wait(wanted, lambda line: line if wanted in line else None)

    def expect(self, wanted):
        """Waits for a JSON line that `wanted` says yes to, and shows it."""

        def look(line):
            try:
                document = json.loads(line.removeprefix("< "))
            except ValueError:
                return None
            return document if isinstance(document, dict) and wanted(document) else None

        return self.wait("the expected line", look)

    def wait(self, wanted, look, shown=True):
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                line = self.lines.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                heard = "\n  ".join(self.heard[-10:]) or "nothing"
                raise Silence(f"{self.name}: waited for {wanted}; heard last:\n  {heard}")
            self.heard.append(line)
            found = look(line)
            if found is not None:
                if shown:
                    show(self.name, *self.describe(line))
                return found

    def say(self, message):
        text = json.dumps(message)
        show(self.name, ">", text)
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def leave(self):
        show(self.name, ">", "(hangs up)")
        self.process.stdin.close()
        self.process.wait(PATIENCE)

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
