"""BEP 44: items in the DHT. The order of refusals and the lives of records are those of docs/protocol.md."""
import os
import time

from harness import check, equal
from krpc import Key, Raw, decode, encode, item_signed, sha1, verified
from suite import case

PROTOCOL = "BEP 44, "
#: The vectors of the BEP: their public key, and signatures made with it.
VECTOR_KEY = bytes.fromhex("77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548")
VECTOR_V = b"12:Hello World!"
VECTORS = [
    (b"", "4a533d47ec9c7d95b1ad75f576cffc641853b750",
     "305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff"
     "1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01"),
    (b"foobar", "411eba73b6f087ca51a3795d9c8c938d365e32c1",
     "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17d"
     "df9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08"),
]


def now_s():
    return int(time.time())


def holds(p, target, key, seq, v, salt=b""):
    """A get gives this version, with a signature that is good."""
    r = p.get(target)
    equal((r.get("k"), r.get("seq"), encode(r["v"]) if "v" in r else None), (key.public, seq, v))
    check(verified(key.public, item_signed(seq, v, salt), r["sig"]), "a signature that is not good")


# ---- immutable items


@case(PROTOCOL + "Immutable items", both=True)
def an_immutable_item_is_put_and_got(c):
    p = c.peer()
    v = encode(os.urandom(50))
    m = p.ask("put", {"token": p.token(), "v": Raw(v)})
    equal(set(m["r"]), {"id"})
    r = c.peer().get(sha1(v))
    equal(encode(r["v"]), v)
    check(not {"k", "sig", "seq"} & set(r), "an immutable item has no key, signature or seq:", r)


@case(PROTOCOL + "Test vectors")
def the_vector_of_an_immutable_item(c):
    p = c.peer()
    equal(p.put(VECTOR_V).hex(), "e5f96f6f38320f0f33959cb4d3d656452117aadb")
    equal(p.get(bytes.fromhex("e5f96f6f38320f0f33959cb4d3d656452117aadb"))["v"], b"Hello World!")


@case(PROTOCOL + "get", both=True)
def a_get_gives_a_token_and_nodes_with_and_without_a_value(c):
    p = c.peer()
    target = p.put(encode(os.urandom(20)))
    for t in (os.urandom(20), target):
        r = p.get(t)
        check(r.get("token"), "a token:", r)
        check(("nodes6" if c.family == 6 else "nodes") in r, r)
    check("v" not in p.get(os.urandom(20)), "a value where nothing was stored")


@case(PROTOCOL + "put: v is any bencoded value", both=True)
def values_of_every_type(c):
    p = c.peer()
    for v in (b"0:", b"i0e", b"i-5e", b"i9223372036854775807e", b"le", b"de", b"l1:a1:be", b"d1:ai1e1:bl2:xxi2eee",
              b"lllleeee", encode(bytes(range(256)))):
        target = p.put(v)
        equal(encode(p.get(target)["v"]), v)


@case(PROTOCOL + "Errors: 205", both=True)
def a_value_has_at_most_1000_bytes(c):
    p, key = c.peer(), Key()
    full, over = encode(os.urandom(996)), encode(os.urandom(997))
    equal(len(full), 1000)
    equal(encode(p.get(p.put(full))["v"]), full)
    p.put(over, code=205)
    target = p.put_mutable(key, 1, full)
    holds(p, target, key, 1, full)
    p.put_mutable(key, 2, over, code=205)
    p.put(b"l" + encode(os.urandom(494)) * 2 + b"e", code=None)
    p.put(b"l" + encode(os.urandom(496)) * 2 + b"e", code=205)


