"""What a stranger, or a peer with bad intent, can send: it is refused and counted, and the node works on."""
import os
import random
import re
import socket
import struct
import time

from harness import Failed, check, equal, memory_kb, note, scenario, wait_until
from wire import Api, Zmtp

BAD_ON_A_TERMINAL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def address(home):
    host, port = home.address.rsplit(":", 1)
    return host, int(port)


def still_serves(homes, text):
    """ana posts, bob has it, and the DHT answers."""
    ana, bob = homes
    ana.post(text)
    wait_until(lambda: "%s at bob: %s" % (text, bob.texts()), lambda: text in bob.texts(), 10)
    bob.ok("dht", "ping", ana.address)


@scenario()
def nothing_steers_the_terminal(w):
    """A client that is not ours hands the node texts that ours would refuse, and texts that steer without a control
    character; whatever is taken is harmless on every reader's screen."""
    ana, bob = w.users("ana", "bob")
    bob.ok("follow", "ana")
    texts = ["\x1b[2J\x1b[31mred", "bell\x07", "back\x08\x08", "c1 \x9b31m", "del\x7f", "\x00nul", "cr\roverwrite",
             "\u202eevil\u202c", "\u2066iso\u2069", "line\u2028sep", "\ufeffbom", "tag\U000e0041", "z\u200bw",
             "mark " + "\u0301" * 50, "fine"]
    api = Api(ana)
    taken = []
    for text in texts:
        _, reply = api.ask(do="post", text=text, wait_ms=0)
        if reply["status"] == 0:
            taken.append(text)
        else:
            equal(reply["status"], 65, reply)
    for text in texts[:7]:
        check(text not in taken, "a control character was taken:", repr(text))
    check("fine" in taken and "\u202eevil\u202c" in taken, taken)
    bob.wait_texts(taken, within=5)
    for args in (["timeline"], ["--plain", "timeline"], ["--json", "timeline"]):
        out = bob.ok(*args, json=False)
        check(len(out) > 100, out)
        bad = BAD_ON_A_TERMINAL.search(out)
        check(not bad, args, "puts", bad and repr(bad.group(0)), "on the terminal:", repr(out))
    for message in ("\x1b[31m", "\u202e"):
        result = bob.run("follow", message + "x", json=False)
        check(not BAD_ON_A_TERMINAL.search(result.err.decode("utf-8")), result)


