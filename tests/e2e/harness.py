"""What the end-to-end scenarios stand on: real programs, real homes, real sockets on loopback.

A scenario is a function with one argument, a World, in one of the scenario_*.py files beside this one:

    from harness import scenario

    @scenario(timeout=60)
    def two_homes(w):
        ana, bob = w.users("ana", "bob")          # registered, nodes running, bob joined through ana
        bob.ok("follow", "ana")
        ana.ok("post", "hello")
        bob.wait_texts(["hello"], within=5)

run.py runs each in a process of its own, several at a time, and then ends whatever the scenario left
running. Every wait is bounded. Nothing is built here: the programs come from --bin or CAMELLIA_BIN.
"""
import concurrent.futures
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

SCENARIOS = {}
#: Sanitized programs on a busy machine are slower; waits that only bound a hang are stretched by this.
SLOW = float(os.environ.get("CAMELLIA_SLOW", "1"))
PASSPHRASE = "correct horse battery"
#: What a sanitizer, an assertion or the kernel says when a program has a mistake.
CRASH = re.compile(r"ERROR: AddressSanitizer|ERROR: LeakSanitizer|runtime error:|Assertion .* failed|"
                   r"Segmentation fault|stack smashing|double free|malloc\(\):|free\(\):")


def scenario(timeout=60, needs=None):
    """Marks a scenario. `needs` is a function that returns why it cannot run here, or None."""
    def mark(function):
        name = function.__name__
        assert name not in SCENARIOS, "two scenarios are called " + name
        SCENARIOS[name] = (function, timeout, needs)
        return function
    return mark


class Failed(Exception):
    pass


def check(condition, *what):
    """An assertion that says what it saw."""
    if not condition:
        raise Failed(" ".join(str(w) for w in what) or "check failed")


def equal(got, want, what=""):
    if got != want:
        raise Failed("%s\n    got  %s\n    want %s" % (what, got, want))


def wait_until(what, function, within, every=0.05):
    """Calls function until it returns something true, and returns that and how long it took."""
    start = time.monotonic()
    last = None
    while True:
        last = function()
        took = time.monotonic() - start
        if last:
            return last, took
        if took > within * SLOW:
            raise Failed("not within %.1f s: %s" % (within * SLOW, what() if callable(what) else what))
        time.sleep(every)


def together(calls):
    """Runs the calls at one time, each in a thread; returns their results in order."""
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return [f.result() for f in [pool.submit(c) for c in calls]]


def note(*words):
    """A figure worth seeing; run.py shows it beside the scenario's name."""
    print("NOTE " + " ".join(str(w) for w in words), flush=True)


class Result:
    """How a run of camellia ended."""

    def __init__(self, args, status, out, err, took):
        self.args, self.status, self.out, self.err, self.took = args, status, out, err, took

    @property
    def text(self):
        return self.out.decode("utf-8")

    @property
    def rows(self):
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def row(self):
        rows = self.rows
        check(len(rows) == 1, "one row expected:", self)
        return rows[0]

    def __str__(self):
        return "camellia %s\n    status %s after %.2f s\n    stdout %s\n    stderr %s" % (
            " ".join(map(str, self.args)), self.status, self.took, self.out[-2000:], self.err[-2000:])


