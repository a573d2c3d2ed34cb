"""BEP 5: the DHT protocol."""
import os
import time

from harness import check, equal, wait_until
from krpc import WORD, contacts, distance, encode, uncompact
from suite import case

# ---- KRPC protocol


@case("BEP 5, KRPC Protocol", both=True)
def transaction_ids_come_back_whatever_their_length(c):
    p = c.peer()
    for size in (1, 2, 3, 4, 5, 7, 8, 16, 20, 32):
        t = os.urandom(size)
        equal(p.ask("ping", t=t)["t"], t)
        equal(p.refused(204, "nonsense", t=t)["t"], t)


@case("BEP 5, KRPC Protocol")
def transaction_ids_may_hold_any_bytes(c):
    p = c.peer()
    for t in (b"\0", b"\0\0", b"\xff\xff", b"1:", b"ee", b"%s%n", b"\r\n\0\x7f"):
        equal(p.ask("ping", t=t)["t"], t)


@case("BEP 5, KRPC Protocol")
def a_query_without_a_transaction_id_is_dropped(c):
    p = c.peer()
    q = p.query("ping")
    del q["t"]
    p.ignored(encode(q), encode(dict(q, t="")), encode(dict(q, t=7)), encode(dict(q, t=["aa"])))


@case("BEP 5, KRPC Protocol")
def a_transaction_id_beyond_32_bytes_is_dropped(c):
    p = c.peer()
    p.ignored(encode(p.query("ping", t=os.urandom(33))), encode(p.query("ping", t=os.urandom(500))))


@case("BEP 5, KRPC Protocol")
def a_message_is_q_r_or_e_and_nothing_else(c):
    p = c.peer()
    q = p.query("ping")
    p.ignored(*[encode(dict(q, y=y)) for y in ("", "x", "Q", "qq", 1, [], {})])
    del q["y"]
    p.ignored(encode(q))


@case("BEP 5, KRPC Protocol")
def a_reply_has_one_id_and_keeps_it(c):
    ids = {c.peer().ask("ping")["r"]["id"] for _ in range(5)}
    equal(len(ids), 1)
    equal(ids.pop().hex(), c.node.home.status["node_id"], "as `camellia status` has it")


@case("BEP 5, KRPC Protocol", both=True)
def unknown_keys_are_ignored(c):
    p = c.peer()
    extra = {"zz": "top", "a0": 5, "unknown": [1, {"x": "y"}], "ip": b"123456", "v": b"XX01", "e": [201, "no"], "r": {}}
    p.ask("ping", {"zz": 1, "x": {"deep": [[]]}, "foo": "bar"}, **extra)
    p.ask("find_node", {"target": os.urandom(20), "aaa": "", "targetx": "t", "scrape": 1}, **extra)
    p.ask("get_peers", {"info_hash": os.urandom(20), "noseed": 1, "scrape": 1, "name": "x"}, **extra)


@case("BEP 5, KRPC Protocol")
def a_client_version_of_any_shape_is_ignored(c):
    p = c.peer()
    for v in ("", "L", "LT\x02\x08", "a long version indeed", 7, ["LT"], {"LT": 1}):
        p.ask("ping", v=v)


# ---- errors


@case("BEP 5, Errors", both=True)
def an_unknown_method_is_204(c):
    p = c.peer()
    for method in ("", "nonsense", "PING", "ping ", "pin", "ping\0", "find_value", "sample_infohashes", "vote", "x" * 300):
        p.refused(204, method)


@case("BEP 5, Errors", both=True)
def a_query_without_arguments_is_203(c):
    p = c.peer()
    for method in ("ping", "find_node", "get_peers", "announce_peer", "get", "put"):
        p.refused(203, method, a={})
        q = p.query(method)
        del q["a"]
        p.send(q)
        p.check_error(p.await_answer(q["t"]), 203)


@case("BEP 5, Errors")
def arguments_that_are_no_dictionary_are_203(c):
    p = c.peer()
    for a in ("", "abc", 5, [], ["id", b"x" * 20]):
        p.refused(203, "ping", a=a)


