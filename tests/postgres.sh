#!/usr/bin/env bash
# A PostgreSQL server of the tests' own, in a folder that must not exist yet and on a socket there:
#   tests/postgres.sh start FOLDER    starts it and prints its URL
#   tests/postgres.sh stop FOLDER     stops it and removes the folder
# PostgreSQL does not run as root, which becomes `nobody` for it.
set -euo pipefail

(($# == 2)) || {
    sed -n '2,5s/^# //p' "$0" >&2
    exit 2
}
folder=$2

programs=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -1)
[ -x "$programs/initdb" ] || programs=$(dirname "$(command -v initdb)")

unprivileged() {
    if [ "$(id -u)" = 0 ]; then
        (cd / && setpriv --reuid=nobody --regid=nogroup --clear-groups -- "$@")
    else
        "$@"
    fi
}

case $1 in
start)
    mkdir "$folder"
    folder=$(realpath "$folder")
    [ "$(id -u)" != 0 ] || chown nobody:nogroup "$folder"
    unprivileged "$programs/initdb" -D "$folder/data" -U postgres --auth=trust \
        --encoding=UTF8 --locale=C.UTF-8 >"$folder.log" 2>&1 || {
        cat "$folder.log" >&2
        exit 1
    }
    options="-c listen_addresses= -c unix_socket_directories=$folder -c max_connections=300"
    # Nobody waits for its output: it would hold the caller's pipe open.
    unprivileged "$programs/pg_ctl" -D "$folder/data" -l "$folder/log" -o "$options" \
        --wait start >"$folder.log" 2>&1 </dev/null || {
        cat "$folder.log" "$folder/log" >&2
        exit 1
    }
    echo "postgres://postgres@localhost/postgres?host=$folder"
    ;;
stop)
    unprivileged "$programs/pg_ctl" -D "$folder/data" --mode=immediate --wait stop >/dev/null || true
    rm -rf "$folder" "$folder.log"
    ;;
esac
