"""A terminal to try the menu on: a pty, and just enough of an xterm to know what stands where."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

from harness import SLOW, Failed


class Screen:
    """A program on a terminal of its own.

        s = Screen([camellia, "--home", dir], env, rows=15, columns=60)
        s.wait("Register")
        s.type("1")
        s.end()
    """

    SEQUENCE = re.compile(rb"\x1b(?:\[([?>!]?)([0-9;]*)([@-~])|[()]([0-9A-Z])|([=>78cDEHM])|\]([^\x07\x1b]*)(?:\x07|\x1b\\))")

    def __init__(self, argv, env, rows=24, columns=80, term="xterm"):
        self.rows, self.columns = rows, columns
        self.raw = b""
        self.pending = b""
        self.blank()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(argv[0], argv, dict(env, TERM=term))
        self.resize(rows, columns)
        self.status = None

    def blank(self):
        self.cells = [[" "] * self.columns for _ in range(self.rows)]
        self.x = self.y = 0

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if (rows, columns) != (self.rows, self.columns):
            self.rows, self.columns = rows, columns
            self.blank()
            os.kill(self.pid, signal.SIGWINCH)

    # ---- what the program draws

    def put(self, text):
        for c in text:
            if self.x >= self.columns:
                self.x, self.y = 0, min(self.y + 1, self.rows - 1)
            if 0 <= self.y < self.rows:
                self.cells[self.y][self.x] = c
            self.x += 1

    def control(self, private, params, final):
        n = [int(p) if p else 0 for p in params.decode().split(";")] if params else [0]
        one = n[0] or 1
        row = self.cells[min(self.y, self.rows - 1)]
        if private:
            if params in (b"1049", b"47") and final == b"h":
                self.blank()
            return
        if final in b"Hf":
            self.y, self.x = one - 1, (n[1] if len(n) > 1 and n[1] else 1) - 1
        elif final == b"d":
            self.y = one - 1
        elif final in b"G`":
            self.x = one - 1
        elif final == b"A":
            self.y = max(0, self.y - one)
        elif final == b"B":
            self.y = min(self.rows - 1, self.y + one)
        elif final == b"C":
            self.x = min(self.columns - 1, self.x + one)
        elif final == b"D":
            self.x = max(0, self.x - one)
        elif final == b"J":
            for y in range(self.rows):
                for x in range(self.columns):
                    before = (y, x) < (self.y, self.x)
                    if n[0] == 2 or (n[0] == 0 and not before) or (n[0] == 1 and before):
                        self.cells[y][x] = " "
        elif final == b"K":
            low, high = {0: (self.x, self.columns), 1: (0, self.x + 1), 2: (0, self.columns)}[n[0]]
            row[low:high] = [" "] * len(row[low:high])
        elif final == b"X":
            row[self.x:self.x + one] = [" "] * len(row[self.x:self.x + one])
        elif final == b"P":
            row[self.x:] = row[self.x + one:] + [" "] * min(one, self.columns - self.x)
        elif final == b"@":
            row[self.x:] = ([" "] * one + row[self.x:])[:self.columns - self.x]
        elif final == b"L":
            self.cells[self.y:] = ([[" "] * self.columns for _ in range(one)] + self.cells[self.y:])[:self.rows - self.y]
        elif final == b"M":
            self.cells[self.y:] = (self.cells[self.y + one:] + [[" "] * self.columns for _ in range(one)])[:self.rows - self.y]
        elif final == b"b":
            self.put(self.last * one)

    last = " "

    def feed(self, data):
        data = self.pending + data
        self.pending = b""
        at = 0
        while at < len(data):
            c = data[at:at + 1]
            if c == b"\x1b":
                m = self.SEQUENCE.match(data, at)
                if not m:
                    if len(data) - at < 32:
                        self.pending = data[at:]
                        return
                    at += 1
                    continue
                if m.group(3):
                    self.control(m.group(1), m.group(2), m.group(3))
                at = m.end()
            elif c == b"\r":
                self.x, at = 0, at + 1
            elif c == b"\n":
                at += 1
                if self.y == self.rows - 1:
                    self.cells = self.cells[1:] + [[" "] * self.columns]
                else:
                    self.y += 1
            elif c == b"\b":
                self.x, at = max(0, self.x - 1), at + 1
            elif c == b"\t":
                self.x, at = min(self.columns - 1, self.x // 8 * 8 + 8), at + 1
            elif c < b" ":
                at += 1
            else:
                size = 1 if c < b"\x80" else 2 if c < b"\xe0" else 3 if c < b"\xf0" else 4
                if at + size > len(data):
                    self.pending = data[at:]
                    return
                self.last = data[at:at + size].decode("utf-8", "replace")
                self.put(self.last)
                at += size

    def pump(self, seconds):
        """Reads for so long. False once the program has ended."""
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            ready = select.select([self.fd], [], [], max(left, 0))[0]
            if not ready:
                return True
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            if not data:
                return False
            self.raw += data
            self.feed(data)

    def text(self):
        return "\n".join("".join(r).rstrip() for r in self.cells).rstrip()

    # ---- what a person does

    def wait(self, *words, within=10):
        """Until all of this stands on the screen."""
        deadline = time.monotonic() + within * SLOW
        while not all(word in self.text() for word in words):
            if not self.pump(0.05) or time.monotonic() > deadline:
                raise Failed("not on the screen: %s\n%s\n  raw end: %r" % (words, self.text(), self.raw[-300:]))

    def type(self, text):
        os.write(self.fd, text.encode() if isinstance(text, str) else text)

    def modes(self):
        """The terminal's settings, to see that they are as they were."""
        return termios.tcgetattr(self.fd)

    def end(self, within=10):
        """Waits for the end of the program; its exit status, 128 + n for a signal."""
        deadline = time.monotonic() + within * SLOW
        while self.status is None:
            self.pump(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise Failed("the program did not end\n" + self.text())
        return self.status
