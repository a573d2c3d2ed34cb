"""BEP 32: IPv6. Two networks of one node, each with a table of its own; `want` asks for contacts of the other."""
import os

from harness import equal
from krpc import WORD, compact, contacts, uncompact
from suite import case

METHODS = (("find_node", "target"), ("get_peers", "info_hash"), ("get", "target"))


def two_worlds(c):
    """A node that knows one peer over each family."""
    node = c.fresh()
    c.family = 4
    four = c.network(1, node, WORD)[0]
    c.family = 6
    six = c.peer(node, word=WORD)
    six.ask("ping")
    node.wait_knows(six)
    return node, four, six


def given(p, method, key, **args):
    """Which of nodes and nodes6 a reply has, and what is in them."""
    r = p.ask(method, dict({key: os.urandom(20)}, **args))["r"]
    return {k: contacts(r[k], 6 if k == "nodes6" else 4) for k in ("nodes", "nodes6") if k in r}


@case("BEP 32, DHT queries; nodes6")
def each_family_is_told_its_own_contacts(c):
    node, four, six = two_worlds(c)
    c.family = 4
    p4 = c.peer(node)
    c.family = 6
    p6 = c.peer(node)
    for method, key in METHODS:
        equal(given(p4, method, key), {"nodes": [(four.id, four.address)]}, method)
        equal(given(p6, method, key), {"nodes6": [(six.id, six.address)]}, method)


@case("BEP 32, want")
def want_says_which_families(c):
    node, four, six = two_worlds(c)
    n4, n6 = {"nodes": [(four.id, four.address)]}, {"nodes6": [(six.id, six.address)]}
    for c.family in (4, 6):
        p = c.peer(node)
        for method, key in METHODS:
            equal(given(p, method, key, want=["n4"]), n4, method)
            equal(given(p, method, key, want=["n6"]), n6, method)
            equal(given(p, method, key, want=["n4", "n6"]), {**n4, **n6}, method)
            equal(given(p, method, key, want=["n6", "n4", "n4"]), {**n4, **n6}, method)


@case("BEP 32, want", both=True)
def a_want_that_names_nothing_known_is_as_none(c):
    p = c.peer()
    own = {"nodes6" if c.family == 6 else "nodes"}
    for want in ([], ["n5"], ["", "n", "n44"], [4, 6], [["n4"], {}]):
        equal(set(given(p, "find_node", "target", want=want)), own, want)
    for known in (["x", "n4", "n6"], ["n4", 1, "n6"]):
        equal(set(given(p, "find_node", "target", want=known)), {"nodes", "nodes6"}, known)


@case("BEP 32, want")
def a_node_without_ipv6_gives_no_nodes6(c):
    p = c.peer(c.fresh(ip6=""))
    equal(set(given(p, "find_node", "target", want=["n4", "n6"])), {"nodes"})


@case("BEP 32, get_peers values")
def peers_of_one_family_are_not_told_to_the_other(c):
    info_hash = os.urandom(20)
    for c.family, size in ((4, 6), (6, 18)):
        p = c.peer()
        token = p.token(info_hash, "get_peers")
        p.ask("announce_peer", {"info_hash": info_hash, "token": token, "port": 7000 + c.family})
    for c.family, size in ((4, 6), (6, 18)):
        p = c.peer()
        values = p.ask("get_peers", {"info_hash": info_hash, "want": ["n4", "n6"]})["r"]["values"]
        equal([len(v) for v in values], [size])
        equal([uncompact(v) for v in values], [(p.ip, 7000 + c.family)])


@case("BEP 32, DHT queries")
def a_token_of_one_family_is_nothing_to_the_other(c):
    c.family = 4
    token = c.peer().token()
    c.family = 6
    c.peer().refused(203, "put", {"token": token, "v": "x"})


@case("BEP 32; BEP 44")
def an_item_that_came_over_ipv4_is_read_over_ipv6(c):
    c.family = 4
    target = c.peer().put(b"11:both worlds")
    c.family = 6
    equal(c.peer().get(target)["v"], b"both worlds")


@case("BEP 32, want")
def the_nodes_own_lookups_ask_for_both_families(c):
    node, four, six = two_worlds(c)
    node.find(os.urandom(20))
    node.get(os.urandom(20))
    node.find_peers(os.urandom(20))
    for p in (four, six):
        for method in ("find_node", "get", "get_peers"):
            p.wait_asked(method, where=lambda q: sorted(q["a"].get("want", [])) == [b"n4", b"n6"])


@case("BEP 32, announce_peer")
def the_node_announces_itself_over_both_families(c):
    """A peer's address is that of the datagram, so each family has to be told on its own."""
    node, four, six = two_worlds(c)
    for p in (four, six):
        answer = p.answer
        p.answer = lambda q, answer=answer: {} if q["q"] == b"announce_peer" else answer(q)
    info_hash = os.urandom(20)
    equal(node.announce(info_hash, 7000), 2)
    for p in (four, six):
        equal(p.wait_asked("announce_peer")["a"]["info_hash"], info_hash)


@case("BEP 32, get_peers values")
def the_node_takes_peers_of_the_answers_family_only(c):
    node, four, six = two_worlds(c)
    both = [compact(("127.0.0.1", 7004)), compact(("::1", 7006))]
    for p in (four, six):
        answer = p.answer
        p.answer = lambda q, answer=answer: {"values": both} if q["q"] == b"get_peers" else answer(q)
    equal(node.find_peers(os.urandom(20)), {"127.0.0.1:7004", "[::1]:7006"})
    four.answer = six.answer = lambda q: {}
    four.answer = lambda q: {"values": both[1:]} if q["q"] == b"get_peers" else {}
    equal(node.find_peers(os.urandom(20)), set(), "IPv6 peers by hearsay over IPv4")


@case("BEP 32, want")
def what_one_family_names_of_the_other_is_followed(c):
    """A contact over IPv4 names one over IPv6 that the node has never met."""
    node = c.fresh()
    c.family = 6
    hidden = c.peer(node, word=WORD)
    c.family = 4
    p = c.peer(node, word=WORD)
    p.answer = lambda q: {"nodes6": hidden.compact_node, "nodes": b"", "token": b"tk"} if q["q"] != b"ping" else {}
    p.ask("ping")
    node.wait_knows(p)
    node.find(hidden.id)
    hidden.wait_asked("find_node")
    node.wait_knows(hidden)
