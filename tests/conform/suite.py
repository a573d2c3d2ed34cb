"""What the cases stand on: their register, a node under test, and what a case is given.

    @case("BEP 5, ping", both=True)
    def a_ping_is_answered_with_the_id(c):
        with c.peer() as p:
            p.ask("ping")

A case is a rule. Its name says what holds, its section where that is written. `both` runs it over IPv4 and over
IPv6. c.node is a node that many cases share, so what they send carries no `n` and leaves its table alone;
c.plain is one of the public network (`NETWORK =`); c.fresh() is one of the case's own.
"""
import contextlib
import glob
import json
import os
import signal
import socket
import subprocess
import threading
import time
import traceback

import harness
from harness import SLOW, Failed, check, equal, wait_until
from krpc import PATIENCE, Peer
from wire import Zmtp

CASES = []
#: Set by run.py when everything runs in a network namespace of its own: then the loopback device has these
#: addresses as well, which are public ones to the node and lead nowhere.
ISOLATED = os.environ.get("CONFORM_ISOLATED") == "1"
NODE_IP = "21.75.31.124"
PUBLIC_IPS = [NODE_IP, "124.31.75.21", "65.23.51.170", "84.124.73.14", "43.213.53.83", "124.31.75.22",
              "2a00:1450:4001:81d::200e", "2a03:2880:f12d:83::36"]


#: The node gives an answer 50 ms before it asks elsewhere, and 200 ms before it counts as none. A peer of the suite that
#: took longer than this (the machine was busy) may have spoilt its case, which is then run again.
LATE = 0.04
ATTEMPTS = 4


class Skip(Exception):
    pass


class Case:
    def __init__(self, function, section, family, needs):
        self.function, self.section, self.family, self.needs = function, section, family, needs
        self.name = function.__name__ + (", IPv6" if family == 6 else "")


def case(section, both=False, family=4, public=False):
    """Marks a case. `public`: it needs the addresses above."""
    def mark(function):
        names = [c.name for c in CASES]
        for f in ((4, 6) if both else (family,)):
            c = Case(function, section, f, public)
            assert c.name not in names, "two cases are called " + c.name
            CASES.append(c)
        return function
    return mark


def faketime_library():
    found = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    return found[0] if found else None


class Api(Zmtp):
    """A node's local API, kept open: quicker than a command each time."""

    def __init__(self, home):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(os.path.join(home.dir, "run", "node.sock"))
        super().__init__(sock)
        self.tag = 0

    def ask(self, do, **args):
        """Rows, and the answer behind them."""
        self.tag += 1
        self.frame(json.dumps(dict(args, do=do, v=1, tag=self.tag)).encode())
        rows = []
        while True:
            reply = json.loads(self.read_frame()[1])
            if reply.get("tag") != self.tag:
                continue
            if "row" in reply:
                rows.append(reply["row"])
            if reply.get("done"):
                return rows, reply


