#!/usr/bin/python3
"""Camellia beside nodes that others wrote: libtorrent and aria2, as Debian packages them.

    tests/conform/foreign.py --bin build/gcc-sanitize [-k WORD]

run.py starts it and adds up its lines. The nodes here are plain citizens of the public network (`NETWORK =`), save
where it says otherwise, and everybody is on loopback: who to bootstrap from is always given. The cases stand on one
mixed network of CAMELLIAS nodes and SESSIONS libtorrent sessions, in this order, since the last ones end parts of it.
"""
import argparse
import base64
import os
import shutil
import subprocess
import sys
import threading
import time
import traceback

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]
import harness  # noqa: E402
from harness import Failed, check, equal, free_port, wait_until  # noqa: E402
from krpc import Key, Peer, distance, encode, item_signed, sha1, uncompact, verified  # noqa: E402
from suite import Node, Skip, show, where_in  # noqa: E402

try:
    import libtorrent as lt
except ImportError:
    lt = None

CAMELLIAS, SESSIONS = 15, 10
CASES = []


def case(section):
    def mark(function):
        CASES.append((section, function))
        return function
    return mark


class Session:
    """A libtorrent session: a node of the DHT, and a BitTorrent client."""

    def __init__(self, bootstrap=None, ip="127.0.0.1"):
        at = "%s:%d" % bootstrap if bootstrap and ":" not in bootstrap[0] else "[%s]:%d" % bootstrap if bootstrap else ""
        self.seen = []
        self.session = lt.session({
            "listen_interfaces": ("[%s]:0" if ":" in ip else "%s:0") % ip, "dht_bootstrap_nodes": at, "enable_dht": True,
            "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False, "allow_multiple_connections_per_ip": True,
            # All nodes here share one address, so what keeps one address in bounds has to give way.
            "dht_restrict_routing_ips": False, "dht_restrict_search_ips": False, "dht_enforce_node_id": False,
            "dht_prefer_verified_node_ids": False, "dht_ignore_dark_internet": False, "dht_block_ratelimit": 100000,
            "dht_upload_rate_limit": 10000000,
            "alert_mask": lt.alert.category_t.dht_notification | lt.alert.category_t.dht_operation_notification |
            lt.alert.category_t.status_notification})
        self.address = ip, wait_until("libtorrent listens", lambda: self.session.listen_port(), 5, 0.02)[0]

    def end(self):
        self.session.pause()
        self.session = None

    def pump(self):
        for a in self.session.pop_alerts():
            if isinstance(a, lt.dht_immutable_item_alert):
                self.seen.append(("immutable", a.target.to_bytes(), a.item.get("value")))
            elif isinstance(a, lt.dht_mutable_item_alert):
                row = {"seq": a.seq, "v": a.item.get("value"), "sig": a.signature, "whole": a.authoritative}
                self.seen.append(("mutable", raw(a.key) + raw(a.salt), row))
            elif isinstance(a, lt.dht_get_peers_reply_alert):
                self.seen.append(("peers", a.info_hash.to_bytes(), a.peers()))
            elif isinstance(a, lt.dht_put_alert):
                self.seen.append(("put", None, a.num_success))
            elif isinstance(a, lt.session_stats_alert):
                self.seen.append(("stats", None, a.values))

    def wait(self, kind, key, within=10, where=lambda value: True):
        """The value of the first such alert; older ones are gone."""
        def look():
            self.pump()
            for row in self.seen:
                if row[0] == kind and row[1] == key and where(row[2]):
                    return row
        return wait_until("an alert %s of libtorrent among %s" % (kind, self.seen[-5:]), look, within, 0.01)[0][2]

    def call(self, function, *args):
        self.pump()
        self.seen.clear()
        return getattr(self.session, function)(*args)

    @property
    def nodes(self):
        self.call("post_session_stats")
        return self.wait("stats", None)["dht.dht_nodes"]

    # ---- items

    def put(self, text):
        target = self.call("dht_put_immutable_item", text).to_bytes()
        check(self.wait("put", None) > 0, "libtorrent stored it nowhere")
        equal(target, sha1(encode(text)))
        return target

    def get(self, target):
        self.call("dht_get_immutable_item", lt.sha1_hash(target))
        return self.wait("immutable", target)

    def put_mutable(self, key, data, salt):
        self.call("dht_put_mutable_item", key.expanded, key.public, data, salt)
        check(self.wait("put", None) > 0, "libtorrent stored it nowhere")

    def get_mutable(self, public, salt, seq=None):
        """When its lookup has ended: what it found last. Or as soon as it has found this version."""
        self.call("dht_get_mutable_item", public, salt)
        return self.wait("mutable", public + salt, where=lambda row: row["seq"] == seq if seq else row["whole"])

    def peers(self, info_hash):
        """All peers that one lookup finds; the nodes that know some answer one after the other."""
        self.call("dht_get_peers", lt.sha1_hash(info_hash))
        self.wait("peers", info_hash, where=lambda peers: len(peers) > 0)
        return {tuple(p) for row in self.seen if row[0] == "peers" and row[1] == info_hash for p in row[2]}


