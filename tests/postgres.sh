#!/usr/bin/env bash
# PostgreSQL servers of the tests' own, each in a folder that must not exist yet and on a socket there:
#   tests/postgres.sh start FOLDER             starts it and prints its URL
#   tests/postgres.sh stop FOLDER              stops it and removes the folder
#   tests/postgres.sh kill FOLDER              ends it at once, as in a crash
#   tests/postgres.sh again FOLDER [SETTING]   starts it again, with a setting
#   tests/postgres.sh pause|resume FOLDER      stops all its processes where they are; lets them go on
#   tests/postgres.sh cramp|ease FOLDER        lets no file of it grow beyond 20 MB; takes that back
#   tests/postgres.sh standby FOLDER PRIMARY   a copy of PRIMARY as it is, which waits and gets no more
#   tests/postgres.sh promote FOLDER           makes a primary of it
#   tests/postgres.sh dump FOLDER DATABASE     dumps it to a file in FOLDER
#   tests/postgres.sh restore FOLDER DATABASE OPTION   restores that dump, with an option of pg_restore
#   tests/postgres.sh backup FOLDER            makes a base backup in FOLDER
#   tests/postgres.sh rewind FOLDER            puts that backup in the place of the server, and starts it
#   tests/postgres.sh bouncer FOLDER SERVER    PgBouncer in transaction mode; prints its URL
#   tests/postgres.sh unbounce FOLDER          stops it and removes the folder
# PostgreSQL does not run as root, which becomes `nobody` for it.
set -euo pipefail

(($# >= 2 && $# <= 4)) || {
    sed -n '2,17s/^# //p' "$0" >&2
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

make_folder() {
    mkdir "$folder"
    folder=$(realpath "$folder")
    [ "$(id -u)" != 0 ] || chown nobody:nogroup "$folder"
}

logged() {
    # Nobody waits for its output: it would hold the caller's pipe open.
    unprivileged "$@" >"$folder.log" 2>&1 </dev/null || {
        cat "$folder.log" "$folder/log" >&2
        exit 1
    }
}

run() {
    logged "$programs/pg_ctl" -D "$folder/data" -l "$folder/log" --wait start -o \
        "-c listen_addresses= -c unix_socket_directories=$folder -c max_connections=300 ${1:+-c $1}"
}

signal() {
    local main
    main=$(head -1 "$folder/data/postmaster.pid")
    # shellcheck disable=SC2046
    kill "-$1" "$main" $(ps -o pid= --ppid "$main")
}

# For the connections that are made from now on.
limit() {
    unprivileged prlimit --pid "$(head -1 "$folder/data/postmaster.pid")" --fsize="$1:"
}

case $1 in
start)
    make_folder
    logged "$programs/initdb" -D "$folder/data" -U postgres --auth=trust \
        --encoding=UTF8 --locale=C.UTF-8
    run
    echo "postgres://postgres@localhost/postgres?host=$folder"
    ;;
kill) unprivileged "$programs/pg_ctl" -D "$folder/data" --mode=immediate --wait stop >/dev/null ;;
again) run "${3:-}" ;;
pause) signal STOP ;;
resume) signal CONT ;;
cramp) limit $((20 << 20)) ;;
ease) limit unlimited ;;
standby)
    make_folder
    logged "$programs/pg_basebackup" --host="$(realpath "$3")" --username=postgres \
        --pgdata="$folder/data" --checkpoint=fast
    unprivileged touch "$folder/data/standby.signal"
    run
    ;;
promote) logged "$programs/pg_ctl" -D "$folder/data" --wait promote ;;
dump) logged "$programs/pg_dump" -h "$folder" -U postgres -Fc -f "$folder/dump" "$3" ;;
restore) logged "$programs/pg_restore" -h "$folder" -U postgres -d "$3" "$4" "$folder/dump" ;;
backup)
    logged "$programs/pg_basebackup" --host="$folder" --username=postgres \
        --pgdata="$folder/backup" --checkpoint=fast
    ;;
rewind)
    unprivileged "$programs/pg_ctl" -D "$folder/data" --mode=immediate --wait stop >/dev/null
    rm -rf "$folder/data"
    mv "$folder/backup" "$folder/data"
    run
    ;;
stop)
    unprivileged "$programs/pg_ctl" -D "$folder/data" --mode=immediate --wait stop >/dev/null || true
    rm -rf "$folder" "$folder.log"
    ;;
bouncer)
    make_folder
    cat >"$folder/ini" <<INI
[databases]
* = host=$(realpath "$3") port=5432 user=postgres
[pgbouncer]
unix_socket_dir = $folder
listen_port = 5432
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 500
logfile = $folder/log
pidfile = $folder/pid
INI
    logged "$(command -v pgbouncer || echo /usr/sbin/pgbouncer)" --daemon "$folder/ini"
    # It is there before its socket is.
    for _ in {1..100}; do
        [ ! -S "$folder/.s.PGSQL.5432" ] || break
        sleep 0.1
    done
    echo "postgres://postgres@localhost/postgres?host=$folder"
    ;;
unbounce)
    kill "$(cat "$folder/pid")" || true
    rm -rf "$folder" "$folder.log"
    ;;
esac
