#!/bin/sh
# Installs what Camellia needs to be built, from Debian (or a relative with apt and dpkg).
#
#   etc/install-deps.sh           to build and run
#   etc/install-deps.sh --test    and what its tests need
#   etc/install-deps.sh --list    only names what is missing, installs nothing; exit status 1 when something is
#
# Does nothing, quickly, when nothing is missing. Needs root or sudo only when something is. --test brings
# chrony, for its chronyd: Debian lets it take the place of another time service on this machine.
set -eu

build="gcc make libc6-dev pkg-config libzmq3-dev libsodium-dev libjansson-dev libsqlite3-dev
       libncurses-dev libinih-dev libutf8proc-dev libbsd-dev libmd-dev"
test="clang libclang-rt-dev libcmocka-dev chrony libfaketime python3 python3-libtorrent aria2
      nftables iproute2 tmux"

wanted=$build
list_only=
for arg in "$@"; do
    case $arg in
        --test) wanted="$build $test" ;;
        --list) list_only=yes ;;
        -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) echo "install-deps.sh: unknown argument $arg (there are --test and --list)" >&2; exit 64 ;;
    esac
done

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    cat >&2 <<'END'
install-deps.sh knows only Debian's packages. Camellia needs, with their headers:
  a C11 compiler (gcc or clang), GNU make, pkg-config,
  libzmq 4.3, libsodium, jansson, SQLite 3, ncurses (wide), inih, utf8proc, libbsd, libmd;
  for its tests also clang with compiler-rt, cmocka, chrony, libfaketime, python3, libtorrent
  for it, aria2, nftables, iproute2, tmux.
END
    exit 1
fi

missing=
installed=" $(dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | tr '\n' ' ')"
for package in $wanted; do
    case $installed in
        *" $package "*) ;;
        *) missing="$missing $package" ;;
    esac
done
missing=${missing# }
[ -n "$missing" ] || exit 0
if [ -n "$list_only" ]; then
    echo "$missing"
    exit 1
fi

if [ "$(id -u)" -eq 0 ]; then
    as_root=
elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root=sudo
else
    echo "install-deps.sh: these packages are missing, and neither root nor sudo is at hand to install them:" >&2
    echo "  $missing" >&2
    echo "Have them installed, as root:  apt-get install $missing" >&2
    exit 1
fi

echo "install-deps.sh: installing $missing"
apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 "$@"
}
install() {
    # shellcheck disable=SC2086 # a list of packages
    apt install --no-install-recommends $missing
}
# A fresh machine has no lists; old ones name packages that are gone.
# shellcheck disable=SC2086
if ! apt-cache show $missing >/dev/null 2>&1 || ! install; then
    apt update
    install
fi