@case("BEP 5, Errors")
def a_query_that_names_no_method_is_203(c):
    p = c.peer()
    for q in (None, 5, [], {}):
        m = p.query("ping", q=q)
        p.send(m)
        p.check_error(p.await_answer(m["t"]), 203)


@case("BEP 5, Errors", both=True)
def an_id_that_is_not_20_bytes_is_203(c):
    p = c.peer()
    for bad in (b"", b"x", b"x" * 19, b"x" * 21, b"x" * 40, 5, ["x" * 20], {}):
        p.refused(203, "ping", {"id": bad})
        p.refused(203, "find_node", {"id": bad, "target": b"x" * 20})


@case("BEP 5, Errors", both=True)
def a_target_that_is_missing_or_not_20_bytes_is_203(c):
    p = c.peer()
    for method, key in (("find_node", "target"), ("get_peers", "info_hash"), ("get", "target")):
        for bad in (None, b"", b"x" * 19, b"x" * 21, 5, ["x" * 20], {"x": 1}):
            p.refused(203, method, {key: bad})


@case("BEP 5, Errors")
def an_error_names_its_query_and_says_why(c):
    p = c.peer()
    e = p.refused(203, "find_node", t=b"abc")
    equal(e["t"], b"abc")
    check(e["e"][1].decode("ascii").isprintable() and e["e"][1], e)
    check("r" not in e, "an error has no r:", e)


@case("BEP 5, Errors", both=True)
def an_error_or_reply_that_nobody_asked_for_is_dropped(c):
    p = c.peer()
    t = os.urandom(4)
    p.ignored(encode({"t": t, "y": "e", "e": [201, "A Generic Error Ocurred"]}),
              encode({"t": t, "y": "r", "r": {"id": p.id}}),
              encode({"t": b"\0\0\0\0", "y": "r", "r": {"id": p.id, "nodes": p.compact_node}}),
              encode({"t": t, "y": "e", "e": []}), encode({"t": t, "y": "e", "e": "no list"}), encode({"t": t, "y": "e"}),
              encode({"t": t, "y": "r"}), encode({"t": t, "y": "r", "r": []}), encode({"t": t, "y": "r", "r": {"id": 5}}))


# ---- ping, find_node


@case("BEP 5, ping", both=True)
def a_ping_is_answered_with_the_id_alone(c):
    equal(set(c.peer().ask("ping")["r"]), {"id"})


@case("BEP 5, find_node", both=True)
def find_node_gives_compact_nodes(c):
    node = c.fresh()
    others = c.network(3, node, WORD)
    p = c.peer(node)
    r = p.ask("find_node", {"target": os.urandom(20)})["r"]
    got = contacts(r["nodes6" if c.family == 6 else "nodes"], c.family)
    equal(sorted(got), sorted((o.id, o.address) for o in others))
    check("values" not in r and "token" not in r, "find_node gives nodes and nothing else:", r)


@case("BEP 5, find_node; paper, 2.3")
def find_node_gives_the_closest_k_of_all_it_knows(c):
    node = c.fresh()
    others = c.network(28, node, WORD)
    p = c.peer(node)
    known = node.peers()
    ids = [o.id for o in others if o.id.hex() in {i for i, _ in known}]
    check(len(ids) >= 24, len(ids))
    for _ in range(8):
        target = os.urandom(20)
        got = [i for i, _ in p.find(target)]
        equal(got, sorted(ids, key=lambda i: distance(i, target))[:16], "the 16 closest, closest first")
    for o in others[:4]:
        equal(p.find(o.id)[0], (o.id, o.address), "a contact that is known is the first in the answer")


@case("BEP 5, find_node")
def a_node_that_knows_nobody_gives_an_empty_string(c):
    r = c.peer(c.fresh()).ask("find_node", {"target": os.urandom(20)})["r"]
    equal(r.get("nodes"), b"")


# ---- routing table


@case("BEP 5, Routing Table", both=True)
def who_asked_and_then_answers_is_a_contact(c):
    node = c.fresh()
    p = c.peer(node, word=WORD)
    p.ask("ping")
    q = p.wait_asked("ping")
    equal(len(q["a"]["id"]), 20)
    node.wait_knows(p)
    check(c.peer(node).lists(p), "it is named to others")


