#!/bin/bash
# The main job on real nodes, on this machine alone: five people, five nodes, a dead author, a follower that was
# away. Prints what it does as it goes; ends with 0 when everything was seen, and leaves nothing behind.
#
#   tests/demo.sh [BIN]      BIN: the folder with camellia and camelliad (default: build)
set -u
bin=$(cd "${1:-build}" 2>/dev/null && pwd) && [ -x "$bin/camellia" ] && [ -x "$bin/camelliad" ] ||
    { echo "demo: no camellia and camelliad in ${1:-build}: make first" >&2; exit 66; }
people=(ana bob carol dan erin)
homes=$(mktemp -d "${TMPDIR:-/tmp}/camellia-demo.XXXXXX") || exit 74
started=$SECONDS
export LC_ALL=C.UTF-8
unset XDG_RUNTIME_DIR
bold='' dim='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
    bold=$'\033[1m' dim=$'\033[2m' plain=$'\033[0m'
fi

# ---- running things ---------------------------------------------------------------------------------------

# The pid of someone's node, from its lock; empty when none runs.
pid_of() {
    local pid
    pid=$(cat "$homes/$1/lock" 2>/dev/null) || return 0
    [ -n "$pid" ] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$homes/$1" && echo "$pid"
}

finish() {
    local status=$? who pid
    trap - EXIT INT TERM
    for who in "${people[@]}"; do
        pid=$(pid_of "$who")
        [ -z "$pid" ] || kill "$pid" 2>/dev/null
    done
    for who in "${people[@]}"; do
        for _ in $(seq 50); do pid=$(pid_of "$who"); [ -n "$pid" ] || break; sleep 0.1; done
        [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null
    done
    rm -rf "$homes"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "${bold}demo: $*${plain}" >&2
    for who in "${people[@]}"; do
        [ -f "$homes/$who/camellia.log" ] && { echo "-- log of $who:"; tail -5 "$homes/$who/camellia.log"; } >&2
    done
    exit 1
}

step() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }

run() { local who=$1; shift; "$bin/camellia" --home "$homes/$who" "$@"; }

# Shows a command and what it prints; it must end well (or with 75: kept, done later).
as() {
    local who=$1 out status word shown=''
    shift
    for word in "$@"; do
        case $word in "$homes"/*) word=...;; *' '*) word="\"$word\"";; esac
        shown+=" $word"
    done
    printf '%s%s$ camellia%s%s\n' "$dim" "$who" "$shown" "$plain"
    out=$(run "$who" "$@" 2>&1 </dev/null)
    status=$?
    printf '%s\n' "$out" | sed "s/^/    /"
    [ $status -eq 0 ] || [ $status -eq 75 ] || fail "$who: camellia$shown ended with $status"
}

# Waits until somebody's timeline has so many posts; says how long that took.
wait_posts() {
    local who=$1 want=$2 have=0
    for _ in $(seq 100); do
        have=$(run "$who" --json timeline -n 100 2>/dev/null | grep -c '"text"')
        [ "$have" -ge "$want" ] && return 0
        sleep 0.1
    done
    fail "$who has $have posts, not $want"
}

wait_followers() {
    for _ in $(seq 100); do
        [ "$(run "$1" --json followers 2>/dev/null | grep -c '"user"')" -ge "$2" ] && return 0
        sleep 0.1
    done
    fail "$1 has fewer than $2 followers"
}

address_of() { run "$1" --json status | sed -n 's/.*"address":"\([^"]*\)".*/\1/p'; }

# ---- the story ----------------------------------------------------------------------------------------------

for who in "${people[@]}"; do
    mkdir -m 700 "$homes/$who" || exit 74
    # A cheap passphrase hash and no time servers: this is a demonstration on one machine.
    printf '[KEY]\nCOST = interactive\n[SNTP]\nACTIVE = 0\n[BOOTSTRAP]\nRESCUE = 0\n' >"$homes/$who/config.ini"
done
echo "a demonstration only" >"$homes/passphrase"

step "Five people register; each has a node of their own. The first is alone, the others join through it."
as ana register ana --listen 127.0.0.1:0 --passphrase-file "$homes/passphrase"
hub=$(address_of ana)
for who in bob carol dan erin; do
    as "$who" register "$who" --listen 127.0.0.1:0 --join "$hub" --passphrase-file "$homes/passphrase"
done
as bob peers

step "They follow one another. Follows are signed by the follower, so nobody can be made to follow."
for who in bob carol dan; do as "$who" follow ana; done
as ana follow bob
as carol follow bob
as dan follow bob
as bob follow erin
as carol follow erin
wait_followers ana 3
wait_followers bob 3
as ana followers

step "Posts travel from follower to follower."
as ana post "The camellias opened this morning." --wait
as bob post "New zine is out, come and get it." --wait
as erin post "Testing the fifth node. If you see this, say hi." --wait
wait_posts ana 2; wait_posts bob 3; wait_posts carol 3; wait_posts dan 2; wait_posts erin 1
for who in "${people[@]}"; do as "$who" timeline; done

step "dan goes away. ana posts three times meanwhile, and is then killed: SIGKILL, as a power cut would."
as dan logout
for n in one two three; do as ana post "While dan was away: $n"; done
wait_posts carol 6
pid=$(pid_of ana)
[ -n "$pid" ] || fail "ana's node is not there"
kill -KILL "$pid"
printf '%s$ kill -KILL %s   # the node of ana%s\n' "$dim" "$pid" "$plain"
for _ in $(seq 50); do [ -n "$(pid_of ana)" ] || break; sleep 0.1; done

step "dan comes back. The author is dead; bob and carol have her posts, signed, and hand them on."
as dan login --passphrase-file "$homes/passphrase"
wait_posts dan 5
as dan timeline
run dan --json timeline -n 100 | grep -q '"text":"While dan was away: three".*"via":"' ||
    fail "dan's copies did not come through another follower"
echo "    (via: the follower that dan got it from)"

step "ana comes back, with everything she had, and posts again."
as ana login --passphrase-file "$homes/passphrase"
as ana post "Back from the dead." --wait
for who in bob carol dan; do
    for _ in $(seq 100); do
        run "$who" --json timeline -n 100 2>/dev/null | grep -q 'Back from the dead' && break
        sleep 0.1
    done
    run "$who" --json timeline -n 100 | grep -q 'Back from the dead' || fail "$who did not get the last post"
done
as carol timeline -n 3

step "Whom might ana want to follow? Suggestions come from the people she follows."
for _ in $(seq 100); do [ -n "$(run ana --json suggest 2>/dev/null)" ] && break; sleep 0.1; done
as ana suggest
[ -n "$(run ana --json suggest)" ] || fail "no suggestions for ana"

step "Profiles say how complete and how fresh one's copy is."
as ana profile
as dan profile ana
as dan status

step "Everybody logs out; the nodes end."
for who in "${people[@]}"; do as "$who" logout; done
for who in "${people[@]}"; do [ -z "$(pid_of "$who")" ] || fail "the node of $who is still there"; done
printf '\n%sAll of it was seen, in %d s.%s\n' "$bold" "$((SECONDS - started))" "$plain"
