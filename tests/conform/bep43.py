"""BEP 43: read-only nodes."""
import os
import time

from harness import check, equal, wait_until
from krpc import WORD
from suite import case


@case("BEP 43, ro", both=True)
def a_read_only_querier_is_answered_and_never_a_contact(c):
    node = c.fresh()
    p = c.peer(node, word=WORD)
    for method, args in (("ping", {}), ("find_node", {"target": p.id}), ("get", {"target": p.id}),
                         ("get_peers", {"info_hash": p.id})):
        p.ask(method, args, ro=1)
    time.sleep(0.3)
    equal(p.asked, [], "it is not even asked whether it is there")
    equal(node.peers(), set())
    check(not c.peer(node).lists(p))


@case("BEP 43, ro", both=True)
def ro_zero_is_as_none(c):
    node = c.fresh()
    p = c.peer(node, word=WORD)
    p.ask("ping", ro=0)
    p.wait_asked("ping")
    node.wait_knows(p)


@case("BEP 43, ro")
def a_read_only_querier_may_store(c):
    """It reads and writes as a client; only its own services are not asked for."""
    p = c.peer()
    token = p.ask("get", {"target": os.urandom(20)}, ro=1)["r"]["token"]
    p.ask("put", {"token": token, "v": "from one that is read-only"}, ro=1)


@case("BEP 43, ro")
def ro_of_another_type_harms_nobody(c):
    p = c.peer()
    for ro in ("1", [1], {}, -1, 2, 2 ** 62):
        p.ask("ping", ro=ro)


@case("BEP 43, ro", both=True)
def a_node_that_serves_says_no_ro(c):
    node = c.fresh()
    p = c.network(1, node, WORD)[0]
    node.find(os.urandom(20))
    p.wait_asked("find_node")
    check(not [q for q in p.asked if "ro" in q], p.asked)


@case("BEP 43, read-only nodes", both=True)
def our_read_only_node_marks_every_query(c):
    p = c.peer(c.node, word=WORD)
    node = c.fresh(config="[KADEMLIA]\nREAD_ONLY = 1\n", join=[p.address])
    wait_until("a contact", lambda: node.knows(p), 15, 0.02)
    node.find(os.urandom(20))
    node.ping(p)
    p.wait_asked("ping", where=lambda q: q["#from"][1] == node.port)
    ours = [q for q in p.asked if q["#from"][1] == node.port]
    check(len(ours) >= 3 and all(q.get("ro") == 1 for q in ours), ours)


@case("BEP 43, read-only nodes")
def our_read_only_node_stores_and_announces(c):
    """It writes as a client does, and says each time that it is read-only."""
    p = c.peer(c.node, word=WORD)
    p.answer = lambda q: {} if q["q"] in (b"put", b"announce_peer") else {"nodes": b"", "token": b"t"}
    node = c.fresh(config="[KADEMLIA]\nREAD_ONLY = 1\n", join=[p.address])
    wait_until("a contact", lambda: node.knows(p), 15, 0.02)
    check(node.put("from one that is read-only")["holders"] >= 1)
    check(node.announce(os.urandom(20), 7000) >= 1)
    for method in ("put", "announce_peer"):
        equal(p.wait_asked(method, where=lambda q: q["#from"][1] == node.port).get("ro"), 1)
    held = node.status["dht"]
    equal((held["items"], held["peers"]), (0, 0), "and holds nothing itself")


@case("BEP 43, read-only nodes")
def our_read_only_node_answers_nobody(c):
    p = c.peer(c.node, word=WORD)
    node = c.fresh(config="[KADEMLIA]\nREAD_ONLY = 1\n", join=[p.address])
    wait_until("a contact", lambda: node.knows(p), 15, 0.02)
    for method, args in (("ping", {}), ("find_node", {"target": p.id}), ("get_peers", {"info_hash": p.id}),
                         ("get", {"target": p.id}), ("nonsense", {})):
        p.send(p.query(method, args), node.address)
    node.ping(p)  # the node has read on
    time.sleep(0.2)
    check(p.inbox.empty(), "it answered")
