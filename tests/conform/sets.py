"""Signed sets: docs/protocol.md, "Signed sets"."""
import os
import random
import time

from harness import check, equal
from krpc import Key, Raw, encode, sha1, verified
from suite import case

SECTION = "protocol, Signed sets"


def entry_signed(root, seq, v):
    return b"4:root" + encode(root) + b"3:seq" + encode(seq) + b"1:v" + v


def value(days=10, **more):
    return encode(dict({"exp": int(time.time()) + days * 86400}, **more))


def slot(key):
    return sha1(key.public)


def shard_target(root, digits):
    return sha1(root, digits.encode()) if digits else root


def sput(p, root, key, seq=1, v=None, depth=0, code=None, sig=None, token=None, **args):
    v = v if v is not None else value()
    args = dict({"root": root, "depth": depth, "k": key.public, "seq": seq, "v": Raw(v), "token": token or p.token(root),
                 "sig": sig or key.sign(entry_signed(root, seq, v))}, **args)
    if code:
        return p.refused(code, "sput", args)
    return p.ask("sput", args)["r"]


def sget(p, root, digits="", **args):
    return p.ask("sget", dict({"root": root, "depth": len(digits), "prefix": digits}, **args))["r"]


def all_of(p, root, digits="", **args):
    """Every entry, page by page; and how many pages that took."""
    entries, pages, after = [], 0, {}
    while True:
        r = sget(p, root, digits, **dict(args, **after))
        entries += r["e"]
        pages += 1
        if not r["more"]:
            return entries, pages
        after = {"after": sha1(r["e"][-1][0])}


def digest(entries):
    total = 0
    for k, seq, sig, v, age, since in entries:
        total ^= int.from_bytes(sha1(k, seq.to_bytes(8, "big"), encode(v)), "big")
    return total.to_bytes(20, "big")


@case(SECTION + ": vectors")
def the_vector_of_an_entry(c):
    """The signature that the page gives, made here by other code."""
    key = Key(b"\1" + bytes(31))
    root = b"camellia followers!."
    v = b"d3:expi1785600000e4:name3:anae"
    equal(key.public.hex(), "cecc1507dc1ddd7295951c290888f095adb9044d1b73d696e6df065d683bd4fc")
    equal(key.sign(entry_signed(root, 7, v)).hex(),
          "22e0e09a5b593d73daa74b44e0f76d1e38da7d15b8dc5fb24d847ac044c55b9f012ce628fb8e0ae5ff07bb8d07cc0611"
          "d93075ee9b6812c5976ec96c87ba4e09")
    equal(slot(key).hex(), "4e8822a96a036d18448df3719a8284e4f5ab1d1f")
    equal(shard_target(root, "4").hex(), "9e8fbf564106e2df1665d69d4ef45740f1721bfd")
    equal(shard_target(root, "4e8822").hex(), "72fc78d2725243af374a5a7c4802c053ed5dff1e")


@case(SECTION, both=True)
def an_entry_is_put_and_read(c):
    p, root, key = c.peer(), os.urandom(20), Key()
    v = value(name="ana")
    equal(set(sput(p, root, key, 7, v)), {"id"})
    r = sget(c.peer(), root)
    (k, seq, sig, got, age, since), = r["e"]
    equal((k, seq, encode(got)), (key.public, 7, v))
    check(verified(k, entry_signed(root, 7, v), sig))
    check(0 <= age <= 5 and 0 <= since <= 5, age, since)
    equal((r["n"], r["more"]), (1, 0))
    check("split" not in r and r["token"], r)
    equal(r["dig"], digest(r["e"]))


@case(SECTION, both=True)
def an_empty_set_is_an_answer(c):
    r = sget(c.peer(), os.urandom(20))
    equal((r["e"], r["n"], r["more"], r["dig"]), ([], 0, 0, bytes(20)))
    check(("nodes6" if c.family == 6 else "nodes") in r, r)


