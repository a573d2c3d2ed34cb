#!/bin/bash
# Everything `make test` promises: layers; build and unit tests with both compilers (the few long ones with the first);
# then, with what the first of them built, the simulators' seeds, the fuzz targets' seeds, end-to-end scenarios on real
# processes, conformance to the BEPs and other clients. Ends with the sum, "N passed, N failed".
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

# tally NAME STATUS SECONDS OUTPUT: adds up its last "N passed, N failed" line.
tally() {
    local line p f
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$4" | tail -n 1)
    if [ -n "$line" ]; then
        p=${line%% *} f=${line#*, }; f=${f%% *}
        # A part that failed without counting it (a crash, a time-out) counts as one.
        [ "$2" -ne 0 ] && [ "$f" -eq 0 ] && f=1
        passed=$((passed + p)) failed=$((failed + f))
    elif [ "$2" -eq 0 ]; then passed=$((passed + 1))
    else failed=$((failed + 1)); fi
    echo "-- $1: $3 s"
}

# run NAME COMMAND...: shows the output as it comes.
run() {
    local name=$1 start=$SECONDS; shift
    echo "== $name"
    "$@" 2>&1 | tee "$log/out"
    tally "$name" "${PIPESTATUS[0]}" $((SECONDS - start)) "$log/out"
}

# start NAME COMMAND...: beside what else has been started, until finish waits for all and shows what each printed.
names=()
start() {
    local out="$log/${#names[@]}"
    names+=("$1"); shift
    { SECONDS=0; "$@" >"$out" 2>&1; echo "$? $SECONDS" >"$out.end"; } &
}

finish() {
    local i status took
    wait
    for i in "${!names[@]}"; do
        read -r status took <"$log/$i.end"
        echo "== ${names[i]}"
        cat "$log/$i"
        tally "${names[i]}" "$status" "$took" "$log/$i"
    done
    names=()
}

run "layers" tests/layers.sh
run "map" tests/map.sh
first=
for cc in $compilers; do
    run "build with $cc, warnings are errors, sanitizers on" \
        make --no-print-directory -j"$jobs" CC="$cc" PROFILE=sanitize BUILD="$build" \
        unit-build programs sim-build hostile-build attacks-build fuzz-build
    run "unit tests, $cc" tests/run.sh ${first:+--short} unit "$build/$cc-sanitize"
    [ -n "$first" ] || first=$cc
done
out=$build/$first-sanitize
start "simulator" "$out/tests/sim" --seeds
start "network at scale" "$out/tests/scale" --seeds
start "a large set" "$out/tests/sets" --seeds
start "hostile peers" "$out/tests/attacks" --seeds
finish
run "fuzz targets over their seeds" tests/fuzz.sh --seeds "$out" 2
run "end to end" /usr/bin/python3 tests/e2e/run.py --bin "$out" -j 3
run "conformance" /usr/bin/python3 tests/conform/run.py --bin "$out"
echo "took $SECONDS s"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
