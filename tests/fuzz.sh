#!/bin/bash
# Runs every fuzzer for a while, each from its own seeds (tests/fuzz/seeds/NAME).
#
#   tests/fuzz.sh OUT SECONDS            libFuzzer, of the profile fuzz
#   tests/fuzz.sh --seeds OUT SECONDS    any other build: the seeds, and these cut short and changed
#
# A crash leaves its input under OUT/tests/fuzz/crash-NAME-*. Ends with "N passed, N failed".
set -u
cd "$(dirname "$0")/.." || exit 2
seeds_only=
if [ "$1" = --seeds ]; then seeds_only=yes; shift; fi
out=$1 seconds=$2
passed=0 failed=0
for bin in "$out"/tests/fuzz/fuzz_*; do
    case $bin in *.o|*.d) continue;; esac
    [ -x "$bin" ] || continue
    name=${bin##*/fuzz_}
    if [ -n "$seeds_only" ]; then command=("$bin" "$seconds" "tests/fuzz/seeds/$name")
    else
        corpus=$out/tests/fuzz/corpus-$name
        mkdir -p "$corpus"
        command=("$bin" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
                 -artifact_prefix="$out/tests/fuzz/crash-$name-" "$corpus" "tests/fuzz/seeds/$name")
    fi
    if timeout $((seconds + 60)) "${command[@]}" >"$out/tests/fuzz/$name.log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/tests/fuzz/$name.log")
        printf '  %-20s %9s runs\n' "$name" "${runs:-?}"
        passed=$((passed + 1))
    else
        tail -n 40 "$out/tests/fuzz/$name.log"
        printf '  %-20s FAILED\n' "$name"
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
