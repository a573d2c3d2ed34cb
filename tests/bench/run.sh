#!/bin/bash
# The table of budgets: every row beside its floor or peer, measured in this run.
#
#   tests/bench/run.sh OUT
set -eu
out=$1
printf '%-4s %-46s %22s %22s %9s  %-22s %s\n' row what "measured (p10-p90)" "beside (p10-p90)" ratio budget reached
figures=$(mktemp)
trap 'rm -f "$figures"' EXIT
missed=0
run() { "$@" || missed=1; } # a row out of reach does not end the table
run "$out/tests/bench/bench_kad" "$figures"
/usr/bin/python3 tests/bench/bench_libtorrent.py "$figures" || true # its figures are beside ours, no more
run "$out/tests/bench/bench_memory"
run "$out/tests/bench/bench_idle"
run "$out/tests/bench/bench_follows"
run "$out/tests/bench/bench_scale"
run "$out/tests/bench/bench_attacks"
run "$out/tests/bench/bench_node" "$out"
run "$out/tests/bench/bench_store"
exit $missed