class Home:
    """One user's folder, and the commands run in it."""

    def __init__(self, world, name, config=""):
        self.world, self.name = world, name
        self.dir = os.path.join(world.dir, name)
        os.makedirs(self.dir, 0o700)
        self.passphrase_file = os.path.join(world.dir, name + ".pass")
        with open(self.passphrase_file, "w") as f:
            f.write(PASSPHRASE + "\n")
        self.configure(config)

    def configure(self, extra=""):
        """A config.ini that is quick to open and asks nobody outside; `extra` goes behind it."""
        with open(os.path.join(self.dir, "config.ini"), "w") as f:
            f.write("[KEY]\nCOST = interactive\n[SNTP]\nACTIVE = 0\n[LOG]\nLEVEL = info\n"
                    + ("" if "RESCUE" in extra else "[BOOTSTRAP]\nRESCUE = 0\n") + extra)

    # ---- running

    def run(self, *args, input=None, timeout=60, json=True, env=None, **popen):
        """camellia --home HERE [--json] ARGS, to its end."""
        argv = [self.world.camellia, "--home", self.dir] + (["--json"] if json else []) + list(args)
        start = time.monotonic()
        try:
            p = subprocess.run(argv, input=input, stdin=subprocess.DEVNULL if input is None else None,
                               capture_output=True, timeout=timeout * SLOW,
                               env=dict(self.world.client_env(args), **(env or {})), **popen)
        except subprocess.TimeoutExpired as e:
            raise Failed("camellia %s: no end within %.0f s\n    stdout %s\n    stderr %s" %
                         (" ".join(map(str, args)), timeout * SLOW, e.stdout, e.stderr))
        result = Result(args, p.returncode, p.stdout, p.stderr, time.monotonic() - start)
        check(not CRASH.search(p.stderr.decode("utf-8", "replace")), "a crash:", result)
        check(p.returncode >= 0, "ended by a signal:", result)
        return result

    def ok(self, *args, status=0, **kw):
        """The same, which must end with `status`. Returns its rows."""
        result = self.run(*args, **kw)
        check(result.status == status, "status", status, "expected:", result)
        return result.rows if kw.get("json", True) else result.text

    def fails(self, status, *args, word=None, says=None, **kw):
        """Must end with this status and an error of the right shape. Returns its message."""
        result = self.run(*args, **kw)
        check(result.status == status, "status", status, "expected:", result)
        if kw.get("json", True):
            error = result.rows[-1]
            check(error.get("error") and error.get("message") and error.get("v") == 1, "an error object expected:", result)
            message = error["message"]
            if word:
                equal(error["error"], word, str(result))
        else:
            message = result.err.decode("utf-8")
            check(message.startswith("camellia: "), "words on stderr expected:", result)
        if says:
            check(re.search(says, message), "it should say", repr(says) + ":", result)
        return message

    def start(self, *args, json=True, **popen):
        """camellia in the background; the scenario ends it, or run.py does."""
        argv = [self.world.camellia, "--home", self.dir] + (["--json"] if json else []) + list(args)
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=self.world.env, **popen)

    # ---- the account and the node

    def register(self, join=None, listen="127.0.0.1:0", status=0, name=None, timeout=60):
        args = ["register", name or self.name, "--listen", listen, "--passphrase-file", self.passphrase_file]
        for j in ([join] if isinstance(join, (str, Home)) else join or []):
            args += ["--join", j.address if isinstance(j, Home) else j]
        return self.ok(*args, status=status, timeout=timeout)[0]

    def login(self, *args, status=0):
        return self.ok("login", "--passphrase-file", self.passphrase_file, *args, status=status)

    def node(self, join=None, listen="127.0.0.1:0"):
        """`camellia node`, in the background of this test; waits until it answers."""
        args = ["node", "--listen", listen]
        if join:
            args += ["--join", join.address if isinstance(join, Home) else join]
        log = open(os.path.join(self.dir, "node.out"), "ab")
        process = self.start(*args, json=False, stdout=log, stderr=log)
        wait_until(self.log, lambda: process.poll() is not None or self.run("status").status == 0, 20)
        check(process.poll() is None, "camellia node ended:", self.log())
        return process

    @property
    def status(self):
        return self.ok("status")[0]

    @property
    def address(self):
        return self.status["address"]

    @property
    def id(self):
        return self.ok("whoami")[0]["id"]

    @property
    def pid(self):
        """Of the node that holds this home's lock, or None."""
        try:
            with open(os.path.join(self.dir, "lock")) as f:
                pid = int(f.read().strip() or 0)
        except (OSError, ValueError):
            return None
        return pid if pid and self.world.owns(pid) else None

    def no_node(self, within=3):
        """No node is left here. One that has just said why it does not start may take a moment to end."""
        wait_until("no node in " + self.dir, lambda: self.pid is None, within)

    def kill(self):
        """SIGKILL, as a power cut would; returns when it is gone."""
        pid = self.pid
        check(pid, "no node runs in", self.dir)
        os.kill(pid, signal.SIGKILL)
        wait_until("node %d gone" % pid, lambda: not self.world.owns(pid), 5, 0.01)

    def stop(self):
        """SIGSTOP: it holds its port and answers nothing. Returns the pid, for os.kill(pid, SIGCONT)."""
        pid = self.pid
        os.kill(pid, signal.SIGSTOP)
        return pid

    def log(self):
        text = ""
        for name in ("camellia.log", "node.out"):
            try:
                with open(os.path.join(self.dir, name), errors="replace") as f:
                    text += f.read()
            except OSError:
                pass
        return text

    # ---- posts

    def post(self, text, *args, **kw):
        return self.ok("post", *args, "--", text, **kw)[0]

    def timeline(self, n=1000):
        """Newest first, gap lines left out."""
        return [r for r in self.ok("timeline", "-n", str(n)) if not r.get("gap")]

    def texts(self, author=None, n=1000):
        """Oldest first."""
        return [r["text"] for r in reversed(self.timeline(n)) if author in (None, r["author"])]

    def wait_texts(self, want, within, author=None):
        """Until the timeline is exactly this, oldest first. Returns how long that took."""
        seen = []

        def look():
            seen[:] = self.texts(author)
            return seen == want
        _, took = wait_until(lambda: "%s has %s, not %s\n%s" % (self.name, seen, want, self.log()[-3000:]), look, within)
        return took

    def names(self, command, *who):
        return sorted(r["user"] for r in self.ok(command, *who))


