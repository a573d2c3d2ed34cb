#!/bin/bash
# Runs the test programs of one kind, as many at a time as there are processors, and adds up their cases.
#
#   tests/run.sh [--short] unit OUT [NAME]     every OUT/tests/unit/test_* (or the ones ending in _NAME)
#
# --short leaves out the few that live through days of virtual time: they take more than all others together.
# Prints one line a program, the whole output of a program that failed, and at the end
# "N passed, N failed". Exit status 1 when anything failed or nothing ran.
set -u
long=
if [ "$1" = --short ]; then long=" test_kad_lasting test_kad_setread test_timeline_catchup test_timeline_publish "; shift; fi
kind=$1 out=$2 name=${3:-}
export ASAN_OPTIONS=allow_user_segv_handler=0:detect_leaks=1
export UBSAN_OPTIONS=print_stacktrace=1
export CMOCKA_MESSAGE_OUTPUT=STDOUT
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# One program: its output in LOGS/NAME, its status in LOGS/NAME.status.
run_one() {
    local log=$1/$(basename "$2")
    timeout 120 "$2" >"$log" 2>&1
    echo $? >"$log.status"
}
export -f run_one

programs=()
for bin in "$out"/tests/"$kind"/test_*; do
    case $bin in *.o|*.d) continue;; esac
    case $long in *" ${bin##*/} "*) continue;; esac
    case $bin in *_"$name") ;; *) [ -z "$name" ] || continue;; esac
    [ -f "$bin" ] && [ -x "$bin" ] && programs+=("$bin")
done
[ ${#programs[@]} -eq 0 ] ||
    printf '%s\0' "${programs[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -c 'run_one "$0" "$1"' "$logs"

passed=0 failed=0
for bin in "${programs[@]}"; do
    log=$logs/$(basename "$bin")
    status=$(cat "$log.status")
    ok=$(grep -c '^\[       OK \]' "$log")
    bad=$(grep '^\[  FAILED  \] [a-zA-Z_0-9]*$' "$log" | sort -u | wc -l)
    # A crash or a leak fails the program even where cmocka counted no failed case.
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    if [ "$status" -ne 0 ] || [ "$ok" -eq 0 ]; then
        [ "$bad" -gt 0 ] || bad=1
        cat "$log"
    fi
    printf '  %-40s %4d passed, %d failed\n' "$(basename "$bin")" "$ok" "$bad"
    passed=$((passed + ok)) failed=$((failed + bad))
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
