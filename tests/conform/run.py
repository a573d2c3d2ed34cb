#!/usr/bin/python3
"""Runs the conformance suite: the node as a black box, rule by rule, then beside nodes that others wrote.

    tests/conform/run.py --bin build/gcc-sanitize [-j 3] [-k WORD] [--list] [--no-foreign] [--quiet]

Everything happens in a network namespace of its own where the machine allows that, so nothing can leave it;
otherwise on the loopback device, and the cases that need public addresses are skipped. Prints a line for each
case with the section it comes from, and at the end "N passed, N failed".
"""
import argparse
import concurrent.futures
import importlib
import os
import subprocess
import sys

sys.dont_write_bytecode = True  # leave no __pycache__ in the tree
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]
import harness  # noqa: E402
import suite  # noqa: E402

MODULES = ["bep5", "bep32", "bep42", "bep43", "bep44", "client", "sets", "network", "datagrams"]


def isolate():
    """Runs this program again where there is only a loopback device. Returns when that cannot be had."""
    if "CONFORM_ISOLATED" in os.environ:
        return
    env = dict(os.environ, CONFORM_ISOLATED="1")
    setup = "ip link set lo up" + "".join(
        " && ip addr add %s dev lo%s" % (ip, " nodad" if ":" in ip else "") for ip in suite.PUBLIC_IPS)
    for flags in (["-n"], ["-r", "-n"]):
        try:
            p = subprocess.run(["unshare", *flags, "sh", "-c", setup], stdin=subprocess.DEVNULL, capture_output=True)
        except OSError:
            break
        if p.returncode == 0:
            os.execvpe("unshare", ["unshare", *flags, "sh", "-c", setup + ' && exec "$@"', "sh", sys.executable,
                                   os.path.abspath(__file__), *sys.argv[1:]], env)
    os.environ["CONFORM_ISOLATED"] = "0"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", default=os.environ.get("CAMELLIA_BIN", "build"))
    parser.add_argument("-j", type=int, default=3)
    parser.add_argument("-k", default="", help="only cases with this in name or section")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--no-foreign", action="store_true")
    parser.add_argument("--quiet", action="store_true", help="only what failed, and the sum")
    args = parser.parse_args()
    isolate()
    for name in MODULES:
        importlib.import_module(name)
    cases = [c for c in suite.CASES if args.k in c.name or args.k in c.section]
    if args.list:
        for c in cases:
            print("%-40s %s" % (c.section, c.name))
        return 0
    count = {"ok": 0, "FAIL": 0, "skip": 0}
    world = harness.World(args.bin)
    foreign = None
    try:
        if not args.no_foreign:
            foreign = subprocess.Popen([sys.executable, os.path.join(HERE, "foreign.py"), "--bin", args.bin, "-k", args.k],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        shared = suite.Shared(world)
        with concurrent.futures.ThreadPoolExecutor(max(args.j, 1)) as pool:
            waiting = [(c, pool.submit(suite.run, c, i, world, shared)) for i, c in enumerate(cases)]
            for c, future in waiting:
                word, said, took = future.result()
                count[word] += 1
                if word != "ok" or not args.quiet:
                    suite.show(word, c.section, c.name, said, took)
        for node in shared.nodes.values():
            node.end()
        world.check_logs()
        if foreign:
            for line in foreign.stdout:
                word = line.split()[0] if line.strip() else ""
                if word in count:
                    count[word] += 1
                if not args.quiet or word not in ("ok",):
                    print(line, end="", flush=True)
            if foreign.wait() not in (0, 1):
                print("  FAIL foreign.py ended with %s" % foreign.returncode)
                count["FAIL"] += 1
    finally:
        if foreign and foreign.poll() is None:
            foreign.terminate()
            foreign.wait()
        world.clean()
    print("%d passed, %d failed%s" % (count["ok"], count["FAIL"], ", %d skipped" % count["skip"] if count["skip"] else ""))
    return 1 if count["FAIL"] or not count["ok"] else 0


if __name__ == "__main__":
    sys.exit(main())
