"""Accounts: names, passphrases, and what works without a network."""
import os
import time

from harness import PASSPHRASE, check, equal, note, scenario, together, wait_until


@scenario()
def name_is_taken(w):
    ana, bob = w.users("ana", "bob")
    other = w.home("other")
    message = other.fails(73, "register", "ana", "--listen", "127.0.0.1:0", "--join", ana.address, "--passphrase-file",
                          other.passphrase_file, word="taken")
    check("ana#" + ana.ok("whoami")[0]["tag"] in message, "it names the holder:", message)
    check(not os.path.exists(other.dir + "/user.key"), "no key was left")
    other.fails(67, "whoami")
    other.no_node()
    other.register(name="ana2", join=ana)


@scenario()
def this_home_has_a_user(w):
    ana = w.home("ana")
    ana.register(status=75)
    before = open(ana.dir + "/user.key", "rb").read()
    message = ana.fails(73, "register", "second", "--passphrase-file", ana.passphrase_file, word="taken")
    check("ana#" in message and "--home" in message, message)
    equal(open(ana.dir + "/user.key", "rb").read(), before, "the key")
    equal(os.stat(ana.dir + "/user.key").st_mode & 0o777, 0o600, "mode")


@scenario()
def wrong_passphrase(w):
    ana = w.home("ana")
    ana.register(status=75)
    ana.ok("logout")
    wrong = os.path.join(w.dir, "wrong")
    for text in ("not it\n", "\n", "", PASSPHRASE + " \n", "\xff\xfe\n"):
        with open(wrong, "w", encoding="latin-1") as f:
            f.write(text)
        ana.fails(77, "login", "--passphrase-file", wrong, word="wrong-passphrase", says="wrong passphrase for ana#")
    ana.no_node()
    ana.fails(66, "login", "--passphrase-file", wrong + ".not-there", says="cannot read")
    ana.fails(74, "login", "--passphrase-file", w.dir, says="cannot read")
    ana.fails(64, "login", says="--passphrase-file")          # --json never asks
    ana.fails(64, "login", json=False, says="--passphrase-file")
    ana.fails(67, "login", "bob", "--passphrase-file", ana.passphrase_file, says="ana#")
    ana.login("ana")
    ana.fails(77, "login", "--passphrase-file", wrong)        # also while it is logged in
    ana.post("still logged in")


@scenario()
def passphrase_from_a_descriptor(w):
    ana = w.home("ana")
    r, wr = os.pipe()
    os.write(wr, (PASSPHRASE + "\nnot this line\n").encode())
    os.close(wr)
    result = ana.run("register", "ana", "--listen", "127.0.0.1:0", "--passphrase-fd", str(r), pass_fds=[r])
    os.close(r)
    equal(result.status, 75, str(result))
    ana.ok("logout")
    ana.login()
    ana.fails(66, "login", "--passphrase-fd", "99")
    empty = os.path.join(w.dir, "empty")
    open(empty, "w").close()
    bob = w.home("bob")
    bob.fails(65, "register", "bob", "--passphrase-file", empty, says="empty")
    with open(empty, "w") as f:
        f.write("x" * 1025)
    bob.fails(65, "register", "bob", "--passphrase-file", empty, says="1024")
    bob.no_node()


@scenario()
def passphrase_is_nowhere_to_be_seen(w):
    """Neither the processes nor the home show the passphrase or the secret key."""
    ana = w.home("ana")
    ana.register(status=75)
    for pid in w.pids():
        for name in ("cmdline", "environ"):
            with open("/proc/%d/%s" % (pid, name), "rb") as f:
                check(PASSPHRASE.encode() not in f.read(), "passphrase in", name)
    ana.post("x")
    for folder, _, files in os.walk(ana.dir):
        for name in files:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                with open(path, "rb") as f:
                    check(PASSPHRASE.encode() not in f.read(), "passphrase in", path)


