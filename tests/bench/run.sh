#!/bin/bash
# The table of budgets: every row beside its floor or peer, measured in this run.
#
#   tests/bench/run.sh OUT
set -eu
out=$1
printf '%-4s %-46s %22s %22s %9s  %-22s %s\n' row what "measured (p10-p90)" "beside (p10-p90)" ratio budget reached
"$out/tests/bench/bench_kad"
"$out/tests/bench/bench_scale"
"$out/tests/bench/bench_node" "$out"
"$out/tests/bench/bench_store"