def raw(value):
    return value if isinstance(value, bytes) else value.encode("latin-1")


def client(node):
    """A script that asks one node something. It is read-only (BEP 43), and so leaves no dead contact behind, for which
    libtorrent's lookups would wait."""
    return Peer(node.address, answers=False, read_only=True)


def says(node, want, ask, about=""):
    """Wants this answer of a node. Everybody here lives, so a node that had time-outs has taken the late for the dead
    (the machine was busy): only such a one is asked again, for as long as it may hold on to that."""
    deadline = time.monotonic() + 60 * harness.SLOW
    while True:
        got = ask()
        if got == want or not node.status["dht"]["timeouts"] or time.monotonic() > deadline:
            equal(got, want, about)
            return
        time.sleep(1)


def value_of(node, target, salt=None):
    row = node.get(target, salt) or {}
    return row.get("value"), row.get("seq")


class Mixed:
    """The network: camelliads and sessions, each joined through one of the other sort where that is possible."""

    def __init__(self, world):
        self.world = world
        self.nodes, self.sessions, self.extra, self.items = [], [], [], {}
        self.number, self.lock, self.home = 0, threading.Lock(), None

    def node(self, network="", join=(), **kw):
        with self.lock:
            self.number += 1
            name = "n%d" % self.number
        return Node(self.world, name, network=network, join=join, **kw)

    def build(self):
        """Half of us, one through another; libtorrent through us; the other half of us through libtorrent."""
        first = self.node(ip6="")
        half = CAMELLIAS // 2
        self.nodes = [first] + harness.together([lambda: self.node(ip6="", join=[first.address])] * (half - 1))
        self.sessions = [Session(self.nodes[i % half].address) for i in range(SESSIONS)]
        for s in self.sessions:
            wait_until("libtorrent's nodes", lambda: s.nodes >= 5, 15)
        self.nodes += harness.together([lambda s=s: self.node(ip6="", join=[s.address])
                                        for s in self.sessions[:CAMELLIAS - half]])
        for n in self.nodes:
            wait_until(lambda: (len(n.peers()), "peers at", n.address), lambda: len(n.peers()) >= 10, 15)

    def ids(self):
        """id by address of everybody, from the tables of all."""
        all_of = {}
        for n in self.nodes:
            all_of["%s:%d" % n.address] = n.id.hex()
            for node_id, address in n.peers():
                all_of.setdefault(address, node_id)
        return all_of

    def clean(self):
        if self.home:
            self.home.run("logout")
        for s in self.sessions + self.extra:
            if s.session:
                s.end()
        for n in self.nodes:
            if n.process.poll() is None:
                n.end()


# ---- joining


