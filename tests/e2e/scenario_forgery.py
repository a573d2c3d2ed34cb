"""Nobody else can write what is yours: a peer with bad intent (tests/hostile) against running nodes, over real UDP
and real links. Whatever it sends, what the victim shows is unchanged, what was refused is counted, and the next
genuine post arrives."""
import re
import shutil
import threading
import time

import evil
from evil import Evil, answers, id_of
from harness import check, equal, memory_kb, note, scenario, together, wait_until

#: What tests/hostile/dht.c tries, and what every holder must say to it (docs/protocol.md, "Refusals").
#: 0 is what the attacker may do: write what is its own. -1: not even answered, it is no KRPC.
ON_ITEMS = {"signed-by-another": 206, "seq-raised": 206, "value-changed": 206, "signature-changed": 206,
            "same-version-bad-signature": 206, "seq-lowered": 302, "wrong-cas": 301, "moved-to-another-salt": 206}
ON_THE_DHT = {
    "own:first": 0, "own:old-seq": 302, "own:wrong-cas": 301, "own:right-cas": 0, "own:salt-65": 207, "own:salt-64": 0,
    "own:value-1001": 205, "own:value-1000": 0, "own:exp-401-days": 203, "own:exp-past": 203,
    "own:connection-3-hours": 203, "own:seq-negative": 203, "own:not-canonical": -1, "own:two-values": -1,
    "immutable:exp-401-days": 203,
    "token:none": 203, "token:empty": 203, "token:of-another-port": 203, "token:any-bit-changed": 203, "token:cut": 203,
    "token:good": 0, "token:none-sput": 203, "token:bad-announce": 203,
    "set:the-victim-follows-me": 206, "set:another-follows-the-victim": 206, "set:forged-tombstone": 206,
    "set:of-another-root": 206, "set:own": 0, "set:own-old-seq": 302, "set:exp-401-days": 203, "set:exp-past": 203,
    "set:value-301": 205, "set:no-exp": 203, "set:not-a-dict": 203}
ON_THE_DHT.update({"%s:%s" % (salt, what): code for salt in ("public", "connections/0") for what, code in ON_ITEMS.items()})

#: What tests/hostile/door.c tries, and what may come of it.
AT_THE_DOOR = {
    "null-mechanism": "closed", "plain-mechanism": "closed", "no-mechanism": "closed", "wrong-server-key": "closed",
    "vouch-bent": "closed", "cookie-bent": "closed", "somebody-elses-key": "closed", "own-key": "ready",
    "message-before-ready": "closed", "claimed-user-id": "ready", "claimed-user-id-after": "open",
    "frame-replayed": "closed", "frame-bent": "closed", "frame-in-the-clear": "closed", "largest-message": "open",
    "one-byte-more": "closed", "says-it-is-endless": "closed", "junk": "never"}


def friends(w):
    """bob follows ana, and has a post of hers."""
    ana, bob = w.users("ana", "bob")
    bob.ok("follow", "ana")
    ana.post("hello")
    bob.wait_texts(["hello"], 5)
    return ana, bob


def seq_of(record):
    return int(record[0].split()[0])


def still_works(ana, bob, text):
    ana.post(text)
    wait_until(lambda: "%r at bob: %s\n%s" % (text, bob.texts(), bob.log()[-2000:]), lambda: text in bob.texts("ana"), 10)


def is_sanitized(w):
    with open(w.bin + "/camelliad", "rb") as f:
        return b"__asan_init" in f.read()


class Watched:
    """A session of the attacker, with what the victim refuses of each command."""

    def __init__(self, w, victim, name="mallory"):
        self.victim = victim
        self.evil = Evil(w, "links", victim.address, victim.id, name)

    def do(self, *words, refused=None, at_least=None, timeout=60):
        before = self.victim.status["refused"]
        came = self.evil.do(*words, timeout=timeout)
        check(came["ok"], "after", words, "the victim does not answer any more:", came, self.victim.log()[-2000:])
        if refused is not None:  # without HELLO there is no fence: it may take a moment
            wait_until(lambda: "%s: refused %d, not %s, of %s" % (words, self.victim.status["refused"] - before, refused, came),
                       lambda: self.victim.status["refused"] - before >= refused, 3)
            equal(self.victim.status["refused"] - before, refused, "refused of %s: %s" % (words, came))
        if at_least is not None:
            check(self.victim.status["refused"] - before >= at_least, words, "refused", self.victim.status["refused"] - before,
                  "not at least", at_least)
        return came

    def befriend(self):
        """From a stranger to a follower, who may send much more."""
        self.do("hello", refused=0)
        self.do("follow", refused=0)
        check("mallory" in self.victim.names("followers"), self.victim.ok("followers"))


