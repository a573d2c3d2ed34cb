"""Datagrams that are no messages, are too many, or want too much in return."""
import os
import random
import re
import time

from harness import check, equal, memory_kb, wait_until
from krpc import WORD, Key, decode, encode, item_signed
from suite import NODE_IP, case

ID = b"i" * 20


def whole(p):
    """A query of each kind, as bytes."""
    key, token = Key(), p.token()
    v = b"5:hello"
    return [encode(q) for q in (
        p.query("ping"), p.query("find_node", {"target": ID, "want": ["n4", "n6"]}),
        p.query("get_peers", {"info_hash": ID}),
        p.query("announce_peer", {"info_hash": ID, "token": token, "port": 6881, "implied_port": 1}),
        p.query("get", {"target": ID, "seq": 7}), p.query("put", {"token": token, "v": "hello"}),
        p.query("put", {"token": token, "v": "hello", "k": key.public, "seq": 1, "salt": "s",
                        "sig": key.sign(item_signed(1, v, b"s"))}),
        p.query("sget", {"root": ID, "depth": 0, "prefix": ""}),
        p.query("sput", {"root": ID, "depth": 0, "k": key.public, "seq": 1, "sig": bytes(64), "v": {"exp": 1},
                         "token": token}))]


@case("BEP 3, bencoding; BEP 5", both=True)
def every_datagram_that_was_cut_off_is_dropped(c):
    p = c.peer()
    for data in whole(p):
        for size in range(len(data)):
            p.send(data[:size])
            if size % 40 == 0:
                p.ask("ping")
        p.ignored()


@case("BEP 3, bencoding")
def a_datagram_with_something_behind_it_is_dropped(c):
    p = c.peer()
    ping = encode(p.query("ping"))
    p.ignored(ping + b"\0", ping + b"\n", ping + b"e", ping + ping, b" " + ping, b"\0" + ping)


@case("BEP 3, bencoding: keys appear once, sorted")
def keys_twice_or_out_of_order_are_dropped(c):
    p = c.peer()
    a = b"1:ad2:id20:" + ID + b"e"
    q, t, y = b"1:q4:ping", b"1:t2:aa", b"1:y1:q"
    check(decode(b"d" + a + q + t + y + b"e"))
    p.ask("ping", {"id": ID})
    p.ignored(b"d" + q + a + t + y + b"e", b"d" + a + q + y + t + b"e", b"d" + y + t + q + a + b"e",
              b"d" + a + a + q + t + y + b"e", b"d" + a + q + t + t + y + b"e", b"d" + a + q + t + y + y + b"e",
              b"d1:ad2:id20:" + ID + b"2:id20:" + ID + b"e" + q + t + y + b"e",
              b"d1:ad6:target20:" + ID + b"2:id20:" + ID + b"e" + b"1:q9:find_node" + t + y + b"e")


@case("BEP 3, bencoding: integers")
def numbers_have_one_form(c):
    p = c.peer()

    def get(seq):
        return b"d1:ad2:id20:" + ID + b"3:seq" + seq + b"6:target20:" + ID + b"e1:q3:get1:t2:aa1:y1:qe"
    p.ignored(*[get(bad) for bad in (b"i-0e", b"i00e", b"i01e", b"i-01e", b"ie", b"i-e", b"i+1e", b"i 1e", b"i1 e",
                                     b"i0x1e", b"i1.0e", b"i1", b"i9223372036854775808e", b"i-9223372036854775809e", b"i" + b"9" * 300 + b"e")])
    for good in (b"i0e", b"i-1e", b"i9223372036854775807e", b"i-9223372036854775808e"):
        p.send(get(good))
        equal(p.await_answer(b"aa")["y"], b"r", good)