@case("join")
def two_camelliads_meet_through_one_libtorrent(m):
    s = Session()
    m.extra.append(s)
    a = m.node(ip6="", join=[s.address])
    wait_until("libtorrent has it", lambda: s.nodes >= 1, 10)
    b = m.node(ip6="", join=[s.address])
    for n, other in ((a, b), (b, a)):
        want = {"%s:%d" % x for x in (s.address, other.address)}
        wait_until(lambda: n.peers(), lambda: {p for _, p in n.peers()} == want, 10)
    for n in (a, b):
        n.end()


@case("join")
def libtorrents_join_through_us_and_we_through_them(m):
    m.build()
    known = m.ids()
    for s in m.sessions:
        check("%s:%d" % s.address in known, "nobody has", s.address)


@case("find_node")
def lookups_find_the_true_closest_of_the_whole_network(m):
    want = {"%s:%d" % x.address for x in m.nodes + m.sessions}
    ids = {node_id for address, node_id in m.ids().items() if address in want}
    equal(len(ids), CAMELLIAS + SESSIONS)
    for i, n in enumerate(m.nodes[:8]):
        target = os.urandom(20)
        others = ids - {n.id.hex()}
        close = sorted(others, key=lambda x: distance(bytes.fromhex(x), target))[:16]
        says(n, close, lambda: [r["node_id"] for r in n.find(target)], "of %d" % i)


# ---- items


@case("BEP 44, immutable")
def what_libtorrent_stored_is_read_by_every_camelliad(m):
    texts = ["libtorrent %d %s" % (i, "x" * size) for i, size in enumerate((0, 10, 300, 900, 980))]
    for s, text in zip(m.sessions[::2], texts):
        m.items[s.put(text)] = text
    for target, text in m.items.items():
        for n in m.nodes:
            says(n, (text, None), lambda: value_of(n, target))


@case("BEP 44, immutable")
def what_camelliads_stored_is_read_by_every_libtorrent(m):
    texts = ["camellia %d %s" % (i, "y" * size) for i, size in enumerate((0, 10, 300, 900, 980))]
    for n, text in zip(m.nodes[::3], texts):
        row = n.put(text)
        check(row["holders"] >= 14, row)
        m.items[bytes.fromhex(row["target"])] = text
    harness.together([lambda s=s: [equal(raw(s.get(t)), text.encode()) for t, text in m.items.items()] for s in m.sessions])


@case("BEP 44, mutable")
def libtorrents_signed_item_is_verified_here(m):
    key, salt = Key(), b"some salt"
    m.sessions[3].put_mutable(key, b"version one", salt)
    target = sha1(key.public, salt)
    for n in m.nodes:
        says(n, ("version one", 1), lambda: value_of(n, target, "some salt"))
        equal(n.get(target, "some salt")["k"], key.public.hex())
    held = 0
    for n in m.nodes:
        with client(n) as p:
            r = p.get(target)
            if "v" in r:
                held += 1
                check(verified(key.public, item_signed(r["seq"], encode(r["v"]), salt), r["sig"]), r)
    check(held >= 3, "few of ours hold it:", held)
    m.sessions[3].put_mutable(key, b"version two", salt)
    for n in m.nodes:
        says(n, ("version two", 2), lambda: value_of(n, target, "some salt"))
    m.sessions[8].put_mutable(key, b"version three, from elsewhere", salt)
    says(m.nodes[0], ("version three, from elsewhere", 3), lambda: value_of(m.nodes[0], target, "some salt"))
    m.key, m.salt, m.last = key, salt, (3, b"version three, from elsewhere")