def genuine(first, last=None, size=40):
    """The texts of an author that hostile plays (forge.c)."""
    return [("genuine %d" % i).ljust(size, ".") for i in range(first, (last or first) + 1)]


@scenario(timeout=90)
def records_of_others(w):
    """Items and set entries that are not ours, at the node that holds them and at the node they belong to."""
    ana, bob = friends(w)
    refused = {h: h.status["dht"]["refused"] for h in (ana, bob)}
    before = {s: evil.run(w, "get", bob.address, ana.id, s) for s in ("public", "connections/0", "head/0", "following/0")}
    entry = evil.run(w, "entry", ana.address, ana.id, bob.id)
    check(before["public"] != ["none"] and entry != ["none"], before, entry)
    for h in (bob, ana):
        got = {k: int(v) for k, v in answers(w, "dht", h.address, ana.id).items()}
        equal({k: v for k, v in got.items() if v != ON_THE_DHT.get(k)}, {}, "answers that should be others, at " + h.name)
        equal(sorted(got), sorted(ON_THE_DHT))
        # Each refusal is counted (64 tokens were bent; two puts were no KRPC, one announce is of another kind).
        want = sum(1 for c in got.values() if c > 0) + 63
        check(h.status["dht"]["refused"] - refused[h] >= want, h.name, "counted", h.status["dht"]["refused"] - refused[h], "of", want)
    for salt, was in before.items():  # ana may have put a newer one meanwhile; whatever is there bears her signature
        now = evil.run(w, "get", bob.address, ana.id, salt)
        check(now == was or "none" not in (now[0], was[0]) and seq_of(now) > seq_of(was), "ana's", salt, was, now)
    equal(evil.run(w, "entry", ana.address, ana.id, bob.id), entry, "bob's entry")
    equal(ana.names("followers"), ["bob"])
    equal(bob.ok("profile", "ana")[0]["user"], "ana")

    # What was once true, put again after it changed: the record that bob holds goes forward only.
    old = before["public"][0].split()
    ana.ok("follow", "bob")
    wait_until("ana's profile anew", lambda: seq_of(evil.run(w, "get", bob.address, ana.id, "public")) > int(old[0]), 10)
    equal(evil.run(w, "put", bob.address, ana.id, "public", *old), ["302"], "an old version")
    check(seq_of(evil.run(w, "get", bob.address, ana.id, "public")) > int(old[0]), "it went back")
    equal(evil.run(w, "sput", ana.address, ana.id, bob.id, *entry[0].split()), ["0"], "the same entry again")
    bob.ok("unfollow", "ana")
    wait_until("bob's tombstone", lambda: evil.run(w, "entry", ana.address, ana.id, bob.id)[0] != entry[0], 10)
    equal(evil.run(w, "sput", ana.address, ana.id, bob.id, *entry[0].split()), ["302"], "an entry from before the tombstone")
    equal(ana.names("followers"), [])
    bob.ok("follow", "ana")
    still_works(ana, bob, "after all that")


