"""The main job: register, follow, post, read."""
import os
import time

from harness import Live, check, equal, note, scenario, together, wait_until


@scenario()
def two_homes(w):
    ana, bob = w.users("ana", "bob")
    row = bob.ok("follow", "ana")[0]
    equal((row["user"], row["following"]), ("ana", True))
    posted = ana.post("hello from ana")
    equal((posted["seq"], posted["author"]), (1, "ana"))
    bob.wait_texts(["hello from ana"], within=5)
    post = bob.timeline()[0]
    equal((post["author"], post["author_id"], post["id"], post["kind"]), ("ana", ana.id, posted["id"], "post"))
    equal(ana.names("followers"), ["bob"])
    equal(bob.names("following"), ["ana"])
    equal(bob.names("followers", "ana"), ["bob"])
    wait_until("received", lambda: ana.ok("outbox") == [], 5)


@scenario(timeout=120)
def json_shapes(w):
    """Every object has the keys that scripts may rely on, of the right kind."""
    ana, bob = w.home("ana"), w.home("bob")
    account = {"user": str, "id": str, "tag": str, "device": int, "address": str, "node": str}
    shapes = {
        "post": {"id": str, "seq": int, "author": str, "followers": int, "received": int, "waiting": int},
        "timeline": {"id": str, "author": str, "author_id": str, "device": int, "seq": int, "time": int, "text": str,
                     "kind": str, "via": (str, type(None)), "unread": bool},
        "follow": {"user": str, "id": str, "following": bool, "pending": bool},
        "followers": {"user": str, "id": str},
        "profile": {"user": str, "id": str, "bio": str, "posts": int, "followers": int, "following": int,
                    "complete_to": int, "as_of": (int, type(None)), "gaps": int},
        "status": {"user": str, "pid": int, "node_id": str, "address": str, "peers": int, "clock": dict, "outbox": int,
                   "store_bytes": int, "uptime_s": int, "unread": int},
        "peers": {"node_id": str, "address": str, "rtt_ms": (int, float), "age_s": (int, float)},
        "dht ping": {"node_id": str, "address": str, "rtt_ms": (int, float)},
        "dht find": {"node_id": str, "address": str},
        "dht put": {"target": str, "holders": int},
        "dht get": {"target": str, "value": str, "holders": int},
        "dht announce": {"info_hash": str, "port": (int, type(None)), "holders": int},
        "dht peers": {"address": str},
        "whoami": account,
    }

    def has(row, shape, what):
        equal(row.get("v"), 1, what)
        for key, kind in shape.items():
            check(key in row and isinstance(row[key], kind), what, "lacks", key, ":", row)

    has(ana.register(status=75), account, "register")
    has(bob.register(join=ana), account, "register")
    has(bob.login()[0], account, "login")
    w.settle()
    has(bob.ok("follow", "ana")[0], shapes["follow"], "follow")
    has(ana.post("x", "--wait=5"), shapes["post"], "post")
    bob.wait_texts(["x"], within=5)
    for command in ("timeline", "profile", "status", "peers", "whoami"):
        rows = bob.ok(command)
        check(rows, command, "gave nothing")
        for row in rows:
            has(row, shapes[command], command)
    has(ana.ok("followers")[0], shapes["followers"], "followers")
    has(bob.ok("following")[0], shapes["followers"], "following")
    has(bob.ok("profile", "ana")[0], shapes["profile"], "profile WHO")
    has(bob.ok("dht", "ping", ana.address)[0], shapes["dht ping"], "dht ping")
    put = bob.ok("dht", "put", "some value")[0]
    has(put, shapes["dht put"], "dht put")
    got = ana.ok("dht", "get", put["target"])[0]
    has(got, shapes["dht get"], "dht get")
    equal(got["value"], "some value")
    has(bob.ok("dht", "find", put["target"])[0], shapes["dht find"], "dht find")
    equal(ana.ok("dht", "peers", "0" * 40), [], "nobody announced")
    row = bob.ok("dht", "announce", "0" * 40, "--port", "7777")[0]
    has(row, shapes["dht announce"], "dht announce")
    equal((row["info_hash"], row["port"], row["holders"]), ("0" * 40, 7777, 1))
    equal(bob.ok("dht", "announce", "0" * 40)[0]["port"], None)
    rows = ana.ok("dht", "peers", "0" * 40)
    has(rows[0], shapes["dht peers"], "dht peers")
    equal({r["address"] for r in rows}, {"127.0.0.1:7777", bob.address}, "announced")
    has(bob.ok("unfollow", "ana")[0], shapes["follow"], "unfollow")
    equal({"offset_ms", "error_ms", "servers"} - set(bob.status["clock"]), set(), "clock")