@case(PROTOCOL + "put: values of 1000 bytes", both=True)
def the_largest_item_fits_a_reply_of_a_plain_citizen(c):
    """1000 bytes of value with key, signature, salt and token are more than 1024, and are owed all the same."""
    p, key = c.peer(c.plain), Key()
    full, salt = encode(os.urandom(996)), os.urandom(64)
    equal(encode(p.get(p.put(full))["v"]), full)
    target = p.put_mutable(key, 2 ** 62, full, salt=salt)
    holds(p, target, key, 2 ** 62, full, salt=salt)
    check(p.ask("get", {"target": target, "want": ["n4", "n6"]}, t=os.urandom(32))["#size"] <= 1400)


@case(PROTOCOL + "put", both=True)
def a_put_without_a_token_is_203(c):
    p, key = c.peer(), Key()
    p.refused(203, "put", {"v": "x"})
    p.refused(203, "put", {"v": "x", "token": 5})
    p.refused(203, "put", {"v": "x", "k": key.public, "seq": 1, "sig": key.sign(item_signed(1, b"1:x"))})
    check("v" not in p.get(sha1(key.public)), "it was stored")


@case(PROTOCOL + "put")
def a_put_without_a_value_is_203(c):
    p, key = c.peer(), Key()
    p.refused(203, "put", {"token": p.token()})
    p.refused(203, "put", {"token": p.token(), "k": key.public, "seq": 1, "sig": bytes(64)})


@case(PROTOCOL + "put")
def keys_of_mutable_items_do_not_change_an_immutable_one(c):
    p = c.peer()
    v = encode(os.urandom(30))
    equal(p.put(v, salt="abc", seq=7, cas=3), sha1(v))
    r = p.get(sha1(v))
    equal(encode(r["v"]), v)
    check(not {"k", "sig", "seq"} & set(r), r)


@case(PROTOCOL + "Expiration")
def a_value_lives_two_hours_from_its_last_put(c):
    node = c.fresh(clock=True)
    p, key = c.peer(node), Key()
    a, b = encode("put once"), encode("put twice")
    p.put(a)
    p.put(b)
    m = p.put_mutable(key, 1, b)
    node.step(7100)
    check("v" in p.get(sha1(a)))
    p.put(b)
    p.put_mutable(key, 1, b)
    node.step(7201)
    check("v" not in p.get(sha1(a)), "a value outlived its two hours")
    check("v" in p.get(sha1(b)) and "v" in p.get(m), "who puts it again lengthens its life")
    node.step(7100 + 7201)
    check("v" not in p.get(sha1(b)) and "v" not in p.get(m))


# ---- mutable items


@case(PROTOCOL + "Test vectors")
def the_vectors_of_mutable_items(c):
    p = c.peer()
    for salt, target, sig in VECTORS:
        check(verified(VECTOR_KEY, item_signed(1, VECTOR_V, salt), bytes.fromhex(sig)), "the suite itself is wrong")
        args = {"k": VECTOR_KEY, "seq": 1, "sig": bytes.fromhex(sig), "v": Raw(VECTOR_V), "token": p.token()}
        p.ask("put", dict(args, **({"salt": salt} if salt else {})))
        r = p.get(bytes.fromhex(target))
        equal((r["k"], r["seq"], r["v"], r["sig"].hex()), (VECTOR_KEY, 1, b"Hello World!", sig))


@case(PROTOCOL + "Mutable items", both=True)
def a_mutable_item_is_put_got_and_replaced(c):
    p, key = c.peer(), Key()
    target = p.put_mutable(key, 1, b"3:one")
    equal(target, sha1(key.public))
    holds(c.peer(), target, key, 1, b"3:one")
    p.put_mutable(key, 2, b"3:two")
    holds(c.peer(), target, key, 2, b"3:two")
    p.put_mutable(key, 2 ** 63 - 1, b"4:last")
    holds(c.peer(), target, key, 2 ** 63 - 1, b"4:last")


@case(PROTOCOL + "Mutable items")
def seq_may_begin_at_zero(c):
    p, key = c.peer(), Key()
    holds(p, p.put_mutable(key, 0, b"4:zero"), key, 0, b"4:zero")


