#!/bin/bash
# Everything `make test` promises, on both compilers: layers, unit tests, the simulator's seeds, the fuzzers'
# seeds, end-to-end scenarios on real processes, conformance to the BEPs and other clients. Ends with the sum, "N passed, N failed".
#
#   tests/all.sh BUILD [CC...]        default compilers: gcc clang
set -u
cd "$(dirname "$0")/.." || exit 2
build=$1; shift
compilers=${*:-gcc clang}
jobs=$(nproc)
passed=0 failed=0
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT

# run NAME COMMAND...: shows the output and adds up its last "N passed, N failed" line.
run() {
    local name=$1 start=$SECONDS; shift
    echo "== $name"
    "$@" 2>&1 | tee "$log/out"
    local status=${PIPESTATUS[0]} line
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$log/out" | tail -n 1)
    if [ -n "$line" ]; then
        local p=${line%% *} f=${line#*, }; f=${f%% *}
        # A part that failed without counting it (a crash, a time-out) counts as one.
        [ "$status" -ne 0 ] && [ "$f" -eq 0 ] && f=1
        passed=$((passed + p)) failed=$((failed + f))
    elif [ "$status" -eq 0 ]; then passed=$((passed + 1))
    else failed=$((failed + 1)); fi
    echo "-- $name: $((SECONDS - start)) s"
}

run "layers" tests/layers.sh
run "map" tests/map.sh
first=
for cc in $compilers; do
    run "build with $cc, warnings are errors, sanitizers on" \
        make --no-print-directory -j"$jobs" CC="$cc" PROFILE=sanitize BUILD="$build" unit-build programs sim-build hostile-build attacks-build
    run "unit tests, $cc" tests/run.sh unit "$build/$cc-sanitize"
    run "simulator, $cc" "$build/$cc-sanitize/tests/sim" --seeds
    run "network at scale, $cc" "$build/$cc-sanitize/tests/scale" --seeds
    run "a large set, $cc" "$build/$cc-sanitize/tests/sets" --seeds
    run "hostile peers, $cc" "$build/$cc-sanitize/tests/attacks" --seeds
    [ -n "$first" ] || first=$cc
done
run "fuzzers over their seeds" make --no-print-directory fuzz BUILD="$build" FUZZ_SECONDS=1
run "end to end, $first" /usr/bin/python3 tests/e2e/run.py --bin "$build/$first-sanitize"
run "conformance, $first" /usr/bin/python3 tests/conform/run.py --bin "$build/$first-sanitize"
echo "took $SECONDS s"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