@case("BEP 5, Routing Table", both=True)
def who_asked_and_never_answers_is_no_contact(c):
    node = c.fresh()
    p = c.peer(node, word=WORD, answers=False)
    p.ask("ping")
    p.wait_asked("ping")
    time.sleep(0.3)
    check(not node.peers(), "a contact that never answered:", node.peers())
    check(not c.peer(node).lists(p), "one that never answered is named to others")


@case("BEP 5, Routing Table")
def an_answer_from_another_address_is_no_answer(c):
    node = c.fresh()
    p, other = c.peer(node, word=WORD, answers=False), c.peer(node)
    p.ask("ping")
    q = p.wait_asked("ping")
    for node_id in (p.id, other.id):
        other.ignored(encode({"t": q["t"], "y": "r", "r": {"id": node_id}, "n": WORD}))
    check(not node.peers(), "the table took what came from elsewhere:", node.peers())
    p.reply(q, {})
    node.wait_knows(p)


@case("BEP 5, Routing Table")
def an_answer_with_another_transaction_id_is_no_answer(c):
    node = c.fresh()
    p = c.peer(node, word=WORD, answers=False)
    p.ask("ping")
    q = p.wait_asked("ping")
    t = bytearray(q["t"])
    for i in range(len(t)):
        t[i] ^= 1
        p.ignored(encode({"t": bytes(t), "y": "r", "r": {"id": p.id}, "n": WORD}))
        t[i] ^= 1
    p.ignored(encode({"t": bytes(t[:-1]), "y": "r", "r": {"id": p.id}, "n": WORD}),
              encode({"t": bytes(t) + b"\0", "y": "r", "r": {"id": p.id}, "n": WORD}))
    check(not node.peers(), node.peers())


@case("BEP 5, Routing Table")
def an_answer_without_an_id_is_no_answer(c):
    node = c.fresh()
    p = c.peer(node, word=WORD, answers=False)
    p.ask("ping")
    q = p.wait_asked("ping")
    p.ignored(*[encode({"t": q["t"], "y": "r", "r": r, "n": WORD}) for r in ({}, {"id": b"x" * 19}, {"id": 5})])
    check(not node.peers(), node.peers())


@case("BEP 5, Routing Table")
def transaction_ids_of_the_node_cannot_be_guessed(c):
    """At least two of their bytes differ between any two queries, whatever else counts up in them."""
    node = c.fresh(network="")
    peers = c.network(12, node, None)
    seen = [t for p in peers for t in {q["t"] for q in p.asked}]  # one that is sent again keeps its id
    equal(len(set(seen)), len(seen))
    tails = [t[-2:] for t in seen]
    check(len(set(tails)) > len(tails) * 0.8, "they end alike:", sorted(tails))


@case("BEP 5, Routing Table")
def nobody_is_a_contact_under_the_nodes_own_id(c):
    node = c.fresh()
    own = node.id
    p = c.peer(node, word=WORD, node_id=own)
    p.ask("ping")
    time.sleep(0.2)
    check(own.hex() not in {i for i, _ in node.peers()}, node.peers())
    check(not c.peer(node).lists(p), "the node names itself at another's address")


@case("BEP 5, Routing Table")
def a_contact_that_answers_no_more_is_named_no_more(c):
    node = c.fresh()
    alive, dead = c.network(2, node, WORD)
    dead.answers = False
    p = c.peer(node)
    check(p.lists(dead), "it was a contact")
    node.find(dead.id)
    wait_until("the dead one is forgotten", lambda: not p.lists(dead), 12, 0.1)
    check(p.lists(alive), "the living one is still named")


@case("BEP 5, Routing Table")
def an_id_at_a_new_address_does_not_push_out_the_old_one(c):
    node = c.fresh()
    p = c.network(1, node, WORD)[0]
    thief = c.peer(node, word=WORD, node_id=p.id)
    thief.ask("ping")
    time.sleep(0.3)
    check(node.knows(p), "the first one answers still, and is gone:", node.peers())
    check(not node.knows(thief), "two addresses of one id:", node.peers())