class Node:
    """A camelliad."""

    def __init__(self, world, name, config="", network="camellia", join=(), ip="127.0.0.1", ip6="::1", clock=False):
        self.home = world.home(name, "[DEFAULT]\nNETWORK = %s\nIP6 = %s\n%s" % (network, ip6, config))
        self.world, self.ip, self.ip6, self.join = world, ip, ip6, list(join)
        self.port, self.process, self.clock, self._api = 0, None, None, None
        if clock:
            self.clock = os.path.join(self.home.dir, "faketime")
            self.step(0)
        self.start()

    def start(self):
        env = dict(self.world.env)
        if self.clock:
            library = faketime_library()
            check(library, "libfaketime is not there: etc/install-deps.sh --test")
            # Sanitizers want to be first, and look; here they need not be.
            env.update(LD_PRELOAD=library, FAKETIME_TIMESTAMP_FILE=self.clock, FAKETIME_NO_CACHE="1",
                       FAKETIME_DONT_FAKE_MONOTONIC="1", ASAN_OPTIONS=env["ASAN_OPTIONS"] + ":verify_asan_link_order=0")
        argv = [os.path.join(self.world.bin, "camelliad"), "--home", self.home.dir,
                "--listen", "%s:%d" % (self.ip, self.port)]
        for address in self.join:
            argv += ["--join", "%s:%d" % address[:2] if ":" not in address[0] else "[%s]:%d" % address[:2]]
        with open(os.path.join(self.home.dir, "node.out"), "ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=env)
        line = self.process.stdout.readline().decode()
        check("ready at" in line, "camelliad did not start:", line, self.home.log()[-2000:])
        self.port = int(line.split()[3].rsplit(":", 1)[1])

    @property
    def address(self):
        return self.ip, self.port

    @property
    def address6(self):
        return self.ip6, self.port

    def step(self, seconds):
        """Its wall clock is from now on this far ahead."""
        with open(self.clock + ".new", "w") as f:
            f.write("+%d" % seconds)
        os.replace(self.clock + ".new", self.clock)

    def end(self, sig=signal.SIGTERM):
        if self._api:
            self._api.close()
            self._api = None
        if self.process.poll() is None:
            self.process.send_signal(sig)
            try:
                self.process.wait(10 * SLOW)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise Failed("the node did not end") from None
        self.process.stdout.close()
        status = self.process.returncode
        check(status in (0, -sig), "the node ended with", status, self.home.log()[-3000:])

    def restart(self, sig=signal.SIGTERM):
        self.end(sig)
        self.start()

    def check_alive(self):
        check(self.process.poll() is None, "the node has ended:", self.home.log()[-3000:])

    # ---- as its user sees it

    def ask(self, do, **args):
        """A request of the local API: its rows, or None where it failed."""
        if not self._api:
            self._api = Api(self.home)
        rows, done = self._api.ask(do, **args)
        return rows if done.get("status", 0) == 0 else None

    @property
    def status(self):
        return self.ask("status")[0]

    @property
    def id(self):
        return bytes.fromhex(self.status["node_id"])

    def peers(self):
        return {(r["node_id"], r["address"]) for r in self.ask("peers")}

    def find(self, target):
        return self.ask("dht_find", id=target.hex())

    def ping(self, peer):
        """The node asks the peer: whoever answers that is a contact, if there is room."""
        return self.ask("dht_ping", address=("[%s]:%d" if ":" in peer.ip else "%s:%d") % peer.address)

    def get(self, target, salt=None):
        """A row, or None."""
        rows = self.ask("dht_get", target=target.hex(), **({"salt": salt} if salt else {}))
        return rows[0] if rows else None

    def put(self, text):
        rows = self.ask("dht_put", value=text)
        return rows[0] if rows else None

    def find_peers(self, info_hash):
        """The addresses announced under it, as text."""
        return {r["address"] for r in self.ask("dht_peers", info_hash=info_hash.hex())}

    def announce(self, info_hash, port=None):
        """How many nodes took it."""
        rows = self.ask("dht_announce", info_hash=info_hash.hex(), **({"port": port} if port else {}))
        return rows[0]["holders"] if rows else 0

    def knows(self, peer):
        host = "[%s]:%d" if ":" in peer.ip else "%s:%d"
        return (peer.id.hex(), host % peer.address) in self.peers()

    def knows_address(self, address):
        return "%s:%d" % address in {a for _, a in self.peers()}

    def wait_knows(self, peer, within=PATIENCE):
        wait_until("the node has %s among its peers" % (peer.address,), lambda: self.knows(peer), within, 0.02)


class Context:
    """What a case is given."""

    def __init__(self, world, shared, number, family):
        self.world, self.shared, self.number, self.family = world, shared, number, family
        self.ending = contextlib.ExitStack()
        self.nodes = 0
        self.peers = []

    @property
    def node(self):
        return self.shared("camellia")

    @property
    def plain(self):
        return self.shared("")

    def fresh(self, **kw):
        self.nodes += 1
        node = Node(self.world, "c%d-%d" % (self.number, self.nodes), **kw)
        self.ending.callback(node.end)
        return node

    def peer(self, node=None, prove=None, **kw):
        """A peer that talks to the node; it is closed when the case ends. A plain client proves its address first,
        so that what it is answered does not depend on how much it has asked."""
        node = node or self.node
        peer = Peer(node.address6 if self.family == 6 else node.address, **kw)
        self.ending.callback(peer.close)
        self.peers.append(peer)
        if prove if prove is not None else peer.answers and not peer.word:
            peer.prove()
        return peer

    def network(self, n, node, word, **kw):
        """n peers that answer, all in the node's table: their ids are spread, so that no bucket is too full."""
        peers = [self.peer(node, word=word, node_id=bytes([256 * i // n]) + os.urandom(19), **kw) for i in range(n)]
        for p in peers:
            check(node.ping(p), "the node does not reach", p.address)
        equal({p.id.hex() for p in peers} - {i for i, _ in node.peers()}, set(), "not in the table")
        return peers


class Shared:
    """The nodes that cases share, started when the first one asks."""

    def __init__(self, world):
        self.world, self.nodes, self.lock = world, {}, threading.Lock()

    def __call__(self, network):
        with self.lock:
            if network not in self.nodes:
                self.nodes[network] = Node(self.world, "shared" + (network or "-plain"), network=network)
            return self.nodes[network]


def where_in(error, function):
    """The line of the case that failed."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.name == function.__name__]
    return "%s:%s" % (os.path.basename(function.__code__.co_filename), lines[-1] if lines else "?")


def show(word, section, name, said, took):
    print("  %-4s %-34s %s%s" % (word, section, name.replace("_", " "), "  %.1f s" % took if took > 2 else ""), flush=True)
    if said:
        print("    " + "\n    ".join(said.splitlines()), flush=True)


def run(c, number, world, shared):
    """Runs one case: (word, what it said, seconds). Once more if it failed while a peer of ours, not the node, was too
    slow; one that fails with all peers in time has failed."""
    start = time.monotonic()
    for attempt in range(1, ATTEMPTS + 1):
        context = Context(world, shared, number * 10 + attempt, c.family)
        word, said = run_once(c, context, world, shared)
        late = max([p.late for p in context.peers], default=0)
        if word != "FAIL" or late <= LATE or "-- CRASH" in said:
            break
        said += "\n(attempt %d; a peer of the suite answered after %.0f ms)" % (attempt, late * 1000)
    return word, said, time.monotonic() - start


def run_once(c, context, world, shared):
    word, said = "ok", ""
    try:
        if c.needs and not ISOLATED:
            raise Skip("no network namespace here, so no public addresses")
        try:
            c.function(context)
        finally:
            context.ending.close()
        for node in shared.nodes.values():
            node.check_alive()
    except Skip as e:
        word, said = "skip", str(e)
    except Failed as e:
        word, said = "FAIL", "%s\n  at %s" % (e, where_in(e, c.function))
    except Exception:
        word, said = "FAIL", traceback.format_exc()
    if word == "FAIL":
        for home in world.homes:
            crash = harness.CRASH.search(home.log())
            if crash:
                said += "\n-- CRASH of %s: %s" % (home.name, home.log()[crash.start():crash.start() + 2500])
    return word, said