@case("BEP 3, bencoding: strings")
def lengths_have_one_form_and_do_not_lie(c):
    p = c.peer()

    def ping(t):
        return b"d1:ad2:id20:" + ID + b"e1:q4:ping1:t" + t + b"1:y1:qe"
    p.send(ping(b"2:aa"))
    equal(p.await_answer(b"aa")["y"], b"r")
    p.ignored(*[ping(bad) for bad in (b"02:aa", b"002:aa", b"-2:aa", b"+2:aa", b" 2:aa", b"2 :aa", b":aa", b"2aa", b"99:aa",
                                      b"4294967298:aa", b"18446744073709551618:aa", b"2:a", b"0x2:aa")])


@case("BEP 3, bencoding: depth")
def nesting_without_end_is_dropped(c):
    p = c.peer()
    for n in (17, 100, 600):
        p.ignored(b"l" * n, b"l" * n + b"e" * n, b"d1:a" * (n // 2),
                  b"d1:ad2:id20:" + ID + b"1:z" + b"l" * n + b"e" * n + b"e1:q4:ping1:t2:aa1:y1:qe")


@case("BEP 5; UDP")
def empty_and_oversized_datagrams_are_dropped(c):
    p = c.peer()
    ping = p.query("ping")
    p.ignored(b"", b"d", b"e", b"de", b"le", b"i0e", b"0:")
    for size in (1501, 1600, 4096, 9000, 40000, 65000):
        p.ignored(os.urandom(size), encode(dict(ping, a=dict(ping["a"], pad=b"x" * size))))


@case("BEP 5; UDP")
def a_query_may_be_as_large_as_an_ethernet_frame_holds(c):
    p = c.peer()
    p.ask("ping", {"pad": b"x" * (1472 - len(encode(p.query("ping", {"pad": b"x" * 1000}))) + 1000)})


@case("BEP 5; robustness", both=True)
def mutated_datagrams_do_no_harm(c):
    """Bits flipped, pieces doubled, cut out and mixed; the node answers on, in form, and does not grow."""
    node = c.fresh()
    p = c.peer(node)
    good, rng = whole(p), random.Random(7)
    size = []
    for i in range(3000):
        data = bytearray(rng.choice(good))
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(data))
            kind = rng.randrange(5)
            if kind == 0:
                data[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                data[at] = rng.choice(b"0123456789:deil-")
            elif kind == 2:
                del data[at:at + rng.randrange(1, 20)]
            elif kind == 3:
                data[at:at] = data[at:at + rng.randrange(1, 20)]
            else:
                other = rng.choice(good)
                data[at:] = other[rng.randrange(len(other)):]
            data = data or bytearray(b"d")
        p.send(bytes(data))
        if i % 30 == 29:
            p.settle()
        if i in (999, 2999):
            size.append(memory_kb(node.process.pid))
    check(size[1] - size[0] < 4096, "it grew:", size)
    equal(len(p.ask("ping")["r"]["id"]), 20)


@case("BEP 5; robustness")
def noise_does_no_harm(c):
    p, rng = c.peer(), random.Random(8)
    for i in range(600):
        size = rng.randrange(1, 1400)
        p.send(rng.randbytes(size) if i % 2 else bytes(rng.choice(b"0123456789:deilaqrty") for _ in range(size // 7)))
        if i % 30 == 29:
            p.settle()


# ---- the vectors of docs/protocol.md


def vectors():
    """`name = hex`, indented; the hex may go on in the lines below."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "protocol.md")
    found, name = {}, None
    with open(path) as f:
        for line in f:
            begins = re.match(r" {4}([\w-]+) = ([0-9a-f]+)$", line)
            if begins:
                name = begins.group(1)
                found[name] = begins.group(2)
            elif name and re.match(r" {4}[0-9a-f]+$", line):
                found[name] += line.strip()
            else:
                name = None
    return {name: bytes.fromhex(text) for name, text in found.items()}


@case("protocol, Methods: vectors")
def the_pages_vectors_are_understood(c):
    """Its queries as they stand: with a token that is not ours what writes is refused, everything else answered."""
    page, p = vectors(), c.peer()
    equal(page["network-word"], WORD)
    answers = {"ping": "ping-reply", "find-node": "find-node-reply", "get": "get-reply", "read-only-find": "find-node-reply",
               "sget-look": "sget-reply", "sget-page": "sget-reply"}
    for name, like in answers.items():
        p.send(page[name])
        m = p.await_answer(decode(page[name])["t"])
        want = decode(page[like])
        equal({k for k in m if k[0] != "#"}, set(want), name)
        optional = {"k", "seq", "sig", "v", "nodes", "nodes6"}
        equal(set(m["r"]) - optional, set(want["r"]) - optional, name)
    for name in ("put", "sput"):
        p.send(page[name])
        m = p.await_answer(decode(page[name])["t"])
        p.check_error(m, 203)
        equal({k for k in m if k[0] != "#"}, set(decode(page["error-stale"])))
    p.ignored(page["ping-reply"], page["error-stale"])


# ---- amplification


def stored(c, node):
    """The target of an item of 1000 bytes."""
    return c.peer(node).put(encode(os.urandom(996)))


@case("DESIGN 4, an address not proven: 2 KiB", both=True)
def who_never_proves_its_address_gets_2_kib_beyond_what_it_sent(c):
    node = c.fresh()
    target = stored(c, node)
    p = c.peer(node, word=WORD, answers=False)
    for _ in range(60):
        p.send(p.query("get", {"target": target}))
    wait_until("the burst", lambda: p.in_bytes > 1000, 15, 0.02)
    time.sleep(0.3)
    for _ in range(40):
        p.send(p.query("find_node", {"target": target, "want": ["n4", "n6"]}))
        p.send(p.query("nonsense"))
    time.sleep(0.3)
    check(p.in_bytes <= p.out_bytes + 2048, p.in_bytes, "bytes came back for", p.out_bytes)
    wait_until(lambda: ("it got nearly nothing:", p.in_bytes), lambda: p.in_bytes > 1500, 15, 0.02)


@case("DESIGN 4, an address not proven: 2 KiB")
def who_answers_a_ping_is_served_in_full(c):
    node = c.fresh()
    target = stored(c, node)
    p = c.peer(node, prove=False)
    for _ in range(20):
        p.send(p.query("get", {"target": target}))
        time.sleep(0.005)
    p.wait_asked("ping")
    p.settle()
    for _ in range(50):
        equal(len(p.get(target)["v"]), 996)


@case("DESIGN 4, an address not proven: 2 KiB")
def who_returns_a_live_token_is_served_in_full(c):
    node = c.fresh()
    target = stored(c, node)
    p = c.peer(node, answers=False)
    token = p.token()
    p.ask("put", {"token": token, "v": "x"})
    for _ in range(50):
        equal(len(p.get(target)["v"]), 996)


@case("DESIGN 4, an address not proven: 2 KiB", public=True)
def all_ports_of_an_address_share_its_2_kib(c):
    node = c.fresh(ip=NODE_IP, ip6="")
    target = c.peer(node, ip="84.124.73.14").put(encode(os.urandom(996)))
    crowd = [c.peer(node, ip="124.31.75.21", answers=False, word=WORD) for _ in range(10)]
    for _ in range(5):
        for p in crowd:
            p.send(p.query("get", {"target": target}))
    time.sleep(0.5)
    got, sent = sum(p.in_bytes for p in crowd), sum(p.out_bytes for p in crowd)
    check(got <= sent + 2048, got, "bytes came back for", sent)
    equal(len(c.peer(node, ip="65.23.51.170").get(target)["v"]), 996, "and another address is served")


@case("DESIGN 4, datagrams", both=True)
def no_reply_is_larger_than_1232_bytes_without_a_value(c):
    node = c.fresh()
    c.network(30, node, WORD)
    p = c.peer(node)
    info_hash = os.urandom(20)
    token = p.token(info_hash, "get_peers")
    for port in range(1000, 1060):
        p.ask("announce_peer", {"info_hash": info_hash, "token": token, "port": port})
    for method, key in (("find_node", "target"), ("get_peers", "info_hash"), ("get", "target")):
        m = p.ask(method, {key: info_hash, "want": ["n4", "n6"]}, t=os.urandom(32))
        check(m["#size"] <= 1232, method, m["#size"])
