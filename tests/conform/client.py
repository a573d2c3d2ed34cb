"""What the node asks of others, and what it makes of their answers."""
import os
import time

from harness import check, equal
from krpc import WORD, Key, Peer, Raw, compact, encode, item_signed, sha1, verified
from suite import case


def serving(p, target, values):
    """The peer answers a get of this target with these values, and anything else as a plain node does."""
    def answer(q):
        if q["q"] == b"get" and q["a"]["target"] == target:
            return dict({"nodes": b"", "token": b"token of %d" % p.address[1]}, **values)
        if q["q"] == b"put":
            return {}
        return Peer.answer(p, q)
    p.answer = answer


def mutable(key, seq, v, salt=b"", sig=None):
    return {"k": key.public, "seq": seq, "v": Raw(v), "sig": sig or key.sign(item_signed(seq, v, salt))}


# ---- queries


@case("BEP 5, KRPC Protocol; find_node", both=True)
def the_first_query_to_a_bootstrap_node_is_for_the_own_id(c):
    p = c.peer(c.node, word=WORD)
    node = c.fresh(join=[p.address])
    q = p.wait_asked("find_node")
    equal(q["a"]["target"], q["a"]["id"])
    check(q["t"] and len(q["a"]["id"]) == 20, q)
    equal(p.send_query("ping")["y"], b"r")
    node.wait_knows(p)


@case("BEP 5, find_node", both=True)
def a_lookup_follows_what_it_is_told(c):
    """A chain: the node knows the first, each names the next, the last one stands beside the target."""
    node = c.fresh()
    chain = [c.peer(node, word=WORD) for _ in range(5)]
    for p, following in zip(chain, chain[1:] + [None]):
        key = "nodes6" if c.family == 6 else "nodes"
        named = following.compact_node if following else b""
        p.answer = lambda q, k=key, v=named: {k: v, "token": b"t"} if q["q"] != b"ping" else {}
    chain[0].ask("ping")
    node.wait_knows(chain[0])
    rows = node.find(chain[-1].id)
    equal(rows[0]["node_id"], chain[-1].id.hex(), "the closest comes first")
    equal({r["node_id"] for r in rows}, {p.id.hex() for p in chain})


@case("BEP 5, find_node")
def contacts_that_cannot_be_are_not_asked(c):
    node = c.fresh()
    p, other = c.peer(node, word=WORD), c.peer(node, word=WORD)
    own = node.id
    bad = own + compact(node.address) + b"".join(os.urandom(20) + compact(a) for a in (
        ("127.0.0.1", 0), ("0.0.0.0", 999), ("224.0.0.1", 999), ("255.255.255.255", 999)))
    p.answer = lambda q: {"nodes": bad + other.compact_node + b"ragged", "token": b"t"} if q["q"] != b"ping" else {}
    p.ask("ping")
    node.wait_knows(p)
    before = node.status["dht"]["in_datagrams"]
    rows = node.find(own)
    equal({r["node_id"] for r in rows}, {p.id.hex(), other.id.hex()})
    check(node.status["dht"]["in_datagrams"] - before <= 8, "it spoke to itself")


@case("protocol, Limits: RPC_RETRIES")
def a_silent_node_is_asked_three_times_at_most(c):
    node = c.fresh()
    p = c.peer(node, word=WORD)
    silent = c.peer(node, word=WORD, answers=False)
    p.answer = lambda q: {"nodes": silent.compact_node} if q["q"] != b"ping" else {}
    p.ask("ping")
    node.wait_knows(p)
    node.find(silent.id)
    time.sleep(0.5)
    check(1 <= len(silent.asked) <= 3, len(silent.asked), "queries")


# ---- reading


@case("BEP 44, Immutable items: get")
def a_value_that_is_not_its_target_is_not_believed(c):
    node = c.fresh()
    peers = c.network(3, node, WORD)
    v = encode("the real one")
    for p in peers[:2]:
        serving(p, sha1(v), {"v": "a forged one"})
    equal(node.get(sha1(v)), None)
    serving(peers[2], sha1(v), {"v": Raw(v)})
    row = node.get(sha1(v))
    equal((row["value"], row["holders"]), ("the real one", 1))


