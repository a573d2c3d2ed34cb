"""The network's word: a top-level `n`, the first 4 bytes of SHA1 of the network's name (DESIGN 4)."""
import os
import time

from harness import check, equal, wait_until
from krpc import WORD, encode, sha1
from suite import case

SECTION = "DESIGN 4, network word"


@case(SECTION, both=True)
def every_datagram_of_the_node_carries_its_word(c):
    node = c.fresh()
    p = c.network(1, node, WORD)[0]
    equal(p.ask("ping")["n"], WORD)
    equal(p.refused(204, "nonsense")["n"], WORD)
    node.find(os.urandom(20))
    p.wait_asked("find_node")
    check(all(q["n"] == WORD for q in p.asked), p.asked)


@case(SECTION)
def the_word_follows_from_the_networks_name(c):
    node = c.fresh(network="another-network")
    equal(c.peer(node).ask("ping")["n"], sha1(b"another-network")[:4])


@case(SECTION, both=True)
def who_sends_no_word_or_another_is_answered_and_no_contact(c):
    node = c.fresh()
    for word in (None, sha1(b"another-network")[:4], b"", b"cam", b"camel", 5, [WORD]):
        p = c.peer(node, word=word)
        p.ask("find_node", {"target": p.id})
        p.ask("get", {"target": p.id})
        time.sleep(0.05)
        equal(p.asked, [], "it is not asked whether it is there")
        check(not c.peer(node).lists(p), "it is named to others")
    equal(node.peers(), set())


@case(SECTION)
def who_answers_without_the_word_is_no_contact(c):
    """Asked with our word, it answered without: the node does not believe what it says either."""
    hidden = c.peer(c.node, word=WORD)
    stranger = c.peer(c.node, word=None)
    stranger.answer = lambda q: {"nodes": hidden.compact_node, "token": b"t"} if q["q"] != b"ping" else {}
    node = c.fresh(join=[stranger.address])
    stranger.wait_asked("find_node", where=lambda q: q["#from"][1] == node.port)
    time.sleep(0.4)
    equal(node.peers(), set())
    equal(hidden.asked, [], "what a stranger named was asked")


@case(SECTION)
def a_stranger_may_store_and_read(c):
    p = c.peer(word=None)
    target = p.put(encode("from a plain client"))
    equal(p.get(target)["v"], b"from a plain client")


@case(SECTION, both=True)
def a_plain_citizen_sends_no_word_and_takes_everybody(c):
    node = c.fresh(network="")
    for word in (None, WORD, b"", b"other"):
        p = c.peer(node, word=word)
        check("n" not in p.ask("ping"))
        check("n" not in p.wait_asked("ping"))
        node.wait_knows(p)


@case(SECTION)
def two_networks_do_not_grow_together(c):
    a = c.fresh(network="one")
    b = c.fresh(network="two", join=[a.address])
    same = c.fresh(network="one", join=[a.address])
    wait_until("the two of one network", lambda: len(a.peers()) == 1 and len(same.peers()) == 1, 15, 0.02)
    equal(b.peers(), set())
    check(b.ask("dht_ping", address="%s:%d" % a.address), "a ping by hand does reach a stranger")
    equal(len(a.peers()), 1)
    equal(b.peers(), set())
