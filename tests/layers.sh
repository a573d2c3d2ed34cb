#!/bin/bash
# Checks from the includes that dependencies run one way, core <- kad <- timeline <- cli, that a folder is
# entered from outside only through its facade headers, and that only io_* files, cli/ and tests reach I/O.
set -u
cd "$(dirname "$0")/.." || exit 2
declare -A rank=([core]=0 [kad]=1 [timeline]=2 [cli]=3)
facades=" kad/kad.h timeline/timeline.h timeline/link.h timeline/store.h "
bad=0
complain() { echo "layers: $1"; bad=$((bad + 1)); }
count=0
while IFS=: read -r file _ include; do
    count=$((count + 1))
    header=${include#*\"}; header=${header%%\"*}
    from=${file%%/*} to=${header%%/*}
    case $header in */*) ;; *) complain "$file includes \"$header\": name the folder"; continue;; esac
    [ "${rank[$to]:-9}" -le "${rank[$from]:-9}" ] || complain "$file includes $header: $from may not know $to"
    if [ "$from" != "$to" ] && [ "$to" != core ]; then
        case "$facades" in *" $header "*) ;; *)
            case $from/${header##*/} in cli/io_*) ;; *) complain "$file includes $header: only a facade of $to/ is open";; esac;;
        esac
    fi
    case ${header##*/} in io_*)
        case $file in cli/*|*/io_*) ;; *) complain "$file includes $header: I/O belongs at the edge";; esac;;
    esac
done < <(grep -n '^ *# *include *"' core/*.[ch] kad/*.[ch] timeline/*.[ch] cli/*.[ch] 2>/dev/null)
# System headers that mean I/O, in files that must be pure.
while IFS=: read -r file _ include; do
    complain "$file has $include: I/O belongs in an io_ file"
done < <(grep -nE '^ *# *include *<(sys/socket|netinet|arpa|sys/epoll|zmq|czmq|sqlite3|fcntl|sys/stat|sys/random|poll)[./h>]' \
         core/*.[ch] kad/*.[ch] timeline/*.[ch] 2>/dev/null | grep -vE '^[a-z]+/io_')
while IFS=: read -r file _ line; do
    complain "$file asks a clock or the kernel: $line"
done < <(grep -nE '\b(clock_gettime|gettimeofday|time\(NULL\)|randombytes_buf\(|randombytes_random\(|getrandom)\b' \
         core/*.[ch] kad/*.[ch] timeline/*.[ch] 2>/dev/null | grep -vE '^[a-z]+/io_')
[ "$bad" -eq 0 ] && echo "layers: $count includes, one way"
exit $((bad > 0))