@scenario(timeout=90)
def posts_with_one_bit_changed(w):
    """Posts of an author whom bob follows, handed over by somebody else: as they are, and in every way bent."""
    ana, bob = friends(w)
    carol = id_of(w, "carol")
    bob.ok("follow", carol)
    m = Watched(w, bob)
    m.do("chain", "carol", 24, 40)
    seen = lambda: [t for t in bob.texts() if t != "hello"]  # ana's, wherever the chain's dates put it
    carols = lambda: sorted(seen())

    m.do("post", 1, refused=1)                   # before HELLO nobody is heard
    m.befriend()
    m.do("lives", 28, refused=0)                 # so that each forgery is looked at, and none refused for want of budget
    m.do("post", 1, refused=0)                   # genuine, by another's hand
    equal(carols(), genuine(1))
    bits = 8 * 188 + 8 * 48                      # of the header and of the body
    m.do("flip", 2, refused=bits)
    equal(carols(), genuine(1), "after a post with each bit changed in turn")
    for how in (("forged",), ("mine",), ("redated", -3600), ("redated", 2), ("future", 600), ("malleable",), ("body", 1)):
        m.do("post", 2, *how, refused=1)
    equal(carols(), genuine(1), "after posts that are not carol's")
    m.do("post", 2, refused=0)                   # and none of that is in the way of the real one
    m.do("post", 2, refused=0)
    m.do("post", 1, refused=0)
    equal(carols(), genuine(1, 2), "each once")
    m.do("flip", 2, refused=8 * 188)             # of one that is held; another body is not even looked at
    equal(carols(), genuine(1, 2), "after changed copies of what is held")

    for how in (("missing", 5), ("missing", 4), ("reversed",), ("swapped",), ("top-bent",), ("as-victim",), ("proof", 5)):
        m.do("batch", 3, 8, *how, refused=1)
        equal(carols(), genuine(1, 2), "after a run: %s" % (how,))
    for post in (8, 6, 3):
        m.do("flip-batch", 3, 8, post, refused=8 * 188)
    equal(carols(), genuine(1, 2), "after runs with each bit changed in turn")
    m.do("batch", 3, 8, "floor", 1000, refused=0)  # the run is genuine; what it says of a floor is not the author's word
    equal(seen()[:8], genuine(1, 8))
    check(not [r for r in bob.ok("timeline", "-n", "100") if r.get("gap")], bob.ok("timeline", "-n", "100"))
    m.do("batch", 9, 14, "expired", 10, refused=0)  # a lie about one body: the others are taken, that one is asked for
    m.do("batch", 9, 14, "deleted", 11, refused=0)
    equal(seen()[:14], genuine(1, 14))

    for how in (("forged", 1000), ("unsigned", 1000)):
        m.do("have", *how, refused=1)
    m.do("flip-have", 14, refused=8 * 188 - 3)   # three bits of 14 make a smaller number: no news
    check(not [r for r in bob.ok("timeline", "-n", "100") if r.get("gap")], "nobody can invent a gap")
    equal(bob.ok("profile", carol)[0]["complete_to"], 14)

    sent = m.do("cut", at_least=1)["sent"]
    m.do("junk", 300, 1, refused=300)
    m.do("batch", 15, 24, refused=0)
    equal(carols(), sorted(genuine(1, 24)))
    ids = [int(r["id"]) for r in reversed(bob.timeline()) if r["author_id"] == carol]
    check(ids == sorted(ids) and len(set(ids)) == 24, "in order, each once:", ids)
    check(not bob.ok("profile", carol)[0].get("forks"), "nobody but carol can make a fork of her feed:", bob.ok("profile", carol))
    m.evil.end()
    bob.kill()
    bob.login()
    equal(carols(), sorted(genuine(1, 24)), "after a restart")
    still_works(ana, bob, "and hers still come")
    note("%d forged messages refused" % (bits + 8 * 188 * 5 + sent))