@case("BEP 5, Routing Table")
def the_table_and_the_id_outlive_a_restart(c):
    node = c.fresh()
    peers = c.network(3, node, WORD)
    before = c.peer(node).ask("ping")["r"]["id"]
    node.restart()
    for p in peers:
        node.wait_knows(p)
    equal(c.peer(node).ask("ping")["r"]["id"], before)


# ---- get_peers, announce_peer


def announced(p, info_hash, token=None, **args):
    token = token or p.token(info_hash, "get_peers")
    return p.ask("announce_peer", dict({"info_hash": info_hash, "token": token}, **args))


def values_of(p, info_hash):
    return [uncompact(v) for v in p.ask("get_peers", {"info_hash": info_hash})["r"].get("values", [])]


@case("BEP 5, get_peers", both=True)
def get_peers_gives_a_token_and_nodes(c):
    r = c.peer().ask("get_peers", {"info_hash": os.urandom(20)})["r"]
    check(isinstance(r.get("token"), bytes) and r["token"], "a token:", r)
    check("nodes6" in r if c.family == 6 else "nodes" in r, r)
    check("values" not in r, "no values where nobody announced:", r)


@case("BEP 5, announce_peer", both=True)
def a_peer_that_was_announced_is_found_by_others(c):
    p, info_hash = c.peer(), os.urandom(20)
    equal(set(announced(p, info_hash, port=6881)["r"]), {"id"})
    equal(values_of(c.peer(), info_hash), [(p.ip, 6881)])
    r = c.peer().ask("get_peers", {"info_hash": info_hash})["r"]
    check(r.get("token"), "a token with the values:", r)


@case("BEP 5, announce_peer", both=True)
def implied_port_takes_the_port_of_the_datagram(c):
    for args in ({"implied_port": 1, "port": 6881}, {"implied_port": 1}, {"implied_port": 7, "port": 0}):
        p, info_hash = c.peer(), os.urandom(20)
        announced(p, info_hash, **args)
        equal(values_of(c.peer(), info_hash), [p.address])


@case("BEP 5, announce_peer")
def implied_port_zero_takes_the_port_argument(c):
    p, info_hash = c.peer(), os.urandom(20)
    announced(p, info_hash, implied_port=0, port=7000)
    equal(values_of(c.peer(), info_hash), [(p.ip, 7000)])


@case("BEP 5, announce_peer", both=True)
def an_announcement_that_lacks_something_is_203(c):
    p, info_hash = c.peer(), os.urandom(20)
    token = p.token(info_hash, "get_peers")
    good = {"info_hash": info_hash, "token": token, "port": 6881}
    for change in ({"info_hash": None}, {"token": None}, {"port": None}, {"port": 0}, {"port": 65536}, {"port": -1},
                   {"port": "6881"}, {"token": 5}, {"info_hash": b"x" * 19}, {"info_hash": info_hash[:19]}):
        p.refused(203, "announce_peer", dict(good, **change))
    equal(values_of(p, info_hash), [])


@case("BEP 5, announce_peer", both=True)
def a_token_that_was_not_given_is_203(c):
    p, info_hash = c.peer(), os.urandom(20)
    token = p.token(info_hash, "get_peers")
    wrong = [b"", b"x", token[:-1], token + b"\0", bytes(len(token)), os.urandom(len(token)),
             bytes([token[0] ^ 1]) + token[1:], b"aoeusnth"]
    for bad in wrong:
        p.refused(203, "announce_peer", {"info_hash": info_hash, "token": bad, "port": 6881})
        p.refused(203, "put", {"token": bad, "v": "x"})
    equal(values_of(p, info_hash), [])


@case("BEP 5, announce_peer: token")
def a_token_that_another_address_was_given_is_203(c):
    a, b = c.peer(), c.peer(ip="127.0.0.2")
    info_hash = os.urandom(20)
    token = a.token(info_hash, "get_peers")
    b.refused(203, "announce_peer", {"info_hash": info_hash, "token": token, "port": 6881})
    b.refused(203, "put", {"token": token, "v": "x"})
    announced(a, info_hash, token, port=6881)


@case("protocol, Write tokens", both=True)
def on_loopback_another_port_is_another_address(c):
    a, b = c.peer(), c.peer()
    token = a.token(method="get_peers")
    b.refused(203, "put", {"token": token, "v": "x"})