@scenario(timeout=120)
def ten_thousand_datagrams(w):
    """Random ones, and real ones with a few bits changed. The node serves on and does not grow."""
    homes = ana, bob = w.users("ana", "bob")
    bob.ok("follow", "ana")
    rng = random.Random(1)
    to = address(ana)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    node_id = bytes.fromhex(ana.status["node_id"])

    def real(i):
        me, t = rng.randbytes(20), rng.randbytes(2)
        n = b"1:n4:" + __import__("hashlib").sha1(b"camellia").digest()[:4]
        kinds = [
            b"d1:ad2:id20:" + me + b"e" + n + b"1:q4:ping1:t2:" + t + b"1:y1:qe",
            b"d1:ad2:id20:" + me + b"6:target20:" + node_id + b"e" + n + b"1:q9:find_node1:t2:" + t + b"1:y1:qe",
            b"d1:ad2:id20:" + me + b"6:target20:" + me + b"e" + n + b"1:q3:get1:t2:" + t + b"1:y1:qe",
            b"d1:ad2:id20:" + me + b"9:info_hash20:" + me + b"e" + n + b"1:q9:get_peers1:t2:" + t + b"1:y1:qe",
            b"d1:ad2:id20:" + me + b"5:token4:abcd1:v5:helloe" + n + b"1:q3:put1:t2:" + t + b"1:y1:qe",
            b"d1:ad2:id20:" + me + b"6:prefix0:4:root20:" + me + b"e" + n + b"1:q4:sget1:t2:" + t + b"1:y1:qe",
            b"d1:rd2:id20:" + me + b"e" + n + b"1:t2:" + t + b"1:y1:re",
        ]
        return kinds[i % len(kinds)]

    def storm(count):
        for i in range(count):
            kind = i % 4
            if kind == 0:
                data = rng.randbytes(rng.randrange(0, 1500))
            elif kind == 1:
                data = bytes(rng.choice(b"0123456789:deil") for _ in range(rng.randrange(1, 300)))
            else:
                data = bytearray(real(i // 4))
                for _ in range(rng.randrange(0, 4)):
                    data[rng.randrange(len(data))] = rng.randrange(256)
                data = bytes(data[:rng.randrange(1, len(data) + 1)]) if kind == 3 and rng.random() < 0.3 else bytes(data)
            sock.sendto(data, to)
            if i % 50 == 0:
                time.sleep(0.005)

    storm(3000)  # tables and caches with a bound may fill once
    still_serves(homes, "after the first storm")
    before = memory_kb(ana.pid)
    start = time.monotonic()
    storm(10000)
    took = time.monotonic() - start
    still_serves(homes, "after the second storm")
    after = memory_kb(ana.pid)
    note("10,000 datagrams in %.1f s; memory %d -> %d kB" % (took, before, after))
    check(after < before + 4096, "memory grew from", before, "to", after)
    dropped = ana.status.get("dht", {}).get("dropped")
    check(dropped is None or dropped > 1000, "they are counted:", ana.status)


@scenario(timeout=120)
def junk_over_tcp(w):
    """On the port for posts: noise, half handshakes, other people's protocols, and many connections at once."""
    homes = ana, bob = w.users("ana", "bob")
    bob.ok("follow", "ana")
    rng = random.Random(2)
    to = address(ana)
    greeting = b"\xff" + b"\0" * 8 + b"\x7f"
    for i in range(300):
        try:
            with socket.create_connection(to, timeout=5) as s:
                kind = i % 6
                if kind == 0:
                    s.sendall(rng.randbytes(rng.randrange(1, 4000)))
                elif kind == 1:
                    s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                elif kind == 2:
                    s.sendall(greeting + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" * 32 + rng.randbytes(50))
                elif kind == 3:
                    s.sendall(greeting + b"\x03\x00" + b"CURVE".ljust(20, b"\0") + b"\0" * 32)
                    s.sendall(b"\x04\xc8\x05HELLO\x01\x00" + rng.randbytes(192))
                elif kind == 4:
                    s.sendall(greeting + b"\x03\x00" + b"CURVE".ljust(20, b"\0") + b"\0" * 32)
                    s.sendall(b"\x02" + struct.pack(">Q", 1 << 62) + rng.randbytes(100))
        except OSError:
            pass
    idle = []
    for _ in range(100):  # connected, and silent: others are served meanwhile
        try:
            idle.append(socket.create_connection(to, timeout=5))
        except OSError:
            break
    still_serves(homes, "after the junk")
    for s in idle:
        s.close()
    before = memory_kb(ana.pid)
    for i in range(300):
        try:
            with socket.create_connection(to, timeout=5) as s:
                s.sendall(rng.randbytes(100))
        except OSError:
            pass
    still_serves(homes, "and after more of it")
    note("memory %d -> %d kB over 300 connections" % (before, memory_kb(ana.pid)))
    check(memory_kb(ana.pid) < before + 8192, "memory grew")


@scenario()
def a_stranger_without_a_key(w):
    """Without CURVE nobody gets a message through: the NULL mechanism is refused in the handshake."""
    homes = ana, bob = w.users("ana", "bob")
    bob.ok("follow", "ana")
    for _ in range(5):
        s = socket.create_connection(address(ana), timeout=5)
        try:
            link = Zmtp(s)
            link.frame(b"d4:kind5:helloe")
            link.read_frame()
            raise Failed("a stranger was let in")
        except (EOFError, OSError):
            pass
        finally:
            s.close()
    still_serves(homes, "strangers stay out")


@scenario(timeout=90)
def junk_on_the_api(w):
    """The local socket is ours alone, and yet no client can hang or end the node."""
    ana, = w.users("ana")
    rng = random.Random(3)
    api = Api(ana)
    lines = [b"", b"{", b"[]", b"null", b"7", b"\xff\xfe", b"{}", b'{"v":1}', b'{"v":1,"tag":1}', b'{"v":1,"tag":1,"do":7}',
             b'{"v":1,"tag":1,"do":"nothing"}', b'{"v":2,"tag":1,"do":"status"}', b'{"v":1,"tag":"x","do":"status"}',
             b'{"v":1,"tag":-1,"do":"status"}', b'{"v":1,"tag":1,"do":"post"}', b'{"v":1,"tag":1,"do":"post","text":7}',
             b'{"v":1,"tag":1,"do":"post","text":"' + b"x" * 5000 + b'"}',
             b'{"v":1,"tag":1,"do":"timeline","n":-5}', b'{"v":1,"tag":1,"do":"timeline","n":1e99}',
             b'{"v":1,"tag":1,"do":"timeline","before":"x"}', b'{"v":1,"tag":1,"do":"follow","who":"../x"}',
             b'{"v":1,"tag":1,"do":"follow"}', b'{"v":1,"tag":1,"do":"login","secret":"00","name":"x"}',
             b'{"v":1,"tag":1,"do":"register","secret":"' + b"0" * 128 + b'","name":"x","device":0}',
             b'{"v":1,"tag":1,"do":"login","secret":"' + b"z" * 128 + b'","name":"ana","device":99999}',
             b'{"v":1,"tag":1,"do":"dht_get","target":"xyz"}', b'{"v":1,"tag":1,"do":"dht_put","value":"' + b"v" * 3000 + b'"}',
             b"[" * 5000 + b"]" * 5000, b'{"a":' * 5000, b"{" + b" " * 60000 + b"}"]
    for line in lines:
        api.frame(line)
    for _ in range(500):
        api.frame(rng.randbytes(rng.randrange(0, 300)))
    equal(api.ask(do="status")[1]["status"], 0)
    try:
        big = Api(ana)
        big.frame(b"x" * (1 << 20))
        big.read_frame()
    except (EOFError, OSError):
        pass
    silent = [Api(ana) for _ in range(50)]
    for s in silent:  # asks much and reads nothing
        for i in range(50):
            s.frame(b'{"v":1,"tag":%d,"do":"status"}' % i)
    equal(ana.ok("whoami")[0]["user"], "ana")
    for s in silent:
        s.close()
    ana.post("still here")
    equal(ana.texts(), ["still here"])
    equal(os.stat(ana.dir + "/run").st_mode & 0o777, 0o700, "the socket's folder is ours alone")