@scenario(timeout=60)
def words_of_others(w):
    """HELLO, FOLLOW, ACK: nobody speaks for somebody else."""
    ana, bob = friends(w)
    dave = w.home("dave")
    dave.register(join=ana)
    dave.ok("follow", "ana")
    wait_until("dave", lambda: ana.names("followers") == ["bob", "dave"], 5)
    dave.kill()

    m = Watched(w, ana)
    m.do("chain", "carol", 3, 40)
    m.do("hello", "other-key", refused=1)
    m.do("hello", "forged", refused=1)
    m.do("hello", "victims", refused=1)
    m.do("want-victim", 1, 0, 1000, refused=1)  # and so it has no name, and nothing that it asks is answered
    m.do("hello", refused=0)
    m.do("post", 1, refused=1)                  # a post of somebody whom ana does not follow
    m.do("batch", 1, 3, refused=1)
    equal(ana.texts(), ["hello"])
    m.do("follow", "forged", "somebody", refused=1)
    m.do("follow", "other-root", refused=1)
    equal(ana.names("followers"), ["bob", "dave"])

    ana.post("dave is away")
    bob.wait_texts(["hello", "dave is away"], 5)
    owed = lambda: [(r["received"], r["waiting"]) for r in ana.ok("outbox")]
    wait_until(lambda: "outbox %s" % owed(), lambda: owed() == [(1, 1)], 5)
    got = m.do("want-victim", 1, 0, 10000, refused=0)  # a stranger may read, and so it knows the hash
    equal((got["pages"], got["posts"]), (1, 2))
    for how in ("last", "bent", "beyond"):
        m.do("ack", how, refused=1)              # a key that was not asked
        equal(owed(), [(1, 1)])
    m.do("follow", refused=0)
    check("mallory" in ana.names("followers"), ana.names("followers"))
    m.do("follow", "old", refused=1)             # its own tombstone from before
    equal(len(ana.names("followers")), 3)
    m.do("ack", "last", refused=0)               # nothing is owed to it of that post
    equal(owed(), [(1, 1)], "dave's copy still waits")
    ana.post("for three")
    m.do("wait", 300)
    wait_until(lambda: "outbox %s" % owed(), lambda: owed() == [(1, 2), (1, 1)], 5)
    m.do("ack", "bent", refused=1)
    m.do("ack", "beyond", refused=1)
    equal(owed(), [(1, 2), (1, 1)])
    m.do("ack", "last", refused=0)               # its own copy, and no more than that
    equal(owed(), [(2, 1), (1, 1)])
    m.evil.end()
    dave.login()
    dave.wait_texts(["hello", "dave is away", "for three"], 10)
    wait_until(lambda: "outbox %s" % owed(), lambda: not owed(), 10)
    still_works(ana, bob, "and on it goes")


@scenario(timeout=90)
def wants_without_end(w):
    """Who asks for everything, again and again, and even reads nothing of it: neither memory nor others pay for it."""
    ana, bob = friends(w)
    carol = id_of(w, "carol")
    bob.ok("follow", carol)
    m = Watched(w, bob)
    m.do("chain", "carol", 600, 3900)
    m.befriend()
    for i in range(0, 600, 50):
        m.do("batch", i + 1, i + 50, refused=0)
    equal(bob.ok("profile", carol)[0]["complete_to"], 600)
    one = m.do("want", 1, 0, 4000000000, refused=0)
    check(one["bytes"] <= (1 << 20) + (128 << 10), "one WANT brought", one)
    pid, before = bob.pid, memory_kb(bob.pid)

    s = Watched(w, bob, "stranger")
    s.do("chain", "carol", 1, 10)
    s.do("hello", refused=0)
    start = time.monotonic()
    came = s.do("flood", 400, at_least=100)
    took = time.monotonic() - start
    check(came["bytes"] <= (1 << 20) + (256 << 10) * took + (256 << 10), "a stranger got", came, "in", took)
    note("a stranger's 400 WANTs brought %d kB in %.1f s" % (came["bytes"] >> 10, took))
    s.evil.end()

    peak = [0]
    done = threading.Event()

    def watch():
        while not done.is_set():
            peak[0] = max(peak[0], memory_kb(pid))
            time.sleep(0.02)
    watcher = threading.Thread(target=watch)
    watcher.start()
    deaf = threading.Thread(target=lambda: m.evil.do("deaf", 3000, 3000))
    deaf.start()
    still_works(ana, bob, "others are served meanwhile")
    deaf.join()
    done.set()
    watcher.join()
    note("memory %d -> at most %d, then %d kB" % (before, peak[0], memory_kb(pid)))
    check(is_sanitized(w) or peak[0] < before + (64 << 10), "memory grew from", before, "to", peak[0])
    still_works(ana, bob, "and afterwards")
    m.evil.end()


