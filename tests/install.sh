#!/usr/bin/env bash
# Installs the Debian packages that are missing, without starting their services. Takes pairs: a command that succeeds where the
# package is there, and the package.
set -euo pipefail

missing=()
while (($#)); do
    sh -c "$1" >/dev/null 2>&1 || missing+=("$2")
    shift 2
done
((${#missing[@]})) || exit 0

fail() {
    echo "$1; install by hand: ${missing[*]}" >&2
    exit 1
}
command -v apt-get >/dev/null || fail "this is no Debian machine"
as_root=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || fail "packages are missing, and this is neither root nor sudo"
    as_root=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
# Packages start their services when they are installed, unless this says no. The tests start servers
# of their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi
"${as_root[@]}" apt-get update -q </dev/null || fail "apt-get update failed"
"${as_root[@]}" apt-get install -qy --no-install-recommends "${missing[@]}" </dev/null ||
    fail "apt-get install failed"
