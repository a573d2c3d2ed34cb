"""Bad input on every command, and bad surroundings: the right status, a message that names the next step, and nothing
lost by it."""
import json
import os
import signal
import socket
import subprocess
import tempfile
import time

from harness import check, equal, is_root, note, scenario, wait_until

BAD_NAMES = ["", "Ana", "a/b", "../etc", "a.b", ".", "a b", "-a", "1a", "_a", "a" * 33, "a\x1b[2J", "a\n", "ä", "a\x7f",
             "a#b", "a\u202e"]


@scenario()
def bad_flags(w):
    ana = w.home("ana")
    for args in (["frobnicate"], ["timelime"], ["post", "--nope", "x"], ["whoami", "-n", "2"], ["timeline", "-n"],
                 ["timeline", "-n", "0"], ["timeline", "-n", "x"], ["timeline", "-n", "99999999999"], ["register"],
                 ["register", "a", "b"], ["follow"], ["follow", "a", "b"], ["post", "a", "b"], ["dht"], ["dht", "steal"],
                 ["dht", "get"], ["register", "a", "--listen", "here"], ["register", "a", "--join", "nowhere"],
                 ["register", "a", "--listen"], ["node", "--listen", "127.0.0.1:99999"], ["post", "x", "--wait=never"],
                 ["help", "nothing"], ["timeline", "--before", "1", "--follow"], ["--plain", "whoami"],
                 ["login", "--passphrase-fd", "x"]):
        ana.fails(64, *args)
    ana.fails(64, json=False)  # nothing at all, off a terminal
    check("usage" in ana.ok("help", json=False))
    check("register NAME" in ana.ok("register", "--help", json=False))
    check("camellia" in ana.ok("--version", json=False))
    equal(os.listdir(ana.dir).count("user.key"), 0)


@scenario()
def bad_names(w):
    ana, = w.users("ana")
    new = w.home("new")
    for name in BAD_NAMES:
        new.fails(65, "register", "--passphrase-file", new.passphrase_file, "--", name, word="invalid")
        for command in ("follow", "unfollow", "profile", "followers", "following"):
            ana.fails(65, command, "--", name)
    result = new.run("register", "--passphrase-file", new.passphrase_file, b"a\xff\xfe".decode("utf-8", "surrogateescape"))
    equal(result.status, 65, str(result))
    for who in ("ana#", "ana#short", "ana#k7q4m2x1", "ana#k7q4m2xza", "k" * 51 + "!", "a#b#c"):
        ana.fails(65, "follow", who)
    new.no_node()


@scenario()
def bad_posts(w):
    ana, = w.users("ana")
    ana.fails(65, "post", "-", input=b"x" * 100000, says="4000")
    ana.fails(65, "post", "x" * 100000, says="4000")
    ana.fails(65, "post", "x" * 4001, says="4001")
    ana.fails(65, "post", "-", input=b"ok \xff\xfe not", says="UTF-8")
    ana.fails(65, "post", "-", input=b"\xc0\xaf", says="UTF-8")
    ana.fails(65, "post", "-", input=b"\xed\xa0\x80", says="UTF-8")
    ana.fails(65, "post", "esc \x1b[2J", says="control")
    ana.fails(65, "post", "-", input=b"nul \0 byte", says="control")
    ana.fails(65, "post", "c1 \x9b2J", says="control")
    ana.fails(65, "post", "", says="empty")
    ana.fails(65, "post", "-", input=b"", says="empty")
    ana.fails(64, "post", says="TEXT")
    equal(ana.texts(), [])
    ana.post("x" * 4000)
    equal(ana.timeline()[0]["seq"], 1)


@scenario()
def bad_ids(w):
    ana, = w.users("ana")
    ana.fails(65, "dht", "get", "xyz")
    ana.fails(65, "dht", "get", "0" * 39)
    ana.fails(65, "dht", "get", "a" * 51)
    ana.fails(65, "dht", "get", "0" * 40, "--salt", "s" * 65)
    ana.fails(65, "dht", "peers", "0" * 39)
    ana.fails(65, "dht", "announce", "nonsense")
    ana.fails(64, "dht", "announce", "0" * 40, "--port", "70000")
    ana.fails(65, "dht", "find", "0" * 41)
    ana.fails(65, "dht", "ping", "nonsense")
    ana.fails(65, "dht", "ping", "127.0.0.1:0")
    ana.fails(69, "dht", "ping", "no-such-host.invalid:8000", says="no-such-host.invalid")
    port = ana.address.rsplit(":", 1)[1]
    check(ana.run("dht", "ping", "localhost:" + port).status in (0, 69), "a name is looked up")
    ana.fails(65, "dht", "put", "x" * 2000)
    ana.fails(65, "timeline", "--before", "abc")
    ana.fails(65, "timeline", "--before", "-1")
    ana.fails(65, "timeline", "--before", "9" * 30)


