"""BEP 42: ids that follow from the address."""
import os

from harness import check, equal, wait_until
from krpc import WORD, compact, id_fits, id_for, uncompact
from suite import NODE_IP, case

#: The section "test vectors": address, random byte, first three bytes of the id (the last of them down to its
#: fifth bit), last byte.
VECTORS = [("124.31.75.21", 1, "5fbfbf"), ("21.75.31.124", 86, "5a3ce9"), ("65.23.51.170", 22, "a5d432"),
           ("84.124.73.14", 65, "1b0321"), ("43.213.53.83", 90, "e56f6c")]


@case("BEP 42, Test vectors")
def the_suite_makes_the_ids_of_the_vectors(c):
    for ip, rand, first in VECTORS:
        made = id_for(ip, rand)
        check(made[:2].hex() == first[:4] and (made[2] ^ int(first[4:], 16)) & 0xf8 == 0, ip, made.hex())
        equal(made[19], rand)
        check(id_fits(made, ip), made.hex())


@case("BEP 42, DHT Security Extension: ip", both=True)
def replies_say_where_they_see_who_asks(c):
    p = c.peer()
    for method, args in (("ping", {}), ("find_node", {"target": p.id}), ("get_peers", {"info_hash": p.id}),
                         ("get", {"target": p.id})):
        m = p.ask(method, args)
        equal(len(m["ip"]), 18 if c.family == 6 else 6)
        equal(uncompact(m["ip"]), p.address)
        check("ip" not in m["r"], "`ip` stands beside `r`, not in it:", m)


@case("BEP 42, DHT Security Extension: ip", both=True)
def errors_say_where_they_see_who_asks_too(c):
    p = c.peer()
    equal(uncompact(p.refused(204, "nonsense")["ip"]), p.address)
    equal(uncompact(p.refused(203, "find_node")["ip"]), p.address)


@case("BEP 42, Enforcement: local networks are exempt", both=True)
def on_loopback_any_id_may_enter(c):
    node = c.fresh()
    for p in c.network(3, node, WORD):
        check(not id_fits(p.id, p.ip) and node.knows(p), p.id.hex())


@case("BEP 42, ip")
def the_node_takes_an_id_that_fits_what_others_see(c):
    """Somebody says that it sees the node at a vector's address."""
    for ip, _, _ in VECTORS:
        node = c.fresh()
        p = c.peer(node, word=WORD, answers=False)
        before = p.ask("ping")["r"]["id"]
        q = p.wait_asked("ping")
        p.reply(q, {}, ip=compact((ip, 4000)))
        equal(wait_until("another id", lambda: node.status["seen_as"], 15, 0.02)[0], ip + ":4000")
        after = p.ask("ping")["r"]["id"]
        check(id_fits(after, ip), "the id", after.hex(), "does not fit", ip)
        check(after != before)
        node.restart()
        equal(p.ask("ping")["r"]["id"], after, "and keeps it over a restart")
        node.end()


@case("BEP 42, ip", family=6)
def over_ipv6_the_id_follows_from_the_first_64_bits(c):
    node = c.fresh()
    p = c.peer(node, word=WORD, answers=False)
    p.ask("ping")
    p.reply(p.wait_asked("ping"), {}, ip=compact(("2a00:1450:4001:81d::200e", 4000)))
    wait_until("an id that fits", lambda: id_fits(p.ask("ping")["r"]["id"], "2a00:1450:4001:81d::"), 15, 0.02)


@case("BEP 42, ip")
def one_voice_among_many_does_not_move_the_node(c):
    node = c.fresh()
    honest = c.network(4, node, WORD)
    here = compact(("21.75.31.124", 4000))
    for p in honest:
        p.answer = lambda q: dict({"nodes": b""})
        reply = p.reply
        p.reply = lambda q, values, reply=reply: reply(q, values, ip=here)
    node.find(os.urandom(20))
    wait_until("an address", lambda: node.status["seen_as"], 15, 0.02)
    before = c.peer(node).ask("ping")["r"]["id"]
    check(id_fits(before, "21.75.31.124"))
    liar = c.network(1, node, WORD)[0]
    reply2 = liar.reply
    liar.reply = lambda q, values: reply2(q, values, ip=compact(("65.23.51.170", 99)))
    for _ in range(4):
        node.ping(liar)
    equal(c.peer(node).ask("ping")["r"]["id"], before)
    equal(node.status["seen_as"], "21.75.31.124:4000")


