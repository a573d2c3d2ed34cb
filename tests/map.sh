#!/bin/bash
# Two things that documents promise: the map in README.md names every file, and no file that there is not; and every
# vector of docs/protocol.md is read by a unit test.
set -u
cd "$(dirname "$0")/.." || exit 2
bad=0
complain() { echo "map: $1"; bad=$((bad + 1)); }

# Folders that the map goes into, and what stands there as the map writes it: sources without their ending.
folders="core kad timeline cli tests etc docs"
there() {
    local path name
    for path in "$1"/*; do
        name=${path##*/}
        [ -d "$path" ] && name=$name/
        case $name in *.c | *.h) name=${name%.[ch]} ;; __pycache__/) continue ;; esac
        echo "$1 $name"
    done
}
# A heading "    core/   ..." at four spaces, its files below it at six.
mapped() {
    sed -n '/^### Map$/,/^### /p' README.md | awk '/^    [a-z]+\//{ folder = $1; sub("/", "", folder) } /^      [^ ]/{ print folder, $1 }'
}
while read -r folder name; do
    complain "README.md does not have $folder/$name"
done < <(comm -23 <(for f in $folders; do there "$f"; done | sort -u) <(mapped | sort -u))
while read -r folder name; do
    complain "README.md has $folder/$name, which is not there"
done < <(comm -13 <(for f in $folders; do there "$f"; done | sort -u) <(mapped | sort -u))
while read -r folder name; do
    complain "README.md has $folder/$name twice"
done < <(mapped | sort | uniq -d)
while read -r line; do
    [ -n "$line" ] && complain "README.md: $line is said of nothing"
done < <(sed -n '/^### Map$/,/^### /p' README.md | awk '/^      [^ ]/ && NF < 2 { print $1 }')

vectors=0
while read -r name; do
    vectors=$((vectors + 1))
    # The table of link messages makes the names of its vectors.
    grep -qF -e "\"$name\"" -e "\"${name%%-*}-%s\"" tests/unit/*.c ||
        complain "docs/protocol.md: no unit test reads the vector $name"
done < <(sed -nE 's/^    ([a-z0-9-]+) = [0-9a-f]+$/\1/p' docs/protocol.md)
[ "$vectors" -gt 0 ] || complain "docs/protocol.md has no vectors"
files=$(mapped | wc -l)
[ "$bad" -eq 0 ] && echo "map: $files files, $vectors vectors"
exit $((bad > 0))