@case(SECTION)
def each_key_owns_one_entry_of_each_root(c):
    p, a, b, key = c.peer(), os.urandom(20), os.urandom(20), Key()
    sput(p, a, key, 1, value(x=1))
    sput(p, a, key, 2, value(x=2))
    sput(p, b, key, 1, value(x=3))
    equal([e[3]["x"] for e in sget(p, a)["e"]], [2])
    equal([e[3]["x"] for e in sget(p, b)["e"]], [3])


@case(SECTION)
def a_lower_seq_of_an_entry_is_302(c):
    p, root, key = c.peer(), os.urandom(20), Key()
    sput(p, root, key, 5)
    sput(p, root, key, 4, code=302)
    sput(p, root, key, 0, code=302)
    equal(sget(p, root)["e"][0][1], 5)


@case("protocol, Newer")
def of_two_entries_at_one_seq_the_larger_hash_stays(c):
    low, high = sorted((value(x=1), value(x=2)), key=sha1)
    for first, second, code in ((low, high, None), (high, low, 302)):
        p, root, key = c.peer(), os.urandom(20), Key()
        sput(p, root, key, 5, first)
        sput(p, root, key, 5, second, code=code)
        equal(encode(sget(p, root)["e"][0][3]), high)


@case(SECTION, both=True)
def an_entry_with_a_bad_signature_is_206(c):
    p, root, key = c.peer(), os.urandom(20), Key()
    v = value()
    for sig in (bytes(64), os.urandom(64), key.sign(entry_signed(os.urandom(20), 1, v)), key.sign(entry_signed(root, 2, v)),
                key.sign(b"3:seqi1e1:v" + v), Key().sign(entry_signed(root, 1, v))):
        sput(p, root, key, 1, v, sig=sig, code=206)
    equal(sget(p, root)["n"], 0)


@case(SECTION)
def an_entry_that_is_not_in_form_is_refused(c):
    p, root, key = c.peer(), os.urandom(20), Key()
    now = int(time.time())
    for v in (b"3:abc", b"i5e", b"le", b"de", encode({"name": "no exp"}), encode({"exp": "soon"}), encode({"exp": now - 1}),
              encode({"exp": now + 400 * 86400 + 700}), encode({"exp": 0}), encode({"exp": -1})):
        sput(p, root, key, 1, v, code=203)
    big = value(x=os.urandom(400))
    sput(p, root, key, 1, big, code=205)
    fits = value(x=os.urandom(300 - len(value(x=b"")) - 2))
    equal(len(fits), 300)
    sput(p, root, key, 1, fits)


@case(SECTION, both=True)
def a_set_query_that_lacks_something_is_203(c):
    p, root, key = c.peer(), os.urandom(20), Key()
    v = value()
    good = {"root": root, "depth": 0, "k": key.public, "seq": 1, "v": Raw(v), "sig": key.sign(entry_signed(root, 1, v)),
            "token": p.token()}
    for change in ({"root": None}, {"root": b"x" * 19}, {"depth": None}, {"depth": 7}, {"depth": -1},
                   {"depth": 2 ** 40}, {"k": None}, {"k": b"x" * 31}, {"seq": None}, {"seq": -1}, {"sig": None},
                   {"sig": b"x" * 63}, {"v": None}, {"token": None}, {"token": b"12345678"}):
        p.refused(203, "sput", dict(good, **change))
    for change in ({"root": None}, {"root": b"x"}, {"depth": None}, {"depth": 1}, {"depth": 7, "prefix": "0123456"},
                   {"depth": 1, "prefix": "g"}, {"depth": 1, "prefix": "A"}, {"depth": 1, "prefix": "ab"},
                   {"depth": 0, "prefix": "a"}, {"depth": 2, "prefix": 5}, {"after": b"x" * 19}, {"upto": 5}):
        p.refused(203, "sget", dict({"root": root, "depth": 0, "prefix": ""}, **change))
    equal(sget(p, root)["n"], 0)


