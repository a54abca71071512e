#!/usr/bin/env bash
# Runs all tests, on any Debian machine that has the Rust toolchain: what else they need is
# installed, and no service of the system is started. Writes to `target` and to a temporary folder
# only.
set -euo pipefail
cd "$(dirname "$0")/.."

cat <<'END'
All tests take about 20 minutes on two cores once they are built, and longer the first time. They need
up to 10 GB in `target`, and less than 1 GB in a temporary folder.
END

. tests/servers.sh
# A test that expects a panic prints it; where it comes from is of no use then.
export RUST_BACKTRACE=0

# The output of the tests and examples is kept, and is looked through in the end. It goes to a file first:
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

# The same, of which only what runs is shown, and all of it if it fails.
watched() {
    local output status=0 watcher
    local lines='^ +(Compiling countersign|Running|Doc-tests)|^test result:|^skipped:|FAILED$'
    output=$(mktemp --tmpdir="$COUNTERSIGN_SAID")
    # Ends with this script at the latest.
    tail --pid=$$ -n +1 -f "$output" 2>/dev/null > >(grep --line-buffered -E "$lines") &
    watcher=$!
    "$@" >"$output" 2>&1 || status=$?
    sleep 1 # for the last lines to be shown
    kill "$watcher"
    ((status == 0)) || cat "$output"
    return $status
}

# Most tests wait, for servers and for time.
export RUST_TEST_THREADS=$(($(nproc) * 4))
# With the command, so that both share what they depend on.
run "Tests" watched cargo test --locked --workspace --all-features -- --show-output
run "Interleavings" tests/interleavings.sh
# The two without features share what they depend on; what nobody counts need not be fast.
released=(cargo test --locked --no-default-features --profile as-released)
run "Constant time and costs, as released" \
    "${released[@]}" --test house -- constant_time:: counts::
run "Without features" "${released[@]}" --config profile.as-released.opt-level=0 --lib
# The tests build them all but one, which has tests of its own and is built as such. With the libraries
# of all packages, whose features decide how the dependencies of all are built: without them, most would be
# built once more.
run "Examples build" cargo build --locked --workspace --all-features --lib --examples
example() {
    local name=$1
    shift
    kept "${CARGO_TARGET_DIR:-target}/debug/examples/$name" "$@"
}
run "Quickstart" example quickstart
run "Service to service" example service_to_service
run "Confirmation link" example confirmation_link
run "Fleet, on Redis" example fleet
run "Fleet, on PostgreSQL" example fleet "$COUNTERSIGN_POSTGRES_URL"
run "Plain hyper" example hyper_server
run "gRPC" example grpc
run "Tower alone" example tower_service
run "Keys in a database" example keys_in_a_database
run "Transfer, on SQLite" example transfer
run "Transfer, on PostgreSQL" example transfer "$COUNTERSIGN_POSTGRES_URL"
run "Queue, on SQLite" example queue
run "Queue, on PostgreSQL" example queue "$COUNTERSIGN_POSTGRES_URL"
run "What was said" cargo test --locked --workspace --all-features --lib --test house -- \
    said:: --nocapture
