"""A disk that fails: what was accepted stays, what could not be written is refused, the node starts afresh."""
import os
import subprocess

from harness import equal, scenario, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))


def failing_fsync(w):
    """From now on a node that is started fails to sync while the returned file is there."""
    library, mark = os.path.join(w.dir, "failing_fsync.so"), os.path.join(w.dir, "the disk fails")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, os.path.join(HERE, "failing_fsync.c")], check=True)
    # A sanitizer wants to be the first library of a program; here it may come second.
    options = ":".join(filter(None, [w.env.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]))
    w.env.update(LD_PRELOAD=library, FAILING_FSYNC=mark, ASAN_OPTIONS=options)
    return mark


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
    wait_until("it has started again", lambda: ana.log().count("ready at") == 2, 10)
    equal((ana.pid, ana.address), (pid, address), "the same process at the same place")
    equal(ana.texts(), ["before"], "nothing refused is kept, nothing accepted is lost")
    ana.login()
    ana.post("after")
    bob.wait_texts(["before", "after"], within=15)
    equal([r["seq"] for r in reversed(ana.timeline())], [1, 2])