@case("BEP 44, mutable")
def our_signed_item_is_verified_by_libtorrent(m):
    home = m.home = m.world.home("ana", "[DEFAULT]\nNETWORK =\n")
    result = home.run("register", "ana", "--listen", "127.0.0.1:0", "--passphrase-file", home.passphrase_file,
                      "--join", "%s:%d" % m.sessions[0].address)
    check(result.status in (0, 75), result)
    wait_until("peers", lambda: home.status["peers"] >= 8, 10)
    public, last = base64.b32decode(home.id.upper() + "===="), 0
    for text in ("first", "second"):
        row = home.ok("dht", "put", text, "--salt", "ours")[0]
        check(row["holders"] >= 14 and row["seq"] > last, row)
        last = row["seq"]
        for got in harness.together([lambda s=s: s.get_mutable(public, b"ours") for s in m.sessions[::3]]):
            equal((raw(got["v"]), got["seq"]), (text.encode(), row["seq"]))
            check(verified(public, item_signed(got["seq"], encode(raw(got["v"])), b"ours"), got["sig"]), got)


@case("BEP 44, mutable")
def a_client_in_between_moves_items_either_way(m):
    """Items of a key that only a script has, put at camelliads one by one, read by libtorrent; and replaced by it."""
    key = Key()
    close = sorted(m.nodes, key=lambda n: distance(n.id, sha1(key.public)))
    for n in close[:8]:
        with client(n) as p:
            p.put_mutable(key, 40, b"5:forty")
    got = m.sessions[1].get_mutable(key.public, b"")
    equal((raw(got["v"]), got["seq"]), (b"forty", 40))
    m.sessions[1].put_mutable(key, b"forty-one", b"")
    with client(close[0]) as p:
        r = p.get(sha1(key.public))
        equal((r["v"], r["seq"]), (b"forty-one", 41))


# ---- peers


@case("BEP 5, announce_peer")
def a_peer_announced_at_camelliads_is_found_by_libtorrent(m):
    info_hash = os.urandom(20)
    for n in sorted(m.nodes, key=lambda n: distance(n.id, info_hash))[:5]:
        with client(n) as p:
            p.ask("announce_peer", {"info_hash": info_hash, "token": p.token(info_hash, "get_peers"), "port": 7777})
    for s in (m.sessions[0], m.sessions[7]):
        equal(s.peers(info_hash), {("127.0.0.1", 7777)})


@case("BEP 5, announce_peer; get_peers")
def what_camelliads_announce_is_found_by_everybody(m):
    """With a port of its own, and with that of its datagrams."""
    info_hash = os.urandom(20)
    check(m.nodes[1].announce(info_hash, 7001) >= 14, "few took it")
    check(m.nodes[12].announce(info_hash) >= 14, "few took it")
    want = {("127.0.0.1", 7001), m.nodes[12].address}
    for s in m.sessions[::3]:
        equal(s.peers(info_hash), want)
    for n in m.nodes:
        says(n, {"%s:%d" % a for a in want}, lambda: n.find_peers(info_hash))


@case("BEP 5, announce_peer; get_peers")
def what_libtorrent_announces_is_found_by_every_camelliad(m):
    info_hash, announcers = os.urandom(20), m.sessions[4:6]
    for s in announcers:
        params = lt.parse_magnet_uri("magnet:?xt=urn:btih:" + info_hash.hex())
        params.save_path = m.world.dir
        s.session.add_torrent(params).force_dht_announce()
    want = {"127.0.0.1:%d" % s.address[1] for s in announcers}
    wait_until("libtorrent has announced it", lambda: m.nodes[0].find_peers(info_hash) == want, 20, 0.1)
    for n in m.nodes:
        says(n, want, lambda: n.find_peers(info_hash))


