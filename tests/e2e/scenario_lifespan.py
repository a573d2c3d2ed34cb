"""The garbage collector: other people's posts go after their lifespan and do not come back; one's own stay."""
import time

from harness import check, equal, note, scenario, wait_until


@scenario(timeout=120)
def lifespan_of_five_seconds(w):
    short = "[MESSAGE_LIFESPAN]\nACTIVE = 1\nSECONDS = 5\n"
    ana = w.home("ana")
    ana.register(status=75)
    bob = w.home("bob", short)
    bob.register(join=ana)
    late = w.home("late", short)
    late.register(join=ana)
    w.settle()
    bob.ok("follow", "ana")
    bob.post("bob's own")
    start = time.monotonic()
    ana.post("short lived")
    wait_until(lambda: "arrives: %s" % bob.texts(), lambda: "short lived" in bob.texts(), 4)
    wait_until(lambda: "goes: %s" % bob.texts(), lambda: "short lived" not in bob.texts(), 75)
    note("gone from the timeline %.1f s after the post" % (time.monotonic() - start))
    equal(ana.texts(), ["short lived"], "the author's own stays")
    late.ok("follow", "ana")
    time.sleep(2)
    equal(late.texts(), [], "a late follower does not get it")
    bob.ok("logout")
    bob.login()
    time.sleep(2)
    equal(bob.texts(), ["bob's own"], "it does not come back with a login, and one's own stays")
    ana.post("fresh")
    for f in (bob, late):
        wait_until(lambda: "%s gets new posts: %s" % (f.name, f.texts()), lambda: "fresh" in f.texts(), 4)


@scenario(timeout=90)
def collector_switched_off(w):
    off = "[MESSAGE_LIFESPAN]\nACTIVE = 0\nSECONDS = 1\n"
    ana, bob = w.users("ana", "bob", config=off)
    bob.ok("follow", "ana")
    ana.post("for ever")
    bob.wait_texts(["for ever"], within=5)
    time.sleep(4)
    bob.ok("logout")
    bob.login()
    time.sleep(1)
    equal(bob.texts(), ["for ever"])
    late = w.home("late", off)
    late.register(join=ana)
    late.ok("follow", "ana")
    wait_until(lambda: "late has it: %s" % late.texts(), lambda: late.texts() == ["for ever"], 5)
    check(late.timeline()[0]["author"] == "ana")
