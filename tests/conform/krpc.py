"""KRPC written a second time, from the BEPs, so that the node is not judged by its own code: bencode that takes
only the canonical form, Ed25519 by way of libsodium, node ids, and a peer on a real UDP socket.

    with Peer(node.address) as p:
        pong = p.ask("ping")["r"]
        p.refused(203, "find_node", target=b"short")

A message is a dict as it travels, with text for its keys and bytes for its strings.
"""
import ctypes
import ctypes.util
import hashlib
import os
import queue
import random
import socket
import struct
import threading
import time

from harness import SLOW, Failed, check

# ---- bencode (BEP 3): one form for each value


def encode(value):
    if isinstance(value, bool):
        raise TypeError("bencode has no booleans")
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, Raw):
        return value.data
    if isinstance(value, list):
        return b"l" + b"".join(map(encode, value)) + b"e"
    if isinstance(value, dict):
        rows = sorted((k.encode() if isinstance(k, str) else k, v) for k, v in value.items())
        return b"d" + b"".join(encode(k) + encode(v) for k, v in rows) + b"e"
    raise TypeError(type(value))


class Raw:
    """Bytes to be put into a message as they are."""

    def __init__(self, data):
        self.data = data


class Malformed(Exception):
    pass


def decode(data):
    value, end = _decode(data, 0)
    if end != len(data):
        raise Malformed("something follows the value")
    return value


def _decode(data, at):
    kind = data[at:at + 1]
    if kind == b"i":
        end = data.find(b"e", at)
        text = data[at + 1:end] if end > 0 else b""
        try:
            number = int(text)
        except ValueError:
            raise Malformed("not a number") from None
        if b"%d" % number != text or not -2 ** 63 <= number < 2 ** 63:
            raise Malformed("not the one form of a number")
        return number, end + 1
    if kind in (b"l", b"d"):
        at += 1
        items, last = [], None
        while data[at:at + 1] != b"e":
            if at >= len(data):
                raise Malformed("no end")
            item, at = _decode(data, at)
            items.append(item)
            if kind == b"d" and len(items) % 2 == 1:
                if not isinstance(item, bytes) or (last is not None and item <= last):
                    raise Malformed("keys out of order: %r after %r" % (item, last))
                last = item
        if kind == b"l":
            return items, at + 1
        if len(items) % 2:
            raise Malformed("a key without value")
        return {k.decode("latin-1"): v for k, v in zip(items[::2], items[1::2])}, at + 1
    colon = data.find(b":", at)
    digits = data[at:colon] if colon > 0 else b""
    if not digits.isdigit() or (digits[:1] == b"0" and len(digits) > 1) or colon + 1 + int(digits) > len(data):
        raise Malformed("not a string")
    end = colon + 1 + int(digits)
    return data[colon + 1:end], end


# ---- hashes and keys


def sha1(*parts):
    return hashlib.sha1(b"".join(parts)).digest()


#: `n` of the network that config.ini names when nobody changes it.
WORD = sha1(b"camellia")[:4]

_sodium = ctypes.CDLL(ctypes.util.find_library("sodium") or "libsodium.so.23")
if _sodium.sodium_init() < 0:
    raise OSError("libsodium does not start")


class Key:
    """An Ed25519 key pair."""

    def __init__(self, seed=None):
        self.seed = seed or os.urandom(32)
        public, secret = ctypes.create_string_buffer(32), ctypes.create_string_buffer(64)
        _sodium.crypto_sign_seed_keypair(public, secret, self.seed)
        self.public, self._secret = public.raw, secret.raw

    def sign(self, data):
        sig = ctypes.create_string_buffer(64)
        _sodium.crypto_sign_detached(sig, None, data, ctypes.c_ulonglong(len(data)), self._secret)
        return sig.raw

    @property
    def expanded(self):
        """The form that libtorrent takes: the scalar and the prefix (RFC 8032, section 5.1.5)."""
        h = bytearray(hashlib.sha512(self.seed).digest())
        h[0] &= 248
        h[31] = (h[31] & 63) | 64
        return bytes(h)


def verified(public, data, sig):
    return _sodium.crypto_sign_verify_detached(sig, data, ctypes.c_ulonglong(len(data)), public) == 0


def item_signed(seq, v, salt=b""):
    """BEP 44, "Signature verification": the bytes that are signed; v is bencoded already."""
    return (b"4:salt" + encode(salt) if salt else b"") + b"3:seq" + encode(seq) + b"1:v" + v