class World:
    """A temporary folder with homes in it. Everything that runs in it is ended by clean()."""

    def __init__(self, bin_dir):
        self.bin = os.path.abspath(bin_dir)
        self.camellia = os.path.join(self.bin, "camellia")
        check(os.access(self.camellia, os.X_OK), "no camellia in", self.bin, "(make first)")
        self.dir = tempfile.mkdtemp(prefix="cam-e2e-")
        self.homes = []
        self.leaks_sought = set()
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "CAMELLIA_"))}
        self.env.update(HOME=self.dir, XDG_RUNTIME_DIR=self.dir, LC_ALL="C.UTF-8", TZ="UTC",
                        ASAN_OPTIONS="allow_user_segv_handler=0:detect_leaks=1:abort_on_error=0",
                        UBSAN_OPTIONS="print_stacktrace=1")

    def client_env(self, args):
        """A client is started thousands of times, and to look for leaks takes longer than all else that it does: the
        first of each command is enough."""
        command = args[0] if args else ""
        if command not in self.leaks_sought:
            self.leaks_sought.add(command)
            return self.env
        return dict(self.env, ASAN_OPTIONS=self.env["ASAN_OPTIONS"].replace("detect_leaks=1", "detect_leaks=0"))

    def home(self, name, config=""):
        home = Home(self, name, config)
        self.homes.append(home)
        return home

    def users(self, *names, config=""):
        """Registered and logged in, the first alone, the others joined through it; all know each other's nodes."""
        homes = [self.home(n, config) for n in names]
        homes[0].register(status=75 if not self.homes[:-len(names)] else 0,
                          join=None if not self.homes[:-len(names)] else self.homes[0])
        together([lambda h=h: h.register(join=homes[0]) for h in homes[1:]] or [lambda: None])
        self.settle(homes)
        return homes

    def settle(self, homes=None, within=10):
        """Until every node has the peers it can have (table of k = 16)."""
        homes = homes or self.homes
        want = min(len(homes) - 1, 8)
        for h in homes:
            wait_until(lambda: "%s has too few peers: %s" % (h.name, h.status), lambda: h.status["peers"] >= want, within)

    def owns(self, pid):
        """Is this a live process of this world? Pids are used again, so the command line is looked at."""
        try:
            with open("/proc/%d/cmdline" % pid, "rb") as f:
                if self.dir.encode() not in f.read():
                    return False
            with open("/proc/%d/stat" % pid) as f:
                return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
        except OSError:
            return False

    def pids(self):
        return [int(p) for p in os.listdir("/proc") if p.isdigit() and self.owns(int(p))]

    def check_logs(self):
        for home in self.homes:
            found = CRASH.search(home.log())
            check(not found, "the node of", home.name, "said", found and found.group(0), "\n", home.log()[-6000:])

    def clean(self):
        end_all(self.dir)
        shutil.rmtree(self.dir, ignore_errors=True)


def end_all(directory):
    """Ends, by pid, every process whose command line names this folder."""
    needle = os.path.abspath(directory).encode()
    for sig in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + 3
        while True:
            left = []
            for p in os.listdir("/proc"):
                if not p.isdigit() or int(p) == os.getpid():
                    continue
                try:
                    with open("/proc/%s/cmdline" % p, "rb") as f:
                        line = f.read()
                except OSError:
                    continue
                if needle in line and b"run.py" not in line:
                    left.append(int(p))
            if not left:
                return
            for pid in left:
                try:
                    os.kill(pid, signal.SIGCONT)
                    os.kill(pid, sig)
                except OSError:
                    pass
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)


def free_port():
    """A port that is free for UDP and TCP now."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp, \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def memory_kb(pid):
    """Resident memory of a process."""
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


def is_root():
    return os.geteuid() == 0


def process_age_s(pid):
    """Seconds since the kernel started this process, to a hundredth."""
    with open("/proc/%d/stat" % pid) as f:
        started = int(f.read().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


class Live:
    """`timeline --follow` in the background: rows with the moment at which each came."""

    def __init__(self, home, *args):
        self.rows, self.times = [], []
        self.process = home.start("timeline", "--follow", *args, stdout=subprocess.PIPE)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.times.append(time.monotonic())
            self.rows.append(json.loads(line))

    def texts(self):
        return [r["text"] for r in list(self.rows) if not r.get("gap")]

    def wait(self, count, within):
        wait_until(lambda: "%d posts, got %s" % (count, self.texts()), lambda: len(self.texts()) >= count, within, 0.01)
        return [t for t, r in zip(self.times, self.rows) if not r.get("gap")]

    def end(self, sig=signal.SIGINT):
        self.process.send_signal(sig)
        status = self.process.wait(10)
        self.thread.join(5)
        return status
