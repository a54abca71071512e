#!/bin/sh
# Counts instructions for each request with valgrind, which has no SHA extensions: hashing counts as
# it does on a processor without them. Beside the whole is the number without the compression
# functions of the hashes.
set -eu
cd "$(dirname "$0")"
cargo build --release --bin profile
out=$(mktemp)
trap 'rm -f "$out"' EXIT
place=0
while name=$(valgrind --tool=callgrind --callgrind-out-file="$out" \
    --toggle-collect='countersign_benches::profiled*' ./target/release/profile "$place" 2>&1 |
    grep '1000 requests'); do
    total=$(sed -n 's/^\(summary\|totals\): //p' "$out" | head -n 1)
    hashing=$(callgrind_annotate --auto=no --threshold=100 "$out" |
        awk '/sha2::.*compress|hmac_sha256::(W|State)::/ { gsub(",", "", $1); sum += $1 } END { printf "%d", sum }')
    echo "${name%%: *}: $((total / 1000)) instructions for each request," \
        "$(((total - hashing) / 1000)) without compression" >&2
    place=$((place + 1))
done