@case(PROTOCOL + "Errors: 206", both=True)
def a_signature_that_is_not_good_is_206(c):
    p, key, other = c.peer(), Key(), Key()
    v, salt = b"5:hello", b"s"
    good = key.sign(item_signed(1, v))
    bad = [bytes(64), os.urandom(64), good[:63] + bytes([good[63] ^ 1]), bytes([good[0] ^ 1]) + good[1:],
           other.sign(item_signed(1, v)), key.sign(item_signed(2, v)), key.sign(item_signed(1, b"5:hellp")),
           key.sign(item_signed(1, v, salt)), key.sign(v), key.sign(b"")]
    for sig in bad:
        p.put_mutable(key, 1, v, sig=sig, code=206)
    p.put_mutable(key, 1, v, salt=salt, sig=good, code=206)
    check("v" not in p.get(sha1(key.public)), "something was stored")
    p.put_mutable(key, 1, v)


@case(PROTOCOL + "Errors: 206")
def a_signature_that_was_changed_by_the_group_order_is_206(c):
    """S + L verifies with a careless implementation (RFC 8032, 5.1.7): then one item would have two forms."""
    p, key = c.peer(), Key()
    good = key.sign(item_signed(1, b"5:hello"))
    order = 2 ** 252 + 27742317777372353535851937790883648493
    s = int.from_bytes(good[32:], "little") + order
    p.put_mutable(key, 1, b"5:hello", sig=good[:32] + s.to_bytes(32, "little"), code=206)