@scenario()
def dht_of_five(w):
    homes = w.users("n0", "n1", "n2", "n3", "n4")
    node_ids = {h.status["node_id"] for h in homes}
    equal(len(node_ids), 5, "node ids")
    found = homes[4].ok("dht", "find", homes[1].status["node_id"])
    check(homes[1].status["node_id"] in [r["node_id"] for r in found], "the node itself is found:", found)
    rows = homes[4].ok("dht", "find", homes[1].status["node_id"], "--trace")
    hops, closest = [r for r in rows if "hop" in r], [r for r in rows if "hop" not in r]
    equal([r["hop"] for r in hops], list(range(1, len(hops) + 1)), "hops in order")
    check(hops and rows[:len(hops)] == hops, "hops come first:", rows)
    for r in hops:
        equal({"node_id", "address", "rtt_ms", "learned"} - set(r), set(), "a hop has")
        equal(r["distance_bits"], (int(r["node_id"], 16) ^ int(homes[1].status["node_id"], 16)).bit_length(), "distance")
        check(r["node_id"] in node_ids, "a hop is one of us:", r)
    check(any(r["distance_bits"] == 0 for r in hops), "it came to the node itself:", hops)
    equal([r["rank"] for r in closest], list(range(1, len(closest) + 1)), "ranks")
    equal(closest[0]["node_id"], homes[1].status["node_id"], "the closest to a node's id is it")
    seen = homes[4].status["dht"]
    check(seen["in"]["replies"] and seen["out"]["find_node"] and seen["lookup"]["done"], "counted:", seen)
    check(seen["table"]["live"] >= 4, "table:", seen)
    put = homes[2].ok("dht", "put", "kept by all")[0]
    check(put["holders"] >= 3, "holders:", put)
    for h in homes:
        equal(h.ok("dht", "get", put["target"])[0]["value"], "kept by all")
    mutable = homes[3].ok("dht", "put", "first", "--salt", "note")[0]
    homes[3].ok("dht", "put", "second", "--salt", "note")
    row = homes[0].ok("dht", "get", mutable["target"])[0]
    equal(row["value"], "second")
    check(row["k"] and isinstance(row["seq"], int), "a mutable one has k and seq:", row)
    for name in ([homes[3].id], [row["k"]], [mutable["target"]]):
        equal(homes[1].ok("dht", "get", *name, "--salt", "note")[0]["value"], "second", name)
    homes[1].fails(67, "dht", "get", homes[3].id, "--salt", "another")
    homes[0].fails(67, "dht", "get", "0" * 40)
    homes[0].fails(69, "dht", "ping", "127.0.0.1:1")


@scenario(timeout=90)
def nine_follow_at_once(w):
    homes = w.users("star", *["fan%d" % i for i in range(9)])
    star, fans = homes[0], homes[1:]
    want = [f.name for f in fans]
    start = time.monotonic()
    together([lambda f=f: f.ok("follow", "star") for f in fans])
    followed = time.monotonic() - start
    wait_until(lambda: "nine followers at the followed: %s" % star.names("followers"),
               lambda: star.names("followers") == want, 5)
    for reader in homes:
        wait_until(lambda: "nine followers at %s: %s" % (reader.name, reader.names("followers", "star")),
                   lambda: reader.names("followers", "star") == want, 5)
    note("nine follows took %.2f s, everybody sees nine after %.2f s" % (followed, time.monotonic() - start))
    equal(star.ok("profile")[0]["followers"], 9)


