#!/usr/bin/python3
"""Runs the end-to-end scenarios: each in a process of its own, a few at a time.

    tests/e2e/run.py --bin build/gcc-sanitize [-j 2] [-k WORD] [--list] [--keep] [--times N]

Prints each name with ok, FAIL or skip and its time, the whole story of what failed, and at the end
"N passed, N failed". Ends with 1 when anything failed or nothing ran.
"""
import argparse
import concurrent.futures
import glob
import importlib
import os
import subprocess
import sys
import tempfile
import time
import traceback

sys.dont_write_bytecode = True  # leave no __pycache__ in the tree
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import harness  # noqa: E402

SKIPPED = 77


def load():
    for path in sorted(glob.glob(os.path.join(HERE, "scenario_*.py"))):
        importlib.import_module(os.path.basename(path)[:-3])


def run_one(name, bin_dir, keep):
    """In the scenario's own process."""
    function, _, needs = harness.SCENARIOS[name]
    why_not = needs() if needs else None
    if why_not:
        print("NOTE skipped: " + why_not)
        return SKIPPED
    world = harness.World(bin_dir)
    try:
        function(world)
        world.check_logs()
        return 0
    except harness.Failed as e:
        print(e)
        frames = traceback.extract_tb(e.__traceback__)
        print("  at " + ", ".join("%s:%d" % (os.path.basename(f.filename), f.lineno) for f in frames[1:4]))
    except Exception:
        traceback.print_exc(file=sys.stdout)
    for home in world.homes:
        crash = harness.CRASH.search(home.log())
        if crash:
            print("  -- CRASH of the node of %s: %s" % (home.name, home.log()[crash.start():crash.start() + 2500]))
            continue
        print("  -- log of %s: %s" % (home.name, "\n     ".join(home.log()[-3000:].splitlines()[-12:])))
    return 1


def run_apart(name, args):
    """Runs one scenario as a process in a folder of its own; everything in that folder is ended afterwards."""
    timeout = harness.SCENARIOS[name][1] * harness.SLOW
    folder = tempfile.mkdtemp(prefix="cam-run-%d-" % os.getpid())
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--one", name, "--bin", args.bin],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                               env=dict(os.environ, TMPDIR=folder), start_new_session=True)
    try:
        out, _ = process.communicate(timeout=timeout)
        status = process.returncode
    except subprocess.TimeoutExpired:
        process.kill()
        out, _ = process.communicate()
        out += b"no end within %d s\n" % timeout
        status = 1
    took = time.monotonic() - start
    harness.end_all(folder)
    if not args.keep:
        subprocess.run(["rm", "-rf", folder], check=False)
    else:
        out += b"  kept: " + folder.encode() + b"\n"
    return name, status, out.decode("utf-8", "replace"), took


def sweep():
    """What a run that was itself killed has left behind."""
    for folder in glob.glob(os.path.join(tempfile.gettempdir(), "cam-run-*")):
        owner = os.path.basename(folder).split("-")[2]
        if owner.isdigit() and not os.path.exists("/proc/" + owner):
            harness.end_all(folder)
            subprocess.run(["rm", "-rf", folder], check=False)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", default=os.environ.get("CAMELLIA_BIN", "build"))
    parser.add_argument("-j", type=int, default=2)
    parser.add_argument("-k", default="", help="only scenarios whose name has this in it")
    parser.add_argument("--times", type=int, default=1, help="each so often: to find what fails now and then")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--keep", action="store_true", help="leave the homes")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    load()
    if args.one:
        return run_one(args.one, args.bin, args.keep)
    names = [n for n in harness.SCENARIOS if args.k in n] * args.times
    if args.list:
        print("\n".join(names))
        return 0
    sweep()
    passed = failed = skipped = 0
    with concurrent.futures.ThreadPoolExecutor(max(args.j, 1)) as pool:
        for done in concurrent.futures.as_completed([pool.submit(run_apart, n, args) for n in names]):
            name, status, out, took = done.result()
            notes = [l[5:] for l in out.splitlines() if l.startswith("NOTE ")]
            word = {0: "ok  ", SKIPPED: "skip"}.get(status, "FAIL")
            print("  %s %-40s %6.1f s  %s" % (word, name, took, "; ".join(notes)), flush=True)
            if word == "FAIL":
                print("    " + "\n    ".join(l for l in out.splitlines() if not l.startswith("NOTE ")), flush=True)
            passed, failed, skipped = passed + (status == 0), failed + (word == "FAIL"), skipped + (word == "skip")
    print("%d passed, %d failed%s" % (passed, failed, ", %d skipped" % skipped if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