@scenario()
def occupied_port(w):
    ana = w.home("ana")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(("127.0.0.1", 0))
        for port in (tcp.getsockname()[1], udp.getsockname()[1]):
            message = ana.fails(71, "register", "ana", "--listen", "127.0.0.1:%d" % port, "--passphrase-file",
                                ana.passphrase_file)
            check(str(port) in message, "names the port:", message)
            ana.no_node()
            result = subprocess.run([w.camellia, "--home", ana.dir, "node", "--listen", "127.0.0.1:%d" % port],
                                    capture_output=True, timeout=30, env=w.env)
            equal(result.returncode, 71, result.stderr)
            check(str(port).encode() in result.stderr, result.stderr)
    check(not os.path.exists(ana.dir + "/user.key"), "no key was left")
    ana.register(status=75)


@scenario()
def bad_config(w):
    ana = w.home("ana")
    for text, says in (("[KEY]\nCOST = cheap\n", "line 2.*COST"), ("[NOWHERE]\nX = 1\n", "line 2|line 1"),
                       ("[MESSAGE_LIFESPAN]\nSECONDS = many\n", "line 2.*SECONDS"), ("garbage\n", "line 1"),
                       ("[DEFAULT]\nPORT = 99999\n", "line 2.*PORT"), ("[KEY]\nCOST = interactive\nCOST = moderate\n", "line 3")):
        with open(ana.dir + "/config.ini", "w") as f:
            f.write(text)
        ana.fails(78, "register", "ana", "--listen", "127.0.0.1:0", "--passphrase-file", ana.passphrase_file, word="config",
                  says=says)
        result = ana.run("node", "--listen", "127.0.0.1:0", json=False, timeout=30)
        equal(result.status, 78, str(result))
    os.remove(ana.dir + "/config.ini")
    os.mkdir(ana.dir + "/config.ini")
    ana.fails(74, "register", "ana", "--listen", "127.0.0.1:0", "--passphrase-file", ana.passphrase_file)
    os.rmdir(ana.dir + "/config.ini")
    ana.configure()
    ana.register(status=75)


@scenario(timeout=90)
def damaged_key_file(w):
    ana = w.home("ana")
    ana.register(status=75)
    ana.post("kept")
    ana.ok("logout")
    path = ana.dir + "/user.key"
    whole = open(path, "rb").read()

    def with_file(data):
        with open(path, "wb") as f:
            f.write(data)
    damaged = [b"", b"x", whole[:-1], whole[:50], whole + b"x", b"\0" * len(whole)]
    damaged += [whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1:] for i in range(0, len(whole), 23)]
    for data in damaged:
        with_file(data)
        result = ana.run("login", "--passphrase-file", ana.passphrase_file)
        equal(result.status, 65, str(result))
        check("damaged" in result.row["message"] and path in result.row["message"], str(result))
        equal(open(path, "rb").read(), data, "left as it is")
    ana.fails(65, "whoami")
    ana.fails(65, "register", "ana", "--passphrase-file", ana.passphrase_file)
    os.remove(path)
    os.mkdir(path)
    ana.fails(74, "login", "--passphrase-file", ana.passphrase_file)
    os.rmdir(path)
    ana.fails(67, "login", "--passphrase-file", ana.passphrase_file, says="register")
    with_file(whole)
    ana.login()
    equal(ana.texts(), ["kept"])


@scenario(timeout=60)
def damaged_database(w):
    ana = w.home("ana")
    ana.register(status=75)
    ana.post("x")
    ana.ok("logout")
    path = ana.dir + "/store.db"
    whole = open(path, "rb").read()
    for data in (b"this is no database, but a text of some length" * 100, whole[:100] + b"\xff" * (len(whole) - 100)):
        for extra in ("-wal", "-shm"):
            if os.path.exists(path + extra):
                os.remove(path + extra)
        with open(path, "wb") as f:
            f.write(data)
        message = ana.fails(65, "login", "--passphrase-file", ana.passphrase_file)
        check("store.db" in message, "names the file:", message)
        ana.no_node()
        check(open(path, "rb").read()[:100] == data[:100], "left as it is")
    with open(path, "wb") as f:
        f.write(whole)
    ana.login()
    equal(ana.texts(), ["x"])


@scenario(timeout=60)
def damaged_transport_key(w):
    ana = w.home("ana")
    ana.register(status=75)
    ana.ok("logout")
    with open(ana.dir + "/transport.key", "wb") as f:
        f.write(b"garbage")
    message = ana.fails(65, "login", "--passphrase-file", ana.passphrase_file)
    check("transport.key" in message, message)
    os.remove(ana.dir + "/transport.key")
    ana.login()


@scenario()
def home_that_cannot_be(w):
    ana = w.home("ana")
    ana.dir = os.path.join(ana.dir, "config.ini")  # a file
    ana.fails(74, "whoami")
    ana.dir = "/proc/nowhere"
    ana.fails(74, "register", "ana", "--passphrase-file", ana.passphrase_file)
    ana.dir = "x" * 2000
    result = ana.run("whoami")
    check(result.status in (65, 74), str(result))