@scenario(timeout=120)
def ten_followers_twenty_posts(w):
    """One post within a second at ten; twenty complete and in order."""
    homes = w.users("author", *["f%d" % i for i in range(10)])
    author, fans = homes[0], homes[1:]
    together([lambda f=f: f.ok("follow", "author") for f in fans])
    wait_until("ten followers", lambda: author.status and len(author.names("followers")) == 10, 5)
    lives = [Live(f) for f in fans]
    time.sleep(1)
    start = time.monotonic()
    author.post("first")
    returned = time.monotonic() - start
    last = max(live.wait(1, within=5)[0] for live in lives) - start
    note("post returned after %.2f s, at ten followers after %.2f s" % (returned, last))
    check(last - returned < 1.0 * max(1, float(os.environ.get("CAMELLIA_SLOW", "1"))), "within a second, took", last)
    texts = ["post number %d" % i for i in range(20)]
    start = time.monotonic()
    for t in texts:
        author.post(t)
    sent = time.monotonic() - start
    for live in lives:
        live.wait(21, within=10)
        equal(live.texts(), ["first"] + texts, "in order, each once")
    note("twenty posted in %.2f s, at all after %.2f s" % (sent, max(l.times[-1] for l in lives) - start))
    for live in lives:
        equal(live.end(), 130, "Ctrl-C")
    for f in fans:
        equal(f.texts(), ["first"] + texts, f.name)
    wait_until("outbox empty", lambda: author.ok("outbox") == [], 5)


@scenario(timeout=90)
def dead_follower_delays_nobody(w):
    """The first in the list is dead, another holds its port and is silent; the living have the post at once."""
    homes = w.users("author", "dead", "mute", "alive1", "alive2", "alive3")
    author, dead, mute, alive = homes[0], homes[1], homes[2], homes[3:]
    for f in homes[1:]:
        f.ok("follow", "author")
        wait_until("follows", lambda: f.name in author.names("followers"), 5)
    author.post("before")
    for f in homes[1:]:
        f.wait_texts(["before"], within=5)
    dead.kill()
    mute.stop()
    lives = [Live(f) for f in alive]
    for live in lives:
        live.wait(1, within=5)
    start = time.monotonic()
    row = author.post("after")
    last = max(live.wait(2, within=5)[1] for live in lives) - start
    note("at the living after %.2f s" % last)
    check(last < 2.0, "the living waited", last)
    check(row["waiting"] >= 2 or row["received"] <= 3, "the dead have not received:", row)
    wait_until(lambda: "two wait in the outbox: %s" % author.ok("outbox"),
               lambda: [(r["received"], r["waiting"]) for r in author.ok("outbox")] == [(3, 2)], 10)
    for live in lives:
        live.end()


@scenario()
def post_and_wait(w):
    ana, bob = w.users("ana", "bob")
    bob.ok("follow", "ana")
    wait_until("follower", lambda: ana.names("followers") == ["bob"], 5)
    row = ana.post("to be received", "--wait=10")
    equal((row["followers"], row["received"], row["waiting"]), (1, 1, 0))
    bob.kill()
    result = ana.run("post", "nobody hears this", "--wait=1")
    equal(result.status, 75, str(result))
    equal((result.row["waiting"], result.row["error"]), (1, "pending"), str(result))
    equal([r["waiting"] for r in ana.ok("outbox")], [1])


@scenario()
def unfollow_is_respected(w):
    ana, bob = w.users("ana", "bob")
    bob.ok("follow", "ana")
    ana.post("one")
    bob.wait_texts(["one"], within=5)
    row = bob.ok("unfollow", "ana")[0]
    equal(row["following"], False)
    wait_until("no followers", lambda: ana.names("followers") == [], 5)
    ana.post("two", "--wait=2")
    time.sleep(1)
    check("two" not in bob.texts(), "unfollowed, and still got", bob.texts())
    equal(bob.names("following"), [])
    bob.ok("follow", "ana")
    wait_until(lambda: "both posts again: %s" % bob.texts(), lambda: bob.texts() == ["one", "two"], 5)


@scenario()
def old_posts_come_with_a_follow(w):
    ana, bob = w.users("ana", "bob")
    texts = ["old %d" % i for i in range(30)]
    for t in texts:
        ana.post(t)
    bob.ok("follow", "ana")
    bob.wait_texts(texts, within=5)
    profile = bob.ok("profile", "ana")[0]
    equal((profile["complete_to"], profile["gaps"], profile["posts"]), (30, 0, 30))
    check(profile["as_of"], "as of some time:", profile)