@scenario(timeout=90)
def strangers_who_cannot_be_answered(w):
    """600 strangers ask every second and name a place where nobody answers: a node that dials them all has no link
    left for its friends."""
    ana, bob = friends(w)
    crowd = Evil(w, "crowd", ana.address, ana.id, 600)
    check(int(crowd.first.split()[1]) > 500, crowd.first)
    took = []
    for i in range(4):
        time.sleep(1)
        ana.post("among strangers %d" % i)
        took.append(wait_until("post %d" % i, lambda: "among strangers %d" % i in bob.texts(), 3)[1])
    dave = w.home("dave")
    dave.register(join=bob)
    dave.ok("follow", "ana")
    took.append(wait_until("all of it at a new follower", lambda: "among strangers 3" in dave.texts(), 5)[1])
    note("posts reached a follower after", " ".join("%.2f" % s for s in took), "s")
    crowd.end()


@scenario(timeout=90)
def through_the_door(w):
    """Handshakes that are wrong, unfinished, or too many: no word gets in without a key that ZAP has proven."""
    ana, bob = friends(w)
    before = bob.status["refused"]
    got = answers(w, "door", bob.address, bob.id)
    equal({k: v for k, v in got.items() if v != AT_THE_DOOR.get(k)}, {}, "answers that should be others")
    equal(sorted(got), sorted(AT_THE_DOOR))
    # HELLO and WANT under a User-Id of its own making, and the largest message, which is zeros.
    equal(bob.status["refused"] - before, 3)
    half = [Evil(w, "half-open", h.address, 200) for h in (ana, bob)]
    equal([h.first for h in half], ["held 200"] * 2)
    dave = w.home("dave")
    together([lambda: still_works(ana, bob, "200 others stand in the door"), lambda: dave.register(join=bob)])
    dave.ok("follow", "ana")
    wait_until("dave", lambda: "dave" in ana.names("followers"), 5)
    ana.post("dave came in")
    wait_until("the post at dave", lambda: "dave came in" in dave.texts(), 5)
    for h in half:
        h.end()
    start = time.monotonic()
    got = {k: int(v) for k, v in answers(w, "budget", bob.address, bob.id, 10000).items()}
    took = time.monotonic() - start
    note("%(admitted)d handshakes admitted, then %(refused)d refused" % got, "in %.1f s" % took)
    check(got["refused"] == 10 and got["admitted"] <= 1000 + 100 * took + 10, got, took)
    still_works(ana, bob, "after the rush")


@scenario(timeout=90)
def ten_thousand_messages(w):
    """Link messages, mutated: bob serves on and does not grow."""
    ana, bob = friends(w)
    bob.ok("follow", id_of(w, "carol"))
    equal(evil.run(w, "storm", bob.address, bob.id, 2000, 1)[0][:2], "ok")
    still_works(ana, bob, "after the first storm")
    before, refused = memory_kb(bob.pid), bob.status["refused"]
    start = time.monotonic()
    equal(evil.run(w, "storm", bob.address, bob.id, 10000, 2)[0][:2], "ok")
    took = time.monotonic() - start
    still_works(ana, bob, "after the second")
    after = memory_kb(bob.pid)
    note("10,000 messages in %.1f s, %d refused; memory %d -> %d kB" % (took, bob.status["refused"] - refused, before, after))
    check(bob.status["refused"] - refused > 8000, "they are counted:", bob.status)
    check(is_sanitized(w) or after < before + 4096, "memory grew from", before, "to", after)
    equal([t for t in bob.texts() if not t.startswith(("hello", "after", "genuine "))], [], "nothing that nobody wrote")


def believes_nothing_false(h, ana, followers, posts=1):
    """What h reads about ana is true, and all of it."""
    profile, names = h.ok("profile", "ana")[0], h.names("followers", "ana")
    check((profile["user"], profile["id"]) == ("ana", ana.id) and profile["posts"] <= posts, h.name, profile)
    equal(names, followers, "followers of ana, as %s reads them" % h.name)
    check(profile["followers"] <= len(followers), "ghosts at", h.name, profile)


def joins_and_follows(w, name, via):
    """A newcomer among liars: its name is claimed and its follow stored the first time it asks."""
    new = w.home(name)
    row = new.register(join=via)
    check(not row.get("name_pending"), row)
    row = new.ok("follow", "ana")[0]
    check(row["following"] and not row["pending"], row)
    return new


