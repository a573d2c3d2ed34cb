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