@case("BEP 44, Mutable items: get")
def the_highest_seq_with_a_good_signature_is_taken(c):
    node, key = c.fresh(), Key()
    peers = c.network(4, node, WORD)
    target = sha1(key.public, b"s")
    serving(peers[0], target, mutable(key, 5, b"4:five", b"s"))
    serving(peers[1], target, mutable(key, 7, b"5:seven", b"s"))
    serving(peers[2], target, mutable(key, 9, b"4:nine", b"s", sig=os.urandom(64)))
    serving(peers[3], target, mutable(Key(), 11, b"6:eleven", b"s"))
    row = node.get(target, "s")
    equal((row["value"], row["seq"], row["k"]), ("seven", 7, key.public.hex()))


@case("BEP 44, Salt: get")
def a_value_under_a_salt_is_read_with_it_and_not_without(c):
    """By its target, or by key and salt. The salt is not in the answer, so who does not give it cannot verify."""
    node, key = c.fresh(), Key()
    p = c.network(1, node, WORD)[0]
    target = sha1(key.public, b"s")
    serving(p, target, mutable(key, 5, b"4:five", b"s"))
    equal(node.get(target), None)
    equal(node.get(target, "t"), None)
    for args in ({"target": target.hex()}, {"id": key.public.hex()}, {"target": target.hex(), "id": key.public.hex()}):
        row = node.ask("dht_get", salt="s", **args)[0]
        equal((row["value"], row["seq"], row["target"]), ("five", 5, target.hex()))
    equal(node.ask("dht_get", salt="s", target=target.hex(), id=Key().public.hex()), None, "another key's")
    equal(node.ask("dht_get", id=key.public.hex()), None)


@case("BEP 44, Mutable items: get")
def forgeries_alone_are_nothing_found(c):
    node, key = c.fresh(), Key()
    peers = c.network(3, node, WORD)
    target = sha1(key.public)
    good = mutable(key, 3, b"5:three")
    for p, change in zip(peers, ({"seq": 4}, {"v": "thref"}, {"k": Key().public})):
        serving(p, target, dict(good, **change))
    equal(node.get(target), None)


@case("DESIGN 4, get repairs the stale")
def a_holder_of_an_older_version_is_given_the_newer(c):
    node, key = c.fresh(), Key()
    old, new = c.network(2, node, WORD)
    target = sha1(key.public)
    serving(old, target, mutable(key, 5, b"4:five"))
    serving(new, target, mutable(key, 7, b"5:seven"))
    equal(node.get(target)["value"], "seven")
    q = old.wait_asked("put")
    equal((q["a"]["k"], q["a"]["seq"], q["a"]["v"]), (key.public, 7, b"seven"))
    equal(q["a"]["token"], b"token of %d" % old.address[1])
    check(not [q for q in new.asked if q["q"] == b"put"], "the one that has it was given it again")


@case("BEP 5, Errors: 204")
def one_that_does_not_know_the_method_is_asked_with_find_node(c):
    """An old client: it can name others, though it can hold nothing."""
    node = c.fresh()
    holder = c.peer(node, word=WORD)
    v = encode("behind an old client")
    serving(holder, sha1(v), {"v": Raw(v)})
    p = c.peer(node, word=WORD)

    def answer(q):
        if q["q"] == b"ping":
            return {}
        if q["q"] == b"find_node":
            return {"nodes": holder.compact_node}
        p.error(q, 204, "Method Unknown")
    p.answer = answer
    p.ask("ping")
    node.wait_knows(p)
    equal(node.get(sha1(v))["value"], "behind an old client")
    equal(node.put("x")["holders"], 1)
    check(not [q for q in p.asked if q["q"] == b"put"], "it was sent a put")


@case("BEP 5, Errors: 201, 202")
def one_that_answers_with_an_error_is_passed_over(c):
    node = c.fresh()
    v = encode("behind errors")
    *bad, good = c.network(3, node, WORD)
    for p, code in zip(bad, (201, 202)):
        p.answer = lambda q, p=p, code=code: {} if q["q"] == b"ping" else p.error(q, code)
    serving(good, sha1(v), {"v": Raw(v)})
    row = node.get(sha1(v))
    equal((row["value"], row["holders"]), ("behind errors", 1))
    equal(node.put("taken by one")["holders"], 1)