@case(SECTION)
def a_tombstone_is_kept_and_handed_on_and_never_counted(c):
    p, root, key, other = c.peer(), os.urandom(20), Key(), Key()
    sput(p, root, key, 1)
    sput(p, root, other, 1)
    sput(p, root, key, 2, value(**{"del": 1}))
    r = sget(p, root)
    equal(r["n"], 1)
    equal({e[0]: e[3].get("del") for e in r["e"]}, {key.public: 1, other.public: None})
    equal(r["dig"], digest(r["e"]), "tombstones count in the digest")
    equal([e[0] for e in sget(p, root, fresh=1)["e"]], [other.public], "nor is it among the fresh")
    sput(p, root, key, 1, code=302)
    sput(p, root, key, 3)
    equal(sget(p, root)["n"], 2)


@case(SECTION + ": pages", both=True)
def pages_are_in_order_of_slot_and_leave_nobody_out(c):
    p, root = c.peer(), os.urandom(20)
    keys = sorted((Key() for _ in range(40)), key=slot)
    token = p.token()
    for key in random.sample(keys, len(keys)):
        sput(p, root, key, 1, value(n="x" * random.randrange(100)), token=token)
    entries, pages = all_of(p, root)
    equal([e[0] for e in entries], [k.public for k in keys])
    check(pages >= 3, pages)
    r = sget(p, root)
    equal((r["n"], r["dig"]), (40, digest(entries)))
    some, _ = all_of(p, root, upto=slot(keys[30]))
    equal([e[0] for e in some], [k.public for k in keys[:31]], "slot <= upto")
    r = sget(p, root, after=slot(keys[10]), upto=slot(keys[12]))
    equal([e[0] for e in r["e"]], [k.public for k in keys[11:13]], "after < slot <= upto")
    equal((r["more"], "nodes" in r or "nodes6" in r), (0, False))
    equal(sget(p, root, after=slot(keys[-1]))["e"], [])
    equal(sget(p, root, after=b"\xff" * 20, upto=bytes(20))["e"], [])


@case("protocol, Methods: sget")
def an_upto_of_zero_gives_no_entries_and_the_rest(c):
    """So a writer looks for holders."""
    p, root = c.peer(), os.urandom(20)
    sput(p, root, Key())
    r = sget(p, root, upto=bytes(20))
    equal((r["e"], r["n"], "nodes" in r, bool(r["token"])), ([], 1, True, True))
    equal(r["dig"], sget(p, root)["dig"])


@case(SECTION + ": pages")
def a_page_fits_a_datagram_and_has_an_entry_at_least(c):
    p, root = c.peer(), os.urandom(20)
    token = p.token()
    for _ in range(8):
        sput(p, root, Key(), 1, value(x=os.urandom(270)), token=token)
    for args in ({}, {"want": ["n4", "n6"]}, {"fresh": 1}):
        m = p.ask("sget", dict({"root": root, "depth": 0, "prefix": ""}, **args))
        check(m["#size"] <= 1232 and len(m["r"]["e"]) >= 1, m["#size"])


