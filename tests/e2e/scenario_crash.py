"""SIGKILL at the worst moments: nothing that was accepted is lost, doubled or out of order."""
import os
import signal
import time

from harness import check, equal, free_port, note, scenario, together, wait_until


def rising(home):
    ids = [int(r["id"]) for r in reversed(home.timeline())]
    check(all(a < b for a, b in zip(ids, ids[1:])), "ids strictly rising:", ids)


@scenario(timeout=180)
def kill_author_after_post_ten_times(w):
    homes = w.users("ana", "bob", "carol")
    ana, readers = homes[0], homes[1:]
    for f in readers:
        f.ok("follow", "ana")
    wait_until("followers", lambda: len(ana.names("followers")) == 2, 10)
    time.sleep(1.2)
    want = []
    for i in range(10):
        want.append("post %d" % i)
        ana.post(want[-1])
        ana.kill()
        ana.login()
    for f in readers:
        f.wait_texts(want, within=20)
        rising(f)
    equal(ana.texts(), want)
    rising(ana)
    equal([r["seq"] for r in reversed(ana.timeline())], list(range(1, 11)))


@scenario(timeout=120)
def kill_everybody(w):
    """No bootstrap address is given: each remembers its peers."""
    homes = w.users("ana", "bob", "carol", "dan")
    ana = homes[0]
    for f in homes[1:]:
        f.ok("follow", "ana")
    wait_until("followers", lambda: len(ana.names("followers")) == 3, 10)
    ana.post("before")
    for f in homes[1:]:
        f.wait_texts(["before"], within=5)
    ids = [h.id for h in homes]
    time.sleep(1.5)
    for h in homes:
        h.kill()
    for h in homes:
        h.fails(69, "timeline", says="camellia login")
    start = time.monotonic()
    together([lambda h=h: h.login() for h in homes])
    equal([h.id for h in homes], ids, "accounts")
    w.settle(within=15)
    for f in homes[1:]:
        equal(f.names("following"), ["ana"], "follows")
        equal(f.texts(), ["before"], "posts")
    ana.post("after")
    for f in homes[1:]:
        f.wait_texts(["before", "after"], within=10)
    note("a new post is everywhere %.1f s after the first login" % (time.monotonic() - start))
    equal(ana.names("followers"), ["bob", "carol", "dan"])
    equal(homes[3].ok("profile", "bob")[0]["id"], homes[1].id, "names")


@scenario(timeout=120)
def back_on_another_port(w):
    homes = w.users("ana", "bob", "carol")
    ana, bob, carol = homes
    for f in (bob, carol):
        f.ok("follow", "ana")
    wait_until("followers", lambda: len(ana.names("followers")) == 2, 10)
    ana.post("one")
    bob.wait_texts(["one"], within=5)
    time.sleep(1.5)
    old = bob.address
    bob.kill()
    ana.post("two")
    bob.login("--listen", "127.0.0.1:%d" % free_port())
    check(bob.address != old, "the address changed")
    bob.wait_texts(["one", "two"], within=10)
    start = time.monotonic()
    ana.post("three")
    bob.wait_texts(["one", "two", "three"], within=15)
    note("follower moved: a new post after %.2f s" % (time.monotonic() - start))
    old = ana.address
    ana.kill()
    ana.login("--listen", "127.0.0.1:%d" % free_port())
    check(ana.address != old, "the author's address changed")
    start = time.monotonic()
    ana.post("four")
    for f in (bob, carol):
        f.wait_texts(["one", "two", "three", "four"], within=15)
    note("author moved: a new post after %.2f s" % (time.monotonic() - start))


@scenario(timeout=90)
def kill_follower_while_posts_come(w):
    ana, bob = w.users("ana", "bob")
    bob.ok("follow", "ana")
    wait_until("follower", lambda: ana.names("followers") == ["bob"], 5)
    want = []
    for i in range(30):
        want.append("post %d" % i)
        ana.post(want[-1])
        if i in (9, 19):
            bob.kill()
        if i in (14, 24):
            bob.login()
    bob.wait_texts(want, within=15)
    rising(bob)


@scenario(timeout=60)
def login_while_the_node_dies(w):
    """A killed node holds its lock until its last thread is gone: `login` waits for that and starts another."""
    ana, = w.users("ana")
    ana.post("kept")
    dying = ana.stop()
    login = together([lambda: ana.login(), lambda: (time.sleep(2), os.kill(dying, signal.SIGKILL))])[0]
    check(ana.pid != dying, "another node runs:", login)
    equal(ana.texts(), ["kept"])


@scenario(timeout=60)
def restarted_node_is_locked(w):
    """Without the passphrase a restarted node serves and receives, but does not sign."""
    ana, bob = w.users("ana", "bob")
    bob.ok("follow", "ana")
    ana.post("one")
    bob.wait_texts(["one"], within=5)
    time.sleep(1.2)
    bob.kill()
    process = bob.node()
    ana.post("two")
    bob.wait_texts(["one", "two"], within=10)
    equal(bob.ok("whoami")[0]["locked"], True)
    bob.fails(77, "post", "x", says="login|log in")
    bob.fails(77, "unfollow", "ana", says="login|log in")
    bob.login()
    bob.post("signed again")
    process.terminate()
    process.wait(10)


@scenario(timeout=60)
def terminated_nodes_leave_cleanly(w):
    """SIGTERM ends a node within seconds, with everything kept."""
    ana, = w.users("ana")
    ana.post("kept")
    pid = ana.pid
    start = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    wait_until("the node ended", lambda: not w.owns(pid), 5)
    note("ended %.2f s after SIGTERM" % (time.monotonic() - start))
    ana.login()
    equal(ana.texts(), ["kept"])