# ---- peers


def naming(p, info_hash, values, token=None):
    """The peer names these peers under info_hash, takes announcements, and else answers as a plain node does."""
    def answer(q):
        if q["q"] == b"get_peers" and q["a"]["info_hash"] == info_hash:
            return {"nodes": b"", "token": b"token of %d" % p.address[1] if token is None else token, "values": values}
        if q["q"] == b"announce_peer":
            return {}
        return Peer.answer(p, q)
    p.answer = answer


@case("BEP 5, get_peers", both=True)
def the_node_asks_the_closest_for_peers_and_takes_all_they_name(c):
    node, info_hash = c.fresh(), os.urandom(20)
    peers = c.network(4, node, WORD)
    host = "[::1]:%d" if c.family == 6 else "127.0.0.1:%d"
    for i, p in enumerate(peers[:3]):
        naming(p, info_hash, [compact((p.ip, 7000 + j)) for j in (i, i + 1)])
    equal(node.find_peers(info_hash), {host % (7000 + j) for j in range(4)}, "each once")
    for p in peers:
        q = p.wait_asked("get_peers")
        equal((set(q["a"]) - {"want"}, q["a"]["info_hash"]), ({"id", "info_hash"}, info_hash))


@case("BEP 5, get_peers: values")
def what_is_no_compact_peer_is_not_taken(c):
    node, info_hash = c.fresh(), os.urandom(20)
    good, bad, worse = c.network(3, node, WORD)
    naming(good, info_hash, [compact(("127.0.0.1", 7000))])
    naming(bad, info_hash, [b"", b"12345", b"1234567", bytes(6), compact(("127.0.0.1", 0)), compact(("::1", 7000)),
                            compact(("224.0.0.1", 7000)), 5, [b"abcdef"], {}])
    naming(worse, info_hash, b"123456")
    equal(node.find_peers(info_hash), {"127.0.0.1:7000"})


@case("BEP 5, get_peers")
def a_node_that_names_without_end_fills_no_answer(c):
    node, info_hash = c.fresh(), os.urandom(20)
    liar, honest = c.network(2, node, WORD)
    naming(liar, info_hash, [compact(("127.0.0.2", 1 + i)) for i in range(150)])
    naming(honest, info_hash, [compact(("127.0.0.1", 7000))])
    found = node.find_peers(info_hash)
    equal(len(found), 65, "64 of one answer")
    check("127.0.0.1:7000" in found)


@case("BEP 5, announce_peer", both=True)
def an_announcement_brings_back_each_holders_token(c):
    node, info_hash = c.fresh(), os.urandom(20)
    peers = c.network(5, node, WORD)
    for p in peers[:4]:
        naming(p, info_hash, [])
    equal(node.announce(info_hash, 7000), 4, "one of them says nothing to it")
    for p in peers[:4]:
        a = p.wait_asked("announce_peer")["a"]
        equal({k: v for k, v in a.items() if k != "id"},
              {"info_hash": info_hash, "port": 7000, "token": b"token of %d" % p.address[1]})
    equal(node.announce(info_hash), 4)
    for p in peers[:4]:
        a = p.wait_asked("announce_peer", where=lambda q: "implied_port" in q["a"])["a"]
        equal(a["implied_port"], 1)
        check(1 <= a["port"] <= 65535, "BEP 5 has a port among the arguments, implied or not:", a)


@case("BEP 5, announce_peer")
def a_refused_announcement_is_no_holder(c):
    node, info_hash = c.fresh(), os.urandom(20)
    takes, refuses, tokenless = c.network(3, node, WORD)
    naming(takes, info_hash, [])
    naming(refuses, info_hash, [])
    naming(tokenless, info_hash, [], token=b"")
    answer = refuses.answer
    refuses.answer = lambda q: refuses.error(q, 203) if q["q"] == b"announce_peer" else answer(q)
    equal(node.announce(info_hash, 7000), 1)
    refuses.wait_asked("announce_peer")
    check(not [q for q in tokenless.asked if q["q"] == b"announce_peer"], "one that gave no token was sent one")