def no_tmpfs():
    return None if is_root() else "needs root to mount a small tmpfs"


class SmallDisk:
    """A tmpfs of its own for a home, that can be filled to the last byte and emptied again."""

    def __init__(self, home, size):
        self.home, self.ballast = home, os.path.join(home.dir, "ballast")
        config = open(home.dir + "/config.ini").read()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%s,mode=700" % size, "tmpfs", home.dir], check=True)
        with open(home.dir + "/config.ini", "w") as f:
            f.write(config)

    def __enter__(self):
        return self

    def fill(self):
        fd = os.open(self.ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for size in (1 << 16, 1 << 12, 1):
            try:
                while os.write(fd, b"\0" * size):
                    pass
            except OSError:
                pass
        os.close(fd)

    def empty(self):
        os.remove(self.ballast)

    def __exit__(self, *_):
        if self.home.pid:
            self.home.kill()
        subprocess.run(["umount", "-l", self.home.dir], check=False)


def no_tmpfs():
    if not is_root():
        return "needs root to mount a small tmpfs"
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True).returncode:
            return "mounting is not allowed here"
        subprocess.run(["umount", folder], check=True)
    return None


@scenario(timeout=120, needs=no_tmpfs)
def full_disk(w):
    """A post that does not fit is refused with 74; what was accepted stays; with room again, all goes on."""
    ana = w.home("ana")
    with SmallDisk(ana, "8m") as disk:
        ana.register(status=75)
        accepted = ["post %d" % i for i in range(5)]
        for text in accepted:
            ana.post(text)
        disk.fill()
        refused = None
        for i in range(2000):  # what the store has already written to goes on taking some
            text = "big %d %s" % (i, "x" * 3900)
            result = ana.run("post", text)
            if result.status:
                refused = result
                break
            accepted.append(text)
        check(refused and refused.status == 74, "the disk is full:", refused)
        check("disk" in refused.row["message"], "it says why:", refused)
        time.sleep(2)  # the node may start again meanwhile
        result = ana.run("post", "small")
        check(result.status in (69, 74, 77), "still full:", result)
        disk.empty()
        time.sleep(2)
        ana.login()
        equal(ana.texts(), accepted, "what was accepted is there, and nothing else")
        ana.post("room again")
        equal(ana.texts()[-1], "room again")
        ids = [int(r["id"]) for r in ana.timeline()]
        check(all(a > b for a, b in zip(ids, ids[1:])), ids)
        note("%d posts fitted, then: %s" % (len(accepted), refused.row["message"]))


@scenario(timeout=60, needs=no_tmpfs)
def full_disk_at_register(w):
    ana = w.home("ana")
    with SmallDisk(ana, "256k") as disk:
        disk.fill()
        ana.fails(74, "register", "ana", "--listen", "127.0.0.1:0", "--passphrase-file", ana.passphrase_file)
        ana.no_node()
        check(not os.path.exists(ana.dir + "/user.key"), "no half key")


@scenario()
def output_to_a_full_disk(w):
    ana, = w.users("ana")
    with open("/dev/full", "wb") as full:
        result = subprocess.run([w.camellia, "--home", ana.dir, "status"], stdout=full, stderr=subprocess.PIPE, env=w.env,
                                timeout=30)
    equal(result.returncode, 74, result.stderr)


@scenario(timeout=120)
def reader_that_is_stopped(w):
    """Ctrl-Z and fg, longer than the node remembers a reader: it goes on, with what came meanwhile, each post once."""
    ana, bob = w.users("ana", "bob")
    bob.ok("follow", "ana")
    for text in ("old", "older"):
        ana.post(text)
    bob.wait_texts(["old", "older"], within=10)
    p = bob.start("timeline", "--follow", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(1)
    ana.post("seen")
    time.sleep(1)
    os.kill(p.pid, signal.SIGSTOP)
    time.sleep(2)
    ana.post("queued")
    time.sleep(32)
    ana.post("meanwhile")
    time.sleep(1)
    os.kill(p.pid, signal.SIGCONT)
    time.sleep(2)
    ana.post("after")
    time.sleep(2)
    check(p.poll() is None, "it ended:", p.poll())
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=10)
    equal(p.returncode, 130, err)
    seen = [json.loads(line)["text"] for line in out.decode().splitlines()]
    equal(sorted(seen), sorted(["old", "older", "seen", "queued", "meanwhile", "after"]), seen)
    equal(seen[2:], ["seen", "queued", "meanwhile", "after"], seen)


@scenario()
def reader_that_goes_away(w):
    """`camellia timeline --follow | head -1`: the writer ends, the node does not mind."""
    ana, = w.users("ana")
    ana.post("one")
    p = subprocess.Popen([w.camellia, "--home", ana.dir, "--json", "timeline", "--follow"], stdout=subprocess.PIPE, env=w.env)
    check(b"one" in p.stdout.readline())
    p.stdout.close()
    ana.post("two")
    wait_until("the reader ended", lambda: p.poll() is not None, 5)
    ana.post("three")