@scenario()
def pages_and_unread(w):
    ana, bob = w.users("ana", "bob")
    bob.ok("follow", "ana")
    texts = ["p%02d" % i for i in range(25)]
    for t in texts:
        ana.post(t)
    wait_until("all there", lambda: bob.status["unread"] == 25, 10)
    equal(len(bob.ok("timeline", "-n", "3", "--unread")), 3)
    got, before = [], []
    while True:
        rows = [r for r in bob.ok("timeline", "-n", "10", *before) if not r.get("gap")]
        if not rows:
            break
        got += [r["text"] for r in rows]
        before = ["--before", rows[-1]["id"]]
    equal(got, texts[::-1], "pages meet without a gap or an overlap")
    wait_until(lambda: "all read: %s" % bob.status, lambda: bob.status["unread"] == 0, 3)
    equal(bob.ok("timeline", "--unread"), [])


@scenario()
def text_of_every_kind(w):
    ana, bob = w.users("ana", "bob")
    bob.ok("follow", "ana")
    texts = ["-starts with a dash", "two\nlines\tand a tab", "šč 日本語 \U0001f338 e\u0301", "x" * 4000,
             "'; DROP TABLE posts; --", "%s%n%x", "\u202eevil\u202c"]
    for t in texts:
        ana.post(t)
    equal(ana.ok("post", "-", input="from stdin\n".encode())[0]["seq"], len(texts) + 1)
    bob.wait_texts(texts + ["from stdin"], within=5)
    plain = bob.ok("timeline", json=False)
    check("from stdin" in plain and "日本語" in plain, plain)


@scenario(timeout=90)
def suggestions(w):
    """ana follows bob and carol, who both follow dan: dan is suggested, and why is said."""
    ana, bob, carol, dan, eve = homes = w.users("ana", "bob", "carol", "dan", "eve")
    for who, whom in ((bob, "dan"), (carol, "dan"), (bob, "eve"), (ana, "bob"), (ana, "carol")):
        who.ok("follow", whom)

    def first():
        rows = ana.ok("suggest")
        return rows and rows[0]["user"] == "dan" and rows
    rows, took = wait_until(lambda: "dan first: %s" % ana.ok("suggest"), first, 15)
    check("bob" in rows[0]["reason"] or "carol" in rows[0]["reason"], rows)
    check(not {"ana", "bob", "carol"} & {r["user"] for r in rows}, "nobody one knows already:", rows)
    equal(len(ana.ok("suggest", "-n", "1")), 1)
    note("after %.1f s: %s" % (took, rows[0]["reason"]))
    equal(len(homes), 5)


@scenario()
def names_tags_and_ids(w):
    ana, bob = w.users("ana", "bob")
    who = ana.ok("whoami")[0]
    equal(len(who["id"]), 52)
    equal(who["tag"], who["id"][:8])
    for form in ("ana", "ana#" + who["tag"], who["id"]):
        equal(bob.ok("profile", form)[0]["id"], who["id"], form)
    bob.fails(67, "follow", "nobodyhere", word="unknown-user")
    bob.fails(67, "follow", "ana#aaaaaaaa")


@scenario(timeout=120)
def everybody_posts_at_once(w):
    """Five follow one another and all post at the same time: everybody sees all of it, in the same order."""
    homes = w.users("a", "b", "c", "d", "e")
    for h in homes:
        for other in homes:
            if other is not h:
                h.ok("follow", other.name)
    start = time.monotonic()
    together([lambda h=h: [h.post("%s says %d" % (h.name, i)) for i in range(20)] for h in homes])
    posted = time.monotonic() - start

    def all_there():
        return all(len(h.timeline()) == 100 for h in homes)
    wait_until(lambda: "a hundred posts at each: %s" % [len(h.timeline()) for h in homes], all_there, 20)
    note("100 posts in %.1f s, at all five after %.1f s" % (posted, time.monotonic() - start))
    orders = [[(r["id"], r["author"], r["text"]) for r in h.timeline()] for h in homes]
    for order in orders[1:]:
        equal(order, orders[0], "the same order everywhere")
    for h in homes:
        for other in homes:
            equal(h.texts(other.name), ["%s says %d" % (other.name, i) for i in range(20)], h.name)
            profile = h.ok("profile", other.name)[0]
            equal((profile["complete_to"], profile["gaps"]), (20, 0), profile)