@case("BEP 42, ip")
def an_ip_of_no_shape_is_ignored(c):
    for bad in (b"", b"abc", b"x" * 5, b"x" * 7, b"x" * 17, b"x" * 18, b"\0" * 6, b"\xff" * 6, 5, ["x"]):
        node = c.fresh()
        p = c.peer(node, word=WORD, answers=False)
        before = p.ask("ping")["r"]["id"]
        p.reply(p.wait_asked("ping"), {}, ip=bad)
        node.wait_knows(p)
        equal(p.ask("ping")["r"]["id"], before, bad)
        equal(node.status["seen_as"], None, bad)
        node.end()


@case("BEP 42, Enforcement", public=True)
def a_public_address_enters_with_its_own_id_only(c):
    node = c.fresh(ip=NODE_IP, ip6="")
    good = c.peer(node, ip="124.31.75.21", node_id=id_for("124.31.75.21"), word=WORD)
    bad = c.peer(node, ip="65.23.51.170", word=WORD, node_id=id_for("84.124.73.14"))
    for p in (bad, good):
        p.ask("ping")
    node.wait_knows(good)
    bad.ask("find_node", {"target": bad.id})
    check(not node.knows(bad), "an id that its address cannot have is a contact")
    check(not c.peer(node, ip="43.213.53.83").lists(bad), "and is named to others")


@case("BEP 42, Enforcement", public=True, family=6)
def a_public_address_enters_with_its_own_id_only_over_ipv6(c):
    node = c.fresh(ip6="2a00:1450:4001:81d::200e")
    ip = "2a03:2880:f12d:83::36"
    good = c.peer(node, ip=ip, node_id=id_for(ip), word=WORD)
    bad = c.peer(node, ip=ip, node_id=id_for("2a00:1450:4001:81d::200e"), word=WORD)
    for p in (bad, good):
        p.ask("ping")
    node.wait_knows(good)
    check(not node.knows(bad), "an id that its address cannot have is a contact")


@case("BEP 42, Enforcement", public=True)
def hearsay_of_an_id_that_does_not_fit_is_not_followed(c):
    node = c.fresh(ip=NODE_IP, ip6="")
    honest = c.peer(node, ip="84.124.73.14", node_id=id_for("84.124.73.14"), word=WORD)
    bad = c.peer(node, ip="65.23.51.170", word=WORD)
    teller = c.peer(node, ip="124.31.75.21", node_id=id_for("124.31.75.21"), word=WORD)
    teller.answer = lambda q: {"nodes": bad.compact_node + honest.compact_node, "token": b"t"} if q["q"] != b"ping" else {}
    teller.ask("ping")
    node.wait_knows(teller)
    node.find(bad.id)
    honest.wait_asked("find_node")
    check(not bad.asked, "the node asked one whose id cannot be:", bad.asked)


@case("BEP 42; DESIGN 4", public=True)
def a_plain_citizen_takes_any_id(c):
    """On the public network most ids do not fit, so there it is not enforced."""
    node = c.fresh(ip=NODE_IP, ip6="", network="")
    p = c.peer(node, ip="65.23.51.170")
    p.ask("ping")
    node.wait_knows(p)


@case("DESIGN 4, table", public=True)
def two_of_a_subnet_in_a_bucket_are_enough(c):
    node = c.fresh(ip=NODE_IP, ip6="", network="")
    own = c.peer(node, ip="65.23.51.170", prove=False).ask("ping", ro=1)["r"]["id"]
    far = bytes([own[0] ^ 0x80])
    crowd = [c.peer(node, ip=("124.31.75.21", "124.31.75.22")[i % 2], node_id=far + os.urandom(19)) for i in range(6)]
    for p in crowd:
        p.ask("ping")
        p.ask("find_node", {"target": p.id})
    wait_until(lambda: node.peers(), lambda: len(node.peers()) == 2, 15, 0.02)
    for p in crowd:
        p.ask("find_node", {"target": p.id})
    equal(len(node.peers()), 2)