@case(PROTOCOL + "Errors: 206")
def keys_of_small_order_sign_nothing(c):
    p = c.peer()
    for k in (bytes(32), b"\1" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"):
        p.refused(206, "put", {"token": p.token(), "k": k, "seq": 1, "sig": b"\1" + bytes(63), "v": "x"})


@case(PROTOCOL + "Errors: 203", both=True)
def a_mutable_put_that_lacks_something_is_203(c):
    p, key = c.peer(), Key()
    token = p.token()
    good = {"token": token, "k": key.public, "seq": 1, "sig": key.sign(item_signed(1, b"1:x")), "v": "x"}
    for change in ({"k": key.public[:31]}, {"k": key.public + b"\0"}, {"k": 5}, {"sig": None}, {"sig": bytes(63)},
                   {"sig": bytes(65)}, {"sig": 7}, {"seq": None}, {"seq": "1"}, {"seq": [1]}, {"seq": -1}, {"v": None},
                   {"cas": "1"}, {"salt": 5}, {"id": None}):
        p.refused(203, "put", dict(good, **change))
    check("v" not in p.get(sha1(key.public)))
    p.ask("put", good)


@case(PROTOCOL + "Errors: 302", both=True)
def a_lower_seq_is_302(c):
    p, key = c.peer(), Key()
    target = p.put_mutable(key, 5, b"4:five")
    for seq in (4, 1, 0):
        p.put_mutable(key, seq, b"3:old", code=302)
    holds(p, target, key, 5, b"4:five")


@case(PROTOCOL + "Mutable items")
def the_same_version_again_is_taken(c):
    p, key = c.peer(), Key()
    target = p.put_mutable(key, 5, b"4:five")
    p.put_mutable(key, 5, b"4:five")
    holds(p, target, key, 5, b"4:five")


@case("protocol, Newer")
def at_equal_seq_the_larger_hash_wins_whoever_came_first(c):
    low, high = sorted((b"3:one", b"3:two"), key=sha1)
    p, key = c.peer(), Key()
    target = p.put_mutable(key, 5, low)
    p.put_mutable(key, 5, high)
    holds(p, target, key, 5, high)
    p.put_mutable(key, 5, low, code=302)
    holds(p, target, key, 5, high)


# ---- get with seq


@case(PROTOCOL + "get: seq", both=True)
def a_get_with_seq_gives_a_value_only_when_newer(c):
    p, key = c.peer(), Key()
    target = p.put_mutable(key, 5, b"4:five")
    for seq in (5, 6, 2 ** 63 - 1):
        r = p.get(target, seq=seq)
        check(not {"v", "k", "sig"} & set(r), "nothing newer, and yet:", r)
        check(r.get("token") and r.get("seq", 5) == 5, r)
    for seq in (4, 0, -1):
        equal(p.get(target, seq=seq)["v"], b"five", seq)


@case(PROTOCOL + "get: seq")
def a_get_with_seq_gives_immutable_items(c):
    p = c.peer()
    target = p.put(encode(os.urandom(9)))
    check("v" in p.get(target, seq=1000))


@case(PROTOCOL + "get: seq")
def a_seq_that_is_no_number_is_203(c):
    c.peer().refused(203, "get", {"target": os.urandom(20), "seq": "5"})


# ---- cas


@case(PROTOCOL + "CAS: 301", both=True)
def cas_that_is_not_the_seq_held_is_301(c):
    p, key = c.peer(), Key()
    target = p.put_mutable(key, 5, b"4:five")
    for cas in (4, 6, 0, -1, 2 ** 62):
        p.put_mutable(key, 6, b"3:six", cas=cas, code=301)
    holds(p, target, key, 5, b"4:five")
    p.put_mutable(key, 6, b"3:six", cas=5)
    holds(p, target, key, 6, b"3:six")
    p.put_mutable(key, 7, b"5:seven", cas=5, code=301)


@case(PROTOCOL + "CAS")
def cas_is_ignored_where_nothing_is_held(c):
    p, key = c.peer(), Key()
    target = p.put_mutable(key, 1, b"3:one", cas=17)
    holds(p, target, key, 1, b"3:one")


@case(PROTOCOL + "CAS")
def cas_looks_before_seq_does(c):
    p, key = c.peer(), Key()
    p.put_mutable(key, 5, b"4:five")
    p.put_mutable(key, 3, b"5:three", cas=4, code=301)
    p.put_mutable(key, 3, b"5:three", cas=5, code=302)


# ---- salt


@case(PROTOCOL + "Salt", both=True)
def each_salt_is_an_item_of_its_own(c):
    p, key = c.peer(), Key()
    for salt in (b"", b"a", b"b", os.urandom(64), b"\0"):
        target = p.put_mutable(key, 1, encode(salt + b"!"), salt=salt)
        equal(target, sha1(key.public, salt))
        holds(c.peer(), target, key, 1, encode(salt + b"!"), salt)


@case(PROTOCOL + "Errors: 207", both=True)
def a_salt_has_at_most_64_bytes(c):
    p, key = c.peer(), Key()
    p.put_mutable(key, 1, b"1:x", salt=b"s" * 64)
    for size in (65, 100, 300):
        p.put_mutable(key, 1, b"1:x", salt=b"s" * size, code=207)


@case(PROTOCOL + "Salt")
def an_empty_salt_is_no_salt(c):
    p, key = c.peer(), Key()
    p.ask("put", {"token": p.token(), "k": key.public, "seq": 1, "salt": b"", "v": "x",
                  "sig": key.sign(item_signed(1, b"1:x"))})
    holds(p, sha1(key.public), key, 1, b"1:x")


@case(PROTOCOL + "Salt")
def the_salt_is_signed(c):
    """Without it in the signed bytes, whoever sees an item could put it under another salt."""
    p, key = c.peer(), Key()
    sig = key.sign(item_signed(1, b"1:x", b"one"))
    p.put_mutable(key, 1, b"1:x", salt=b"two", sig=sig, code=206)
    p.put_mutable(key, 1, b"1:x", salt=b"one", sig=sig)


# ---- which refusal comes first; room


@case("protocol, Refusals")
def refusals_come_in_their_order(c):
    p, key = c.peer(), Key()
    big, salt, bad = encode(os.urandom(1000)), b"s" * 65, bytes(64)
    p.put_mutable(key, -1, big, salt=salt, sig=bad, token=b"x", code=203)
    p.put_mutable(key, -1, big, salt=salt, sig=bad, code=205)
    p.put_mutable(key, -1, b"1:x", salt=salt, sig=bad, code=207)
    p.put_mutable(key, -1, b"1:x", salt=b"s", sig=bad, code=203)
    p.put_mutable(key, 5, b"1:x", salt=b"s")
    p.put_mutable(key, 4, b"1:x", salt=b"s", sig=bad, cas=9, code=301)
    p.put_mutable(key, 4, b"1:x", salt=b"s", sig=bad, cas=5, code=302)
    p.put_mutable(key, 6, b"1:x", salt=b"s", sig=bad, cas=5, code=206)


@case("BEP 5, Errors: 202; protocol, Limits")
def a_flood_of_bad_signatures_is_202(c):
    """64 such puts use up what an address may put; others are not touched by it."""
    node = c.fresh()
    p, other, key = c.peer(node), c.peer(node), Key()
    token = p.token()
    bad = {"token": token, "k": key.public, "seq": 1, "sig": bytes(64), "v": "x"}
    queries = [p.query("put", bad) for _ in range(70)]
    queries.append(p.query("put", dict(bad, sig=key.sign(item_signed(1, b"1:x")))))
    for q in queries:  # all at once: what may be put grows with the time
        p.send(q)
    codes = [p.await_answer(q["t"])["e"][0] for q in queries]
    equal(codes[:60], [206] * 60)
    equal(codes[-2:], [202] * 2, "the last one is good, and comes too late")
    other.put_mutable(key, 1, b"1:x")


# ---- life


@case("protocol, Life")
def a_signed_expiry_is_kept_to_and_never_clipped(c):
    node = c.fresh(clock=True)
    p, key = c.peer(node), Key()
    exp = now_s() + 86400
    target = p.put_mutable(key, 1, encode({"exp": exp}))
    node.step(86300)
    holds(p, target, key, 1, encode({"exp": exp}))
    node.step(86410)
    check("v" not in p.get(target))


@case("protocol, Life")
def an_expiry_that_is_past_or_too_far_is_203(c):
    p, key = c.peer(), Key()
    year = 86400 * 365
    for exp in (1, now_s() - 1, now_s() + 400 * 86400 + 700, 2 ** 40, 2 ** 63 - 1):
        p.put_mutable(key, 1, encode({"exp": exp}), code=203)
        p.put(encode({"exp": exp}), code=203)
    p.put_mutable(key, 1, encode({"exp": now_s() + year}))
    p.put_mutable(key, 1, encode({"exp": now_s() + 8000}), salt=b"connections/0", code=203)
    p.put_mutable(key, 1, encode({"exp": now_s() + 7000}), salt=b"connections/0")


@case("protocol, Life")
def an_exp_that_is_no_number_or_not_positive_is_no_expiry(c):
    p = c.peer()
    for v in (encode({"exp": "soon"}), encode({"exp": 0}), encode({"exp": -5}), encode({"exp": [1]}), encode(["exp", 1])):
        equal(encode(p.get(p.put(v))["v"]), v)


@case("DESIGN 2, stored means on disk")
def items_outlive_kill_9(c):
    """Right after the reply: it left only when they were on disk."""
    node = c.fresh()
    p, key = c.peer(node), Key()
    a, b = p.put(encode("immutable")), p.put_mutable(key, 3, b"7:mutable", salt=b"s")
    node.restart(sig=9)
    equal(p.get(a)["v"], b"immutable")
    holds(p, b, key, 3, b"7:mutable", b"s")
    p.put_mutable(key, 2, b"3:old", salt=b"s", code=302)
    for i in range(3):
        text = encode("round %d" % i)
        target = p.put(text)
        node.restart(sig=9)
        equal(p.get(target).get("v"), decode(text), i)
