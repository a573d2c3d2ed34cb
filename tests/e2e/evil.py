"""Driving tests/hostile: the peer with bad intent, built beside the programs (make hostile-build)."""
import os
import selectors
import subprocess
import time

import harness
from harness import Failed, check


def program(w):
    path = os.path.join(w.bin, "tests", "hostile", "hostile")
    check(os.access(path, os.X_OK), "no", path, "(make hostile-build first)")
    return path


def run(w, *args, timeout=60):
    """hostile ARGS, to its end: its lines."""
    p = subprocess.run([program(w)] + [str(a) for a in args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                       timeout=timeout * harness.SLOW)
    check(p.returncode == 0, "hostile", *args, "ended with", p.returncode, p.stdout[-500:], p.stderr[-2000:])
    return p.stdout.splitlines()


def answers(w, *args, **kw):
    """The same where each line is a word and what was answered: a dict."""
    return dict(line.rsplit(" ", 1) if line.count(" ") == 1 else line.split(" ", 1) for line in run(w, *args, **kw))


def id_of(w, name):
    return run(w, "id", name)[0]


class Evil:
    """hostile with commands on stdin, or one that only waits for the end of stdin."""

    def __init__(self, w, *args):
        self.args = args
        self.process = subprocess.Popen([program(w)] + [str(a) for a in args], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.buffer = b""
        self.first = self.line(20)

    def line(self, timeout):
        end = time.monotonic() + timeout * harness.SLOW
        with selectors.DefaultSelector() as s:
            s.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self.buffer:
                if not s.select(max(end - time.monotonic(), 0)):
                    raise Failed("hostile %s says nothing" % " ".join(map(str, self.args)))
                got = os.read(self.process.stdout.fileno(), 65536)
                if not got:
                    raise Failed("hostile %s ended: %s" % (" ".join(map(str, self.args)),
                                                           self.process.stderr.read().decode()[-3000:]))
                self.buffer += got
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode()

    def do(self, *words, timeout=30):
        """One command: what came of it, as numbers; "ok" is whether the victim still answers."""
        self.process.stdin.write(" ".join(map(str, words)).encode() + b"\n")
        self.process.stdin.flush()
        word, *rest = self.line(timeout).split()
        return dict({k: int(v) for k, v in (r.split("=") for r in rest)}, ok=word == "ok")

    def end(self):
        """Its last lines."""
        self.process.stdin.close()
        out = self.process.stdout.read().decode()
        check(self.process.wait(20) == 0, "hostile", *self.args, "ended with", self.process.returncode,
              self.process.stderr.read().decode()[-3000:])
        return (self.buffer.decode() + out).splitlines()
