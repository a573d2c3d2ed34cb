"""A disk that fails: what was accepted stays, what could not be written is refused, the node starts afresh."""
import os

from harness import check, equal, scenario, wait_until


def failing_fsync(w):
    """From now on a node that is started fails to sync while the returned file is there."""
    library, mark = os.path.join(w.bin, "tests", "e2e", "failing_fsync.so"), os.path.join(w.dir, "the disk fails")
    check(os.access(library, os.R_OK), "no", library, "(make hostile-build first)")
    # A sanitizer wants to be the first library of a program; here it may come second.
    options = ":".join(filter(None, [w.env.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]))
    w.env.update(LD_PRELOAD=library, FAILING_FSYNC=mark, ASAN_OPTIONS=options)
    return mark


def is_up(home):
    """A node that starts again is away for a second."""
    wait_until("%s's node is up again" % home.name, lambda: home.run("status").status == 0, 15)


@scenario(timeout=90)
def fsync_fails(w):
    """After a failed fsync SQLite carries on as if nothing had happened, so the process replaces itself."""
    mark = failing_fsync(w)
    ana, bob = w.users("ana", "bob")
    bob.ok("follow", "ana")
    ana.post("before")
    bob.wait_texts(["before"], within=10)
    pid, address = ana.pid, ana.address
    open(mark, "w").close()
    ana.fails(74, "post", "while it fails")
    os.unlink(mark)
    is_up(ana)
    equal(ana.log().count("ready at"), 2, "it has started again:")
    equal((ana.pid, ana.address), (pid, address), "the same process at the same place")
    equal(ana.texts(), ["before"], "nothing refused is kept, nothing accepted is lost")
    ana.login()
    ana.post("after")
    bob.wait_texts(["before", "after"], within=15)
    equal([r["seq"] for r in reversed(ana.timeline())], [1, 2])


@scenario(timeout=90)
def fsync_fails_at_a_follower(w):
    """What a follower could not make durable it does not acknowledge, so its author sends it again."""
    [ana] = w.users("ana")
    mark = failing_fsync(w)
    [bob] = w.users("bob")
    bob.ok("follow", "ana")
    ana.post("before")
    bob.wait_texts(["before"], within=10)
    pid = bob.pid
    wait_until("acknowledged", lambda: ana.ok("outbox") == [], 10)
    open(mark, "w").close()
    ana.post("while bob's disk fails")
    wait_until("bob's commit has failed", lambda: "the store failed" in bob.log(), 10)
    equal([(r["received"], r["waiting"]) for r in ana.ok("outbox")], [(0, 1)], "not acknowledged")
    os.unlink(mark)
    is_up(bob)
    bob.wait_texts(["before", "while bob's disk fails"], within=20)
    equal(bob.pid, pid, "the same process")
    wait_until("acknowledged", lambda: ana.ok("outbox") == [], 15)


@scenario(timeout=120)
def fsync_fails_for_good(w):
    """A node whose disk stays broken ends, and says why; what it had accepted is there on a disk that works."""
    mark = failing_fsync(w)
    ana = w.home("ana")
    ana.register(status=75)
    ana.post("before")
    ana.ok("logout")
    ana.no_node()
    process = ana.node()
    open(mark, "w").close()
    for failed in range(1, 7):                   # it starts again five times in a row
        ana.fails(74, "login", "--passphrase-file", ana.passphrase_file, word="io")
        wait_until(ana.log, lambda: ana.log().count("the store failed") == failed, 10)
        if failed < 6:
            is_up(ana)
    equal(process.wait(20), 74, ana.log())
    ana.no_node()
    os.unlink(mark)
    ana.login()
    equal(ana.texts(), ["before"], "nothing refused is kept, nothing accepted is lost")
    ana.post("after")
    equal(ana.texts(), ["before", "after"])