@case("BEP 5, announce_peer: token", public=True)
def elsewhere_a_token_is_bound_to_the_ip_and_not_to_the_port(c):
    node = c.fresh(ip="21.75.31.124", ip6="")
    a, b = c.peer(node, ip="124.31.75.21"), c.peer(node, ip="124.31.75.21")
    other = c.peer(node, ip="65.23.51.170")
    token = a.token(method="get_peers")
    other.refused(203, "put", {"token": token, "v": "x"})
    b.ask("put", {"token": token, "v": "x"})


@case("BEP 5, announce_peer: token", both=True)
def a_token_serves_any_target_and_more_than_once(c):
    p = c.peer()
    token = p.token()
    for _ in range(3):
        announced(p, os.urandom(20), token, port=6881)
        p.ask("put", {"token": token, "v": os.urandom(8)})


@case("BEP 5, announce_peer: token")
def a_token_is_good_for_five_minutes_and_not_for_ten(c):
    node = c.fresh(clock=True)
    p = c.peer(node)
    token = p.token()
    node.step(299)
    p.ask("put", {"token": token, "v": "after 299 s"})
    node.step(601)
    p.refused(203, "put", {"token": token, "v": "after 601 s"})
    node.step(86400 * 30)
    p.refused(203, "put", {"token": token, "v": "after a month"})
    p.ask("put", {"token": p.token(), "v": "with a fresh one"})
    node.step(0)
    p.ask("put", {"token": token, "v": "the clock went back"})


@case("protocol, Write tokens")
def a_token_from_before_a_restart_is_good(c):
    node = c.fresh()
    p = c.peer(node)
    token = p.token()
    node.restart()
    p.ask("put", {"token": token, "v": "x"})
    node.end(sig=9)
    node.start()
    p.ask("put", {"token": token, "v": "y"})


@case("protocol, Write tokens")
def a_token_of_one_node_is_nothing_to_another(c):
    p = c.peer(c.node)
    q = c.peer(c.plain)
    token = p.token()
    q.refused(203, "put", {"token": token, "v": "x"})


@case("BEP 5, get_peers")
def the_same_peer_twice_is_one_peer(c):
    p, info_hash = c.peer(), os.urandom(20)
    for _ in range(3):
        announced(p, info_hash, port=6881)
    equal(values_of(p, info_hash), [(p.ip, 6881)])


@case("BEP 5, get_peers")
def a_large_swarm_is_answered_in_one_datagram(c):
    p, info_hash = c.peer(), os.urandom(20)
    token = p.token(info_hash, "get_peers")
    for port in range(7000, 7128):
        announced(p, info_hash, token, port=port)
    seen = set()
    for _ in range(8):
        m = p.ask("get_peers", {"info_hash": info_hash})
        check(m["#size"] <= 1232, m["#size"], "bytes in one reply")
        check(len(m["r"]["values"]) >= 20, "few peers of many:", len(m["r"]["values"]))
        seen |= {uncompact(v) for v in m["r"]["values"]}
    equal(len(seen), 128, "who asks again hears of the others")


@case("protocol, Limits")
def a_peer_lives_half_an_hour_from_its_last_announcement(c):
    node = c.fresh(clock=True)
    p, info_hash = c.peer(node), os.urandom(20)
    announced(p, info_hash, port=6881)
    announced(p, info_hash, port=6882)
    node.step(1500)
    equal(len(values_of(p, info_hash)), 2)
    announced(p, info_hash, port=6882)
    node.step(1801)
    equal(values_of(p, info_hash), [(p.ip, 6882)])
    node.step(3400)
    equal(values_of(p, info_hash), [])


@case("DESIGN 2, stored means on disk")
def peers_outlive_kill_9(c):
    """Right after the reply: it left only when they were on disk."""
    node = c.fresh()
    p, info_hash = c.peer(node), os.urandom(20)
    for i in range(3):
        announced(p, info_hash, port=7000 + i)
        node.restart(sig=9)
        equal(sorted(values_of(p, info_hash)), [(p.ip, 7000 + j) for j in range(i + 1)])