@scenario()
def without_a_network(w):
    ana = w.home("ana")
    row = ana.register(status=75)
    equal((row["user"], row["error"]), ("ana", "pending"), "key made, name claimed later")
    posted = ana.post("to whom it may concern")
    equal((posted["seq"], posted["followers"], posted["waiting"]), (1, 0, 0))
    equal(ana.texts(), ["to whom it may concern"])
    message = ana.run("follow", "bob")
    check(message.status in (67, 69), str(message))
    ana.fails(69, "dht", "find", "0" * 40)
    equal(ana.ok("peers"), [])
    equal(ana.status["peers"], 0)
    equal(ana.ok("suggest"), [])
    equal(ana.ok("profile")[0]["posts"], 1)
    ana.ok("logout")
    whoami = ana.ok("whoami")[0]
    equal((whoami["user"], whoami["node"], whoami["address"]), ("ana", "stopped", None))
    for command in (["timeline"], ["post", "x"], ["status"], ["peers"], ["outbox"], ["logout"], ["follow", "bob"],
                    ["unfollow", "bob"], ["followers"], ["following"], ["profile"], ["suggest"], ["dht", "put", "x"]):
        ana.fails(69, *command, word="no-node", says="camellia login")
    ana.login()
    equal(ana.texts(), ["to whom it may concern"])


@scenario()
def name_is_claimed_later(w):
    """Registered alone; the network comes later, and the name is claimed then."""
    ana, bob = w.home("ana"), w.home("bob")
    ana.register(status=75)
    equal(ana.ok("whoami")[0]["name_pending"], True)
    bob.register(join=ana)
    _, took = wait_until("ana's name is claimed", lambda: not ana.ok("whoami")[0]["name_pending"], 15)
    note("claimed %.1f s after the first peer" % took)
    wait_until("bob can follow ana", lambda: bob.run("follow", "ana").status == 0, 10)
    third = w.home("third")
    third.fails(73, "register", "ana", "--listen", "127.0.0.1:0", "--join", bob.address, "--passphrase-file",
                third.passphrase_file)


@scenario()
def node_without_a_user(w):
    """`camellia node` is a plain peer that others join through; logout leaves one that runs in the foreground."""
    hub = w.home("hub")
    process = hub.node()
    hub.fails(67, "whoami")
    ana, bob = w.home("ana"), w.home("bob")
    together([lambda h=h: h.register(join=hub) for h in (ana, bob)])
    bob.ok("follow", "ana")
    ana.post("through the hub")
    bob.wait_texts(["through the hub"], within=5)
    hub.fails(75, "node", says="runs in this home already")
    process.send_signal(2)
    check(process.wait(10) in (0, 130), "Ctrl-C:\n" + hub.log())
    ana.post("and without it")
    bob.wait_texts(["through the hub", "and without it"], within=10)


@scenario()
def logout_beside_a_node_that_stays(w):
    """`camellia node` was started by hand: logout takes the key away and leaves it running."""
    ana = w.home("ana")
    process = ana.node()
    ana.register(status=75)
    message = ana.run("logout", json=False)
    equal(message.status, 0, str(message))
    check(b"goes on" in message.err, str(message))
    check(message.took < 1.2, "it says that it stays, so nobody waits for its end:", message.took)
    check(process.poll() is None and ana.ok("whoami")[0]["locked"])
    ana.fails(77, "post", "x", word="locked")
    ana.login()
    ana.post("x")
    process.terminate()
    equal(process.wait(10), 0)


@scenario()
def many_homes_and_long_paths(w):
    """A socket's path has room for 107 bytes only; homes may lie deeper than that."""
    deep = w.home("d" * 100)
    deep.dir = os.path.join(deep.dir, "e" * 100, "with space", "ünï")
    deep.configure = lambda extra="": None
    os.makedirs(deep.dir)
    with open(deep.dir + "/config.ini", "w") as f:
        f.write("[KEY]\nCOST = interactive\n[SNTP]\nACTIVE = 0\n[BOOTSTRAP]\nRESCUE = 0\n")
    deep.register(name="deep", status=75)
    deep.post("deep down")
    equal(deep.texts(), ["deep down"])
    result = deep.run("whoami", cwd=deep.dir)
    equal(result.status, 0)


@scenario()
def login_twice_and_logout(w):
    ana, = w.users("ana")
    first = ana.pid
    ana.login()
    equal(ana.pid, first, "the node that runs is used")
    start = time.monotonic()
    ana.ok("logout")
    note("logout took %.2f s" % (time.monotonic() - start))
    ana.no_node()
    results = together([lambda: ana.run("login", "--passphrase-file", ana.passphrase_file)] * 3)
    equal([r.status for r in results], [0, 0, 0], "three at one time\n" + "\n".join(map(str, results)))
    equal(len([p for p in w.pids()]), 1, "one node")