# ---- writing


@case("BEP 44, put")
def each_holder_gets_back_the_token_that_it_gave(c):
    node = c.fresh()
    peers = c.network(6, node, WORD)
    text = "value " + os.urandom(4).hex()
    target = sha1(encode(text))
    tokens = [b"", b"1", b"22", b"x" * 8, b"y" * 20, b"z" * 40]
    for p, token in zip(peers, tokens):
        serving(p, target, {"token": token} if token else {"token": None})
        answer = p.answer
        p.answer = lambda q, a=answer: {k: v for k, v in a(q).items() if v is not None}
    equal(node.put(text)["holders"], 5)
    for p, token in zip(peers, tokens):
        got = [q["a"] for q in p.asked if q["q"] == b"put"]
        if token:
            equal([(a["token"], a["v"]) for a in got], [(token, text.encode())])
            check(not {"k", "sig", "seq", "salt", "cas"} & set(got[0]), got)
        else:
            equal(got, [], "one that gave no token was sent a put")


def refusing(p, code):
    """A peer that answers each put with this error."""
    def answer(q):
        if q["q"] == b"put":
            p.error(q, code)
            return None
        return Peer.answer(p, q)
    p.answer = answer


@case("BEP 44, Errors; BEP 5, Errors")
def one_that_refuses_a_put_is_no_holder(c):
    node = c.fresh()
    peers = c.network(11, node, WORD)
    codes = [201, 202, 203, 205, 206, 207, 301, 302]
    for p, code in zip(peers, codes):
        refusing(p, code)
    for p in peers[8:]:
        p.answer = lambda q, p=p: {} if q["q"] == b"put" else Peer.answer(p, q)
    equal(node.put("a text")["holders"], 3, "and one word of a newer version, against those that took it, is not believed")
    for p in peers:
        p.wait_asked("put")
    for p in peers[8:]:
        refusing(p, 202)
    equal(node.put("another text"), None, "nobody took it")


@case("BEP 44, put: values of 1000 bytes")
def a_newcomer_is_handed_the_largest_item(c):
    node, key = c.fresh(), Key()
    v = encode({"exp": int(time.time()) + 86400, "x": os.urandom(974)})
    equal(len(v), 1000)
    salt = os.urandom(64)
    c.peer(node).put_mutable(key, 2 ** 62, v, salt=salt)
    p = c.peer(node, word=WORD)
    p.answer = lambda q: {} if q["q"] == b"put" else {"nodes": b"", "token": b"t" * 40}
    p.ask("ping")
    q = p.wait_asked("put", within=15)
    a = q["a"]
    equal((a["k"], a["seq"], encode(a["v"]), a["salt"], a["token"]), (key.public, 2 ** 62, v, salt, b"t" * 40))
    equal(len(a["sig"]), 64)


@case("BEP 44, Mutable items: put")
def a_users_item_is_signed_over_salt_seq_and_value(c):
    """`camellia dht put --salt`, as any other client would check it."""
    p = c.peer(c.node, word=WORD)
    p.answer = lambda q: {} if q["q"] in (b"put", b"sput") else Peer.answer(p, q)
    home = c.world.home("signer%d" % c.number)
    home.register(join="%s:%d" % p.address)
    try:
        row = home.ok("dht", "put", "signed by ana", "--salt", "some salt")[0]
        a = p.wait_asked("put", where=lambda q: q["a"].get("salt") == b"some salt")["a"]
        equal((sha1(a["k"], a["salt"]).hex(), a["v"], a["seq"]), (row["target"], b"signed by ana", row["seq"]))
        check(verified(a["k"], item_signed(a["seq"], encode(a["v"]), a["salt"]), a["sig"]), "a bad signature:", a)
        taker = c.peer()
        taker.ask("put", {"token": taker.token(), **{k: a[k] for k in ("k", "salt", "seq", "sig", "v")}})
    finally:
        home.run("logout")