@case(SECTION + ": fresh")
def fresh_gives_those_refreshed_last_first(c):
    p, root = c.peer(), os.urandom(20)
    keys = [Key() for _ in range(12)]
    ages = list(range(0, 1200, 100))
    random.shuffle(ages)
    for key, age in zip(keys, ages):
        sput(p, root, key, age=age)
    r = sget(p, root, fresh=1)
    got = [e[4] // 100 for e in r["e"]]
    check(len(got) >= 3 and got == list(range(len(got))), got)


@case(SECTION + ": age, since")
def a_holder_believes_age_and_not_since(c):
    node = c.fresh(clock=True)
    p, root, key = c.peer(node), os.urandom(20), Key()
    v = value()
    sput(p, root, key, 1, v, age=3000, since=900000)
    (_, _, _, _, age, since), = sget(p, root)["e"]
    check(3000 <= age <= 3005 and 0 <= since <= 5, age, since)
    node.step(1000)
    (_, _, _, _, age, since), = sget(p, root)["e"]
    check(4000 <= age <= 4010 and 1000 <= since <= 1010, age, since)
    sput(p, root, key, 2, v, age=9000, since=7)
    (_, _, _, _, age, since), = sget(p, root)["e"]
    check(4000 <= age <= 4010 and 1000 <= since <= 1010, "a newer version is no older:", age, since)
    sput(p, root, key, 3, v)
    (_, _, _, _, age, since), = sget(p, root)["e"]
    check(age <= 5 and 1000 <= since <= 1010, age, since)
    sput(p, root, key, 4, value(**{"del": 1}))
    sput(p, root, key, 5, v)
    (_, _, _, _, age, since), = sget(p, root)["e"]
    check(since <= 5, "it begins anew behind a tombstone:", since)


@case("protocol, Life")
def an_entry_lives_until_its_exp(c):
    node = c.fresh(clock=True)
    p, root, key = c.peer(node), os.urandom(20), Key()
    sput(p, root, key, 1, value(days=2))
    sput(p, root, Key(), 1, value(days=4))
    node.step(2 * 86400 - 100)
    equal(sget(p, root)["n"], 2)
    node.step(2 * 86400 + 100)
    r = sget(p, root)
    equal((r["n"], len(r["e"]), r["dig"]), (1, 1, digest(r["e"])))


@case(SECTION + ": shards")
def a_shard_below_the_root_is_a_place_of_its_own(c):
    p, root, key = c.peer(), os.urandom(20), Key()
    digits = slot(key).hex()
    for depth in range(7):
        sput(p, root, key, depth + 1, depth=depth)
    for depth in range(7):
        equal([(e[0], e[1]) for e in sget(p, root, digits[:depth])["e"]], [(key.public, depth + 1)])
    other = "f" if digits[0] != "f" else "0"
    equal(sget(p, root, other)["n"], 0)


@case(SECTION + ": shards")
def a_full_shard_answers_split_and_keeps_what_it_has(c):
    p, root = c.peer(), os.urandom(20)
    token = p.token()
    keys = [Key() for _ in range(512)]
    v = value()
    for key in keys:
        check("split" not in sput(p, root, key, 1, v, token=token))
    equal(sget(p, root)["n"], 512)
    one_more = Key()
    sput(p, root, one_more, 1, v, token=token, sig=os.urandom(64), code=206)
    check("split" not in sget(p, root), "a bad signature made it split")
    sput(p, root, keys[0], 2, v, token=token)
    check("split" not in sget(p, root), "an entry that it has made it split")
    equal(sput(p, root, one_more, 1, v, token=token).get("split"), 1)
    r = sget(p, root)
    equal((r["split"], r["n"]), (1, 512))
    equal(sput(p, root, keys[1], 2, v, token=token).get("split"), 1, "from then on every put")
    check("split" not in sput(p, root, one_more, 1, v, depth=1, token=token))
    equal([e[0] for e in sget(p, root, slot(one_more).hex()[0])["e"]], [one_more.public])
    entries, _ = all_of(p, root)
    equal({e[0] for e in entries}, {k.public for k in keys})


@case("DESIGN 2, stored means on disk")
def entries_outlive_kill_9(c):
    """Right after the reply: it left only when they were on disk."""
    node = c.fresh()
    p, root, key = c.peer(node), os.urandom(20), Key()
    sput(p, root, key, 4, age=500)
    node.restart(sig=9)
    after = sget(p, root)
    equal((after["e"][0][:2], after["n"]), ([key.public, 4], 1))
    check(500 <= after["e"][0][4] <= 530, after["e"][0][4])
    sput(p, root, key, 3, code=302)
    keys = [key]
    for _ in range(3):
        keys.append(Key())
        sput(p, root, keys[-1])
        node.restart(sig=9)
        equal({e[0] for e in sget(p, root)["e"]}, {k.public for k in keys})
