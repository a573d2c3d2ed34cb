"""When everybody is gone: nodes of one network find each other through the public DHT."""
from harness import check, equal, scenario, together, wait_until

PUBLIC = "[DEFAULT]\nNETWORK =\n"


def rescue(address, after=2):
    return "[BOOTSTRAP]\nRESCUE = 1\nRESCUE_AFTER = %d\nRESCUE_JOIN = %s\n" % (after, address)


def register(home):
    """Nobody to claim the name with; or, where that took long, there is by now."""
    result = home.run("register", home.name, "--listen", "127.0.0.1:0", "--passphrase-file", home.passphrase_file)
    check(result.status in (0, 75), result)


@scenario(timeout=150)
def lost_nodes_find_each_other(w):
    citizens = [w.home("c%d" % i, PUBLIC) for i in range(4)]
    processes = [citizens[0].node()]
    processes += together([lambda c=c: c.node(join=citizens[0]) for c in citizens[1:]])
    for c in citizens:
        wait_until("the public network", lambda: c.status["peers"] >= 3, 20)

    ana, bob = w.home("ana", rescue(citizens[1].address)), w.home("bob", rescue(citizens[3].address))
    private = w.home("eve", rescue(citizens[2].address) + "[DEFAULT]\nNETWORK = another\n")
    off = w.home("off", "[BOOTSTRAP]\nRESCUE = 0\n")
    together([lambda h=h: register(h) for h in (ana, bob, private, off)])
    check(off.status["rescue"] is None, "switched off")
    wait_until(lambda: private.status["rescue"],
               lambda: private.status["rescue"]["open"] and private.status["rescue"]["contacts"] > 0 and
               private.status["rescue"]["rounds"] > 0, 30)
    check(b"looking on the public DHT" in private.run("status", json=False).out, "status says so to people")

    for h in (ana, bob):
        wait_until(lambda: (h.name, h.status["rescue"]), lambda: h.status["peers"] == 1, 60)
    for h in (ana, bob):
        wait_until(lambda: h.status["rescue"], lambda: not h.status["rescue"]["open"], 10)
        equal(h.status["rescue"]["opens_in_s"], None)
    wait_until(lambda: bob.run("follow", "ana"), lambda: bob.run("follow", "ana").status == 0, 20, 0.5)
    ana.post("found again", "--wait=20")
    equal(bob.texts(), ["found again"])

    # One more, later: what was announced is still there.
    carol = w.home("carol", rescue(citizens[2].address))
    register(carol)
    wait_until(lambda: carol.status["rescue"], lambda: carol.status["peers"] == 2, 60)

    # Of the network of another name, and of who does not want to be found, nobody has heard.
    for h in (private, off):
        equal(h.status["peers"], 0)

    # A restart: whom it met on the public network it remembers, so it needs no address to enter by.
    for h in (ana, bob, carol):
        h.ok("logout")
    ana.configure(rescue("127.0.0.1:1"))
    ana.login()
    wait_until(lambda: ana.status["rescue"], lambda: ana.status["rescue"]["open"] and ana.status["rescue"]["rounds"], 40)
    check(ana.status["rescue"]["contacts"] >= 3, ana.status["rescue"])
    for h in (ana, private, off):
        h.ok("logout")
    for p in processes:
        p.terminate()
        equal(p.wait(20), 0)
