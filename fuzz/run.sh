#!/usr/bin/env bash
# Runs every fuzz target, for a minute in total, or for as many seconds as are asked for.
set -euo pipefail
cd "$(dirname "$0")"

targets=(targets/*.rs)
seconds=$((${1:-60} / ${#targets[@]}))
for target in "${targets[@]}"; do
    name=$(basename "$target" .rs)
    printf '\n=== %s: %s s\n' "$name" "$seconds"
    cargo run --locked --release --bin "$name" -- \
        -max_total_time="$seconds" -verbosity=0 -print_funcs=0 -print_final_stats=1
done