@case("BEP 5, announce_peer")
def a_torrent_is_announced_to_camelliads_and_downloaded_by_who_asks_them(m):
    """One libtorrent seeds a file; another, that has only a magnet link, finds it through the network."""
    folder = os.path.join(m.world.dir, "seed")
    os.makedirs(folder)
    m.content = os.urandom(200000)
    with open(os.path.join(folder, "file.bin"), "wb") as f:
        f.write(m.content)
    files = lt.file_storage()
    lt.add_files(files, os.path.join(folder, "file.bin"))
    torrent = lt.create_torrent(files, flags=lt.create_torrent.v1_only)
    lt.set_piece_hashes(torrent, folder)
    info = lt.torrent_info(torrent.generate())
    m.info_hash = info.info_hash().to_bytes()
    seeder = m.sessions[2]
    handle = seeder.session.add_torrent({"ti": info, "save_path": folder, "flags": lt.torrent_flags.seed_mode})
    handle.force_dht_announce()

    def announced():
        for n in m.nodes:
            with client(n) as p:
                r = p.ask("get_peers", {"info_hash": m.info_hash})["r"]
                if seeder.address in [uncompact(v) for v in r.get("values", [])]:
                    return True
    wait_until("the seeder is announced at a camelliad", announced, 10)
    leecher = Session(m.nodes[9].address)
    m.extra.append(leecher)
    wait_until("its nodes", lambda: leecher.nodes >= 3, 10)
    params = lt.parse_magnet_uri("magnet:?xt=urn:btih:" + m.info_hash.hex())
    params.save_path = os.path.join(m.world.dir, "leech")
    download = leecher.session.add_torrent(params)
    wait_until("the download", lambda: download.status().is_seeding, 20)
    with open(os.path.join(params.save_path, "file.bin"), "rb") as f:
        check(f.read() == m.content, "not the same file")


@case("aria2, BEP 5")
def aria2_finds_the_torrent_through_a_camelliad(m):
    """From a magnet link to the torrent's description, which only the seeder has. aria2 asks before it knows anybody
    and then not for a minute, so it runs twice: it remembers whom it met."""
    if not shutil.which("aria2c"):
        raise Skip("no aria2c: etc/install-deps.sh --test")
    check(getattr(m, "info_hash", None), "no torrent to look for")
    folder = os.path.join(m.world.dir, "aria2")
    os.makedirs(folder)
    port = free_port()
    argv = ["aria2c", "--no-conf", "-d", folder, "--enable-dht=true", "--enable-dht6=false", "--bt-enable-lpd=false",
            "--enable-peer-exchange=false", "--dht-entry-point=%s:%d" % m.nodes[4].address, "--dht-listen-port=%d" % port,
            "--listen-port=%d" % port, "--dht-file-path=" + os.path.join(folder, "dht.dat"), "--seed-time=0",
            "--bt-metadata-only=true", "--bt-save-metadata=true", "magnet:?xt=urn:btih:" + m.info_hash.hex()]
    for stop in ("--stop=2", "--stop=20"):
        result = subprocess.run(argv[:1] + [stop] + argv[1:], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                timeout=60)
    saved = os.path.join(folder, m.info_hash.hex() + ".torrent")
    check(result.returncode == 0 and os.path.exists(saved), "aria2 found no seeder:", result.stdout[-2000:])
    for n in m.nodes[::5]:
        says(n, True, lambda: "%s:%d" % m.sessions[2].address in n.find_peers(m.info_hash),
             "the seeder, found by %s:%d" % n.address)


# ---- other networks


@case("BEP 32, IPv6")
def over_ipv6_we_join_each_other_and_share_items(m):
    first = m.node()
    more = [m.node(join=[first.address6]) for _ in range(2)]
    for n in more:
        wait_until("the others", lambda: len([p for _, p in n.peers() if p[0] == "["]) == 2, 10)
    s = Session(first.address6, ip="::1")
    m.extra.append(s)
    wait_until("libtorrent joined", lambda: s.nodes >= 2, 10)
    wait_until("we have it", lambda: "[%s]:%d" % s.address in {p for _, p in first.peers()}, 5)
    info_hash = os.urandom(20)
    check(first.announce(info_hash, 7006) >= 2, "few took it over IPv6")
    equal(s.peers(info_hash), {("::1", 7006)})
    second = m.node(join=[s.address])
    wait_until("the other camelliads", lambda: "[::1]:%d" % more[0].port in {p for _, p in second.peers()}, 10)
    equal(second.get(s.put("over IPv6"))["value"], "over IPv6")
    row = first.put("the other way")
    equal(raw(s.get(bytes.fromhex(row["target"]))), b"the other way")
    for n in [first, second] + more:
        n.end()