@scenario(timeout=90)
def lying_neighbours(w):
    """Three of six nodes stand closer to ana's records than any honest one, and lie about all of them."""
    homes = ana, bob, dan = w.users("ana", "bob", "dan")
    bob.ok("follow", "ana")
    liars = Evil(w, "liar", bob.address, ana.id, 3)
    wait_until(lambda: "the liars are contacts: %s" % bob.status, lambda: bob.status["peers"] >= 5, 10)
    row = dan.ok("follow", "ana")[0]
    check(row["following"] and not row["pending"], row)
    ana.post("true")
    together([lambda h=h: h.wait_texts(["true"], 10) for h in (bob, dan)])
    for h in homes:
        believes_nothing_false(h, ana, ["bob", "dan"])
    eve = joins_and_follows(w, "eve", bob)
    ana.post("still true")
    together([lambda h=h: wait_until(h.name, lambda: "still true" in h.texts(), 15) for h in (bob, dan, eve)])
    for h in homes + [eve]:
        believes_nothing_false(h, ana, ["bob", "dan", "eve"], posts=2)
    asked = int(liars.end()[-1].split()[1])
    check(asked > 10, "the liars were asked only", asked, "times")
    note("the liars were asked %d times" % asked)


@scenario(timeout=150)
def five_liars_among_eleven(w):
    """Each names eight nodes that do not exist, closer than anybody, whatever it is asked. Whoever follows or registers
    beside them does so the first time."""
    homes = w.users("ana", "bob", "dan", "cat", "fay", "gus")
    ana, bob, others = homes[0], homes[1], homes[2:]
    bob.ok("follow", "ana")
    liars = Evil(w, "liar", bob.address, ana.id, 5)
    wait_until(lambda: "the liars are contacts: %s" % bob.status, lambda: bob.status["peers"] >= 10, 20)
    took = []
    for _ in range(2):
        for h in others:
            result = h.run("follow", "ana")
            took.append(result.took)
            check(result.status == 0 and not result.row["pending"], "the first time:", result)
            if len(took) <= len(others):
                h.ok("unfollow", "ana")
    names = sorted(h.name for h in homes[1:])
    for h in homes:
        believes_nothing_false(h, ana, names)
    joins_and_follows(w, "eve", bob)
    for h in homes:
        believes_nothing_false(h, ana, sorted(names + ["eve"]))
    liars.end()
    took.sort()
    note("%d follows took %.2f s, at most %.2f s" % (len(took), took[len(took) // 2], took[-1]))


@scenario(timeout=90)
def a_copied_home(w):
    """One key in two places: both write, so the feed forks. Both posts of a number are shown; it stops nothing."""
    ana, bob = friends(w)
    ana.ok("logout")
    thief = w.home("thief")
    shutil.rmtree(thief.dir)
    shutil.copytree(ana.dir, thief.dir, ignore=lambda _, names: [n for n in names if n in ("run", "lock")])
    thief.passphrase_file = ana.passphrase_file
    ana.login()
    ana.post("mine")
    wait_until("mine", lambda: "mine" in bob.texts(), 10)
    thief.login()
    thief.post("the thief's")
    thief.post("more of the thief's")
    wait_until(lambda: "both branches at bob: %s" % bob.texts(), lambda: "more of the thief's" in bob.texts(), 20)
    wait_until(lambda: "no fork is seen: %s" % bob.ok("profile", "ana"), lambda: bob.ok("profile", "ana")[0].get("forks"), 10)
    for i in range(3):
        ana.post("after %d" % i)
    wait_until(lambda: "the feed goes on: %s" % bob.texts(), lambda: "after 2" in bob.texts(), 40)
    texts = bob.texts()
    check(texts[:2] == ["hello", "mine"] and len(set(texts)) == len(texts), texts)
    note("bob shows", texts)
    both = {"mine", "the thief's"}               # number 2, twice
    forks = lambda: {r["text"] for r in bob.timeline() if r.get("fork") and r["seq"] == 2}
    equal(forks(), both)
    check(not [r for r in bob.timeline() if r["text"] == "hello" and r.get("fork")], "from before the fork")
    check(re.search(r"  fork\n +the thief's\n", bob.ok("timeline", json=False)), bob.ok("timeline", json=False))
    bob.kill()
    bob.login()
    equal((forks(), bob.texts()), (both, texts), "after a restart")