# ---- node ids (BEP 42)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def address_bits(ip, r):
    """The first 21 bits that an id at this address must have, r being the low 3 bits of its last byte."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip)[:8]
    mask = bytes.fromhex("0103070f1f3f7fff" if ":" in ip else "030f3fff")
    masked = bytearray(a & b for a, b in zip(packed, mask))
    masked[0] |= r << 5
    return crc32c(masked) >> 11


def id_for(ip, rand=None):
    r = random.randrange(256) if rand is None else rand
    bits = address_bits(ip, r & 7) << 3 | random.randrange(8)
    return struct.pack(">I", bits << 8)[:3] + os.urandom(16) + bytes([r])


def id_fits(node_id, ip):
    return int.from_bytes(node_id[:3], "big") >> 3 == address_bits(ip, node_id[19] & 7)


def distance(a, b):
    return int.from_bytes(a, "big") ^ int.from_bytes(b, "big")


# ---- compact addresses (BEP 5, BEP 32)


def compact(address):
    ip, port = address[:2]
    return socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip) + struct.pack(">H", port)


def uncompact(data):
    check(len(data) in (6, 18), "a compact address has 6 or 18 bytes, not", len(data))
    return socket.inet_ntop(socket.AF_INET if len(data) == 6 else socket.AF_INET6, data[:-2]), \
        struct.unpack(">H", data[-2:])[0]


def contacts(data, family):
    """[(id, (ip, port))] of a `nodes` or `nodes6` string."""
    one = 26 if family == 4 else 38
    check(len(data) % one == 0, "a multiple of", one, "bytes, not", len(data))
    return [(data[i:i + 20], uncompact(data[i + 20:i + one])) for i in range(0, len(data), one)]


def nodes_of(reply):
    """All contacts that a reply names, of both families."""
    r = reply["r"]
    return contacts(r.get("nodes", b""), 4) + contacts(r.get("nodes6", b""), 6)


# ---- a peer

#: Seconds that an answer may take. Waiting costs nothing when it comes, and a machine may be busy with other things.
PATIENCE = 15
SO_TIMESTAMP = 29  # Linux; Python does not name it


class Peer:
    """A socket of our own that talks to one node. A thread reads it: answers go to who asked, queries of the
    node's are noted in `asked` and answered by `answer(query)`, unless the peer is not to answer.

    `word`: what it sends as `n`; None for a client that knows nothing of that. `read_only`: BEP 43."""

    def __init__(self, to, ip=None, node_id=None, word=None, answers=True, read_only=False):
        self.to = to[:2]
        family = socket.AF_INET6 if ":" in to[0] else socket.AF_INET
        self.ip = ip or ("::1" if family == socket.AF_INET6 else "127.0.0.1")
        self.id = node_id or os.urandom(20)
        self.word, self.answers, self.read_only = word, answers, read_only
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMP, 1)
        self.sock.bind((self.ip, 0))
        self.address = self.sock.getsockname()[:2]
        self.asked = []          # queries of the node, whole
        self.wrong = []          # what it sent that is not a message
        self.in_bytes = self.out_bytes = 0
        self.late = 0.0          # seconds that its slowest answer took, from the arrival of the query
        self.inbox = queue.Queue()
        self.changed = threading.Condition()
        self.open = True
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.open:
            self.open = False
            self.sock.sendto(b"", self.address)  # wakes the reader
            self.thread.join(5)
            self.sock.close()
        check(not self.wrong, "the node sent what is no canonical message:", self.wrong[:2])

    @property
    def compact_node(self):
        return self.id + compact(self.address)

    # ---- in

    def _read(self):
        while self.open:
            try:
                data, extra, _, sender = self.sock.recvmsg(65535, 256)
            except OSError:
                return
            came = next((struct.unpack("qq", d) for _, kind, d in extra if kind == SO_TIMESTAMP), None)
            if sender[:2] == self.address:
                continue
            self.in_bytes += len(data)
            try:
                m = decode(data)
                if not isinstance(m, dict) or m.get("y") not in (b"q", b"r", b"e"):
                    raise Malformed("no message")
            except Malformed as e:
                self.wrong.append((str(e), data))
                continue
            m["#size"] = len(data)
            m["#from"] = sender[:2]
            if m["y"] == b"q":
                with self.changed:
                    self.asked.append(m)
                    self.changed.notify_all()
                if self.answers:
                    self._answer(m)
                    if came:
                        self.late = max(self.late, time.time() - came[0] - came[1] / 1e6)
            else:
                self.inbox.put(m)

    def _answer(self, query):
        reply = self.answer(query)
        if isinstance(reply, dict):
            self.reply(query, reply)

    def answer(self, query):
        """The values of a reply, or None. A plain node that knows nobody, unless a case puts its own in its place."""
        if query["q"] == b"ping":
            return {}
        if query["q"] in (b"find_node", b"get_peers", b"get"):
            return {"nodes": b"", "token": b"tokn"}
        if query["q"] == b"sget":
            return {"nodes": b"", "token": b"tokn", "e": [], "n": 0, "more": 0, "dig": bytes(20)}
        return None

    def reply(self, query, values, **top):
        m = {"t": query["t"], "y": "r", "r": dict({"id": self.id}, **values), "n": self.word, **top}
        self.send({k: v for k, v in m.items() if v is not None}, query["#from"])

    def error(self, query, code, text="so it is"):
        m = {"t": query["t"], "y": "e", "e": [code, text], "n": self.word}
        self.send({k: v for k, v in m.items() if v is not None}, query["#from"])

    def wait_asked(self, method, within=PATIENCE, where=lambda q: True):
        """The first query of that method that the node sends, or has sent."""
        deadline = time.monotonic() + within * SLOW
        with self.changed:
            while True:
                for q in self.asked:
                    if q["q"] == method.encode() and where(q):
                        return q
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Failed("the node did not ask %s of us; it asked %s" % (method, [q["q"] for q in self.asked]))
                self.changed.wait(left)

    # ---- out

    def send(self, message, to=None):
        data = message if isinstance(message, bytes) else encode(message)
        self.out_bytes += len(data)
        self.sock.sendto(data, to or self.to)

    def query(self, method, args=None, t=None, **top):
        """A query as a dict. A key whose value is None is left out."""
        a = dict({"id": self.id}, **(args or {}))
        m = {"t": os.urandom(4) if t is None else t, "y": "q", "q": method, "n": self.word,
             "a": {k: v for k, v in a.items() if v is not None}, "ro": 1 if self.read_only else None}
        m.update(top)
        return {k: v for k, v in m.items() if v is not None}

    def await_answer(self, t, within=PATIENCE):
        """The answer with this transaction id. Others that come are strays, and fail the case."""
        deadline = time.monotonic() + within * SLOW
        while True:
            try:
                m = self.inbox.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                raise Failed("no answer within %.1f s" % (within * SLOW)) from None
            if m.get("t") == t:
                return m
            raise Failed("an answer to nothing that was asked: %r" % m)

    def send_query(self, method, args=None, t=None, **top):
        m = self.query(method, args, t, **top)
        self.send(m)
        return self.await_answer(m["t"])

    def ask(self, method, args=None, t=None, **top):
        """Asks, and wants a reply. Keys of `top` go into the message beside `a`."""
        m = self.send_query(method, args, t, **top)
        if m["y"] != b"r":
            raise Failed("%s was answered with the error %s" % (method, m.get("e")))
        check(isinstance(m.get("r"), dict) and len(m["r"].get("id", b"")) == 20, "a reply without id:", m)
        return m

    def refused(self, code, method, args=None, t=None, **top):
        """Asks, and wants an error with this code."""
        m = self.send_query(method, args, t, **top)
        self.check_error(m, code)
        return m

    @staticmethod
    def check_error(m, code):
        if m["y"] == b"r":
            raise Failed("a reply where the error %d was due: %r" % (code, m["r"]))
        e = m.get("e")
        check(isinstance(e, list) and len(e) == 2 and isinstance(e[0], int) and isinstance(e[1], bytes),
              "an error is a list of a number and a text:", e)
        check(e[0] == code, "error", code, "was due, it is", e)

    def ignored(self, *datagrams):
        """Sends what must be dropped without a word. The node reads in order, so an answer to the ping behind
        it, with none before, says so without waiting. The second ping is read in a later turn of the node's: what says
        "stored" is answered behind the commit, and so perhaps behind the first."""
        for d in datagrams:
            self.send(d)
        self.ask("ping")
        self.ask("ping")

    def settle(self):
        """Takes in all answers to what was sent, whatever they are; two pings, as above."""
        for _ in range(2):
            t = os.urandom(8)
            self.send(self.query("ping", t=t))
            deadline = time.monotonic() + PATIENCE * SLOW
            while self.inbox.get(timeout=max(0.01, deadline - time.monotonic())).get("t") != t:
                pass

    def token(self, target=None, method="get"):
        key = "info_hash" if method == "get_peers" else "target"
        return self.ask(method, {key: target or os.urandom(20)})["r"]["token"]

    def prove(self):
        """Shows the node that we are where we say: a token that comes back does, whatever it came back with."""
        self.refused(205, "put", {"token": self.token(), "v": bytes(1000)})

    # ---- what the cases do often

    def find(self, target, **args):
        return nodes_of(self.ask("find_node", dict({"target": target}, **args)))

    def lists(self, other, family=None):
        """Does the node name this peer to others?"""
        args = {"want": ["n4", "n6"]}
        return (other.id, other.address) in self.find(other.id, **args)

    def put(self, v, token=None, code=None, **args):
        """Puts an immutable item; v is bencoded already. Returns its target."""
        args = dict({"v": Raw(v), "token": token or self.token()}, **args)
        if code:
            self.refused(code, "put", args)
        else:
            self.ask("put", args)
        return sha1(v)

    def put_mutable(self, key, seq, v, salt=b"", token=None, code=None, sig=None, **args):
        args = dict({"k": key.public, "seq": seq, "v": Raw(v), "token": token or self.token(),
                     "salt": salt or None, "sig": sig or key.sign(item_signed(seq, v, salt))}, **args)
        if code:
            self.refused(code, "put", args)
        else:
            self.ask("put", args)
        return sha1(key.public, salt)

    def get(self, target, **args):
        return self.ask("get", dict({"target": target}, **args))["r"]