@case("DESIGN 4, network word")
def in_the_camellia_network_libtorrent_is_a_guest(m):
    """Answered, and able to store and read; and in nobody's table."""
    first = m.node(network="camellia", ip6="")
    others = [m.node(network="camellia", ip6="", join=[first.address]) for _ in range(3)]
    nodes = [first] + others
    for n in nodes:
        wait_until("the others", lambda: len(n.peers()) == 3, 10)
    s = Session(first.address)
    m.extra.append(s)
    wait_until("libtorrent's nodes", lambda: s.nodes >= 2, 10)
    target = s.put("from a guest")
    for n in nodes:
        equal(n.get(target)["value"], "from a guest")
    equal(raw(s.get(bytes.fromhex(others[0].put("for a guest")["target"]))), b"for a guest")
    info_hash = os.urandom(20)
    equal(others[1].announce(info_hash, 7007), 3)
    equal(s.peers(info_hash), {("127.0.0.1", 7007)})
    for n in nodes:
        check(s.address[1] not in {int(p.rsplit(":", 1)[1]) for _, p in n.peers()}, "it is in a table")
        n.end()


@case("promise 5, the rescue")
def two_lost_nodes_find_each_other_through_libtorrent(m):
    """Of the Camellia network, each entering the public one by another libtorrent."""
    config = "[BOOTSTRAP]\nRESCUE = 1\nRESCUE_AFTER = 1\nRESCUE_JOIN = %s:%d\n"
    lost = [m.node(network="camellia", ip6="", config=config % m.sessions[i].address) for i in (1, 8)]
    for n, other in (lost, lost[::-1]):
        wait_until(lambda: (n.peers(), n.status["rescue"]), lambda: n.knows_address(other.address), 60)
    for n in lost:
        wait_until(lambda: n.status["rescue"], lambda: not n.status["rescue"]["open"], 10)
    word = sha1(b"camellia")
    want = {"%s:%d" % n.address for n in lost}
    check(m.nodes[2].find_peers(word) & want, "they stand under SHA1 of the network's name")
    for n in lost:
        n.end()


# ---- losses


@case("losses")
def what_was_stored_outlives_half_the_sessions_and_a_third_of_us(m):
    for s in m.sessions[::2]:
        s.end()
    for n in m.nodes[::3]:
        n.end(sig=9)
    nodes = [n for i, n in enumerate(m.nodes) if i % 3]
    sessions = m.sessions[1::2]
    for target, text in m.items.items():
        for n in nodes:
            says(n, (text, None), lambda: value_of(n, target))
    equal(nodes[0].get(sha1(m.key.public, m.salt), m.salt.decode())["seq"], m.last[0])
    for s in sessions:
        got = s.get_mutable(m.key.public, m.salt, m.last[0])
        equal((got["seq"], raw(got["v"])), m.last)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("-k", default="")
    args = parser.parse_args()
    section = "libtorrent " + (lt.__version__ if lt else "")
    if not lt:
        print("  skip %-34s %s" % (section, "python3-libtorrent is not there: etc/install-deps.sh --test"))
        return 0
    if not any(args.k in word for s, f in CASES for word in (f.__name__, section, s)):
        return 0  # they stand on one another: all or none
    world = harness.World(args.bin)
    m = Mixed(world)
    failed = 0
    try:
        for where, function in CASES:
            start = time.monotonic()
            word, said = "ok", ""
            try:
                function(m)
            except Skip as e:
                word, said = "skip", str(e)
            except Failed as e:
                word, said = "FAIL", "%s\n  at %s" % (e, where_in(e, function))
            except Exception:
                word, said = "FAIL", traceback.format_exc()
            took = time.monotonic() - start
            show(word, where if where.startswith("aria2") else section + ", " + where, function.__name__, said, took)
            failed += word == "FAIL"
        m.clean()
        world.check_logs()
    finally:
        world.clean()
    return 1 if failed else 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # libtorrent's threads need not be waited for
