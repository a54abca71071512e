#!/bin/sh
# Builds and runs every benchmark, and ends with one table: what was measured, ours, the peer or
# limit, their ratio, what must be reached, and whether it is. All other measurements go to
# standard error.
set -eu
cd "$(dirname "$0")"
cargo build --release --bins
# `proxied` runs the command as it is released.
cargo build --release --locked --manifest-path ../Cargo.toml --package countersign-cli
rows=$(mktemp)
trap 'rm -f "$rows"' EXIT
for source in src/bin/*.rs; do
    name=$(basename "$source" .rs)
    [ "$name" = profile ] || "./target/release/$name" >>"$rows"
done
if command -v valgrind >/dev/null; then
    ./instructions.sh
else
    echo "instructions: not counted, for there is no valgrind" >&2
fi
printf '\n'
{
    printf 'row\tours\tpeer or limit\tratio\tmust reach\tverdict\n'
    cat "$rows"
} | column -t -s "$(printf '\t')"
