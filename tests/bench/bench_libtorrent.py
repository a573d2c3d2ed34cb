#!/usr/bin/python3
"""Rows 1 to 3 by libtorrent, for comparison: put and get of mutable items among its own nodes, on loopback.

    tests/bench/bench_libtorrent.py [FILE] [--sessions 128] [--operations 100]

FILE is what bench_kad wrote in the same run (`name value` lines): our figures, and what a datagram, a signature and a
verification cost here. Each libtorrent session is a thread with one DHT node and a socket of its own; its k is 8, as
ours in that bench. A put is measured from the call to its alert, a get to its first alert with the value and to the
one that calls it final, as a program that uses the library sees them. Datagrams are those of the kernel's counter, in
a network namespace of our own where the machine allows one. Ends within a minute, with fewer sessions if need be.
"""
import argparse
import os
import random
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # leave no __pycache__ in the tree
TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TESTS, "conform"), os.path.join(TESTS, "e2e")]
from krpc import Key  # noqa: E402

try:
    import libtorrent as lt
except ImportError:
    print("     libtorrent is not installed (python3-libtorrent): its figures are left out")
    sys.exit(0)

BUDGET_S = 55
K = 8
ROW = "%-4s %-46s %22s %22s %9s  %-22s %s"


def isolate():
    """Runs this program again in a network namespace of its own; returns when that cannot be had."""
    if "BENCH_ISOLATED" in os.environ:
        return
    env = dict(os.environ, BENCH_ISOLATED="1")
    for flags in (["-n"], ["-r", "-n"]):
        try:
            p = subprocess.run(["unshare", *flags, "ip", "link", "set", "lo", "up"], stdin=subprocess.DEVNULL,
                               capture_output=True)
        except OSError:
            break
        if p.returncode == 0:
            os.execvpe("unshare", ["unshare", *flags, "sh", "-c", 'ip link set lo up && exec "$@"', "sh",
                                   sys.executable, os.path.abspath(__file__), *sys.argv[1:]], env)
    os.environ["BENCH_ISOLATED"] = "0"


def datagrams():
    with open("/proc/net/snmp") as f:
        names, values = [line.split() for line in f if line.startswith("Udp:")]
    return int(values[names.index("OutDatagrams")])


def session(bootstrap):
    s = lt.session({
        "listen_interfaces": "127.0.0.1:0", "dht_bootstrap_nodes": bootstrap, "enable_dht": True,
        "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False, "alert_mask": 0, "aio_threads": 1,
        "hashing_threads": 1,
        # All stand at one address, so what keeps one address in bounds has to give way.
        "dht_restrict_routing_ips": False, "dht_restrict_search_ips": False, "dht_enforce_node_id": False,
        "dht_prefer_verified_node_ids": False, "dht_ignore_dark_internet": False, "dht_block_ratelimit": 1000000,
        "dht_upload_rate_limit": 1000000000})
    end = time.monotonic() + 5
    while s.listen_port() == 0 and time.monotonic() < end:
        time.sleep(0.002)
    return s


def wait_alert(s, kind, until):
    """The first such alert, and when it was there."""
    while time.monotonic() < until:
        if not s.wait_for_alert(100):
            continue
        now = time.perf_counter()
        for a in s.pop_alerts():
            if isinstance(a, kind):
                return a, now
    return None, 0


def spread(values):
    values = sorted(values)
    at = [values[int(f * (len(values) - 1) + 0.5)] for f in (0.1, 0.9)]
    return statistics.median(values), at[0], at[1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ours", nargs="?")
    parser.add_argument("--sessions", type=int, default=128)
    parser.add_argument("--operations", type=int, default=100)
    args = parser.parse_args()
    isolate()
    until = time.monotonic() + BUDGET_S
    ours = {}
    if args.ours:
        with open(args.ours) as f:
            ours = {name: float(value) for name, value in (line.split() for line in f)}

    sessions = [session("")]
    bootstrap = "127.0.0.1:%d" % sessions[0].listen_port()
    while len(sessions) < args.sessions and time.monotonic() < until - 40:
        sessions.append(session(bootstrap))
    time.sleep(8)  # its routing tables fill
    before = datagrams()
    time.sleep(2)
    idle_per_s = (datagrams() - before) / 2

    puts, firsts, wholes = [], [], []
    sent = {"put": [], "first": [], "whole": []}
    failed = 0
    for s in sessions:
        s.apply_settings({"alert_mask": lt.alert.category_t.dht_notification})
    for op in range(args.operations):
        if time.monotonic() > until - 8:
            break
        key = Key()
        writer, reader = random.sample(sessions, 2)
        for s in (writer, reader):
            s.pop_alerts()
        salt = "bench"
        start, count = time.perf_counter(), datagrams()
        writer.dht_put_mutable_item(key.expanded, key.public, "a value of forty bytes, more or less ...", salt)
        alert, at = wait_alert(writer, lt.dht_put_alert, min(until, time.monotonic() + 5))
        if not alert or alert.num_success == 0:
            failed += 1
            continue
        sent["put"].append(datagrams() - count - idle_per_s * (at - start))
        puts.append((at - start) * 1e6)
        time.sleep(0.05)
        start, count = time.perf_counter(), datagrams()
        reader.dht_get_mutable_item(key.public, salt)
        first = None
        while True:
            alert, at = wait_alert(reader, lt.dht_mutable_item_alert, min(until, time.monotonic() + 5))
            if not alert:
                failed += 1
                break
            if first is None and alert.item.get("value") is not None:
                first = at
                firsts.append((at - start) * 1e6)
                sent["first"].append(datagrams() - count)
            if alert.authoritative:
                if first is None:
                    failed += 1
                wholes.append((at - start) * 1e3)
                sent["whole"].append(datagrams() - count - idle_per_s * (at - start))
                break
        time.sleep(0.05)

    by = "libtorrent %s" % ".".join(lt.__version__.split(".")[:3])
    for row, what, unit, values, name, kind, work in (
            ("1", "signed put by " + by, "us", puts, "put_us", "put", (1, K)),
            ("2", "get, first value, by " + by, "us", firsts, "first_us", "first", (0, 1)),
            ("3", "whole lookup by " + by, "ms", wholes, "whole_ms", "whole", (0, 1))):
        if not values:
            print(ROW % (row, what, "-", "-", "-", "-", "not measured"))
            continue
        median, low, high = spread(values)
        n = statistics.median(sent[kind])
        right, ratio, floor = "-", "-", ""
        if name in ours:
            right = "%.4g %s" % (ours[name], unit)
            ratio = "%.2f" % (median / ours[name])
            us = n * ours["datagram_us"] + work[0] * ours["sign_us"] + work[1] * ours["verify_us"]
            floor = "%.1f x its floor" % (median * (1000 if unit == "ms" else 1) / us)
        print(ROW % (row, what, "%.4g (%.3g-%.3g) %s" % (median, low, high, unit), right, ratio, "beside ours",
                     "%.0f datagrams, %s" % (n, floor)))
    print("     %d sessions of %s, %d of %d operations failed, %.0f datagrams a second when idle%s" % (
        len(sessions), by, failed, 2 * args.operations, idle_per_s,
        "" if os.environ["BENCH_ISOLATED"] == "1" else "; others' traffic is counted too"), flush=True)
    for s in sessions:
        s.pause()
    os._exit(0)  # 128 threads end at once, not one after the other


main()
