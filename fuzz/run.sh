#!/usr/bin/env bash
# Runs every fuzz target, for a minute in total, or for as many seconds as are asked for: as many
# targets at once as there are processors, each for the seconds that it would have had alone.
set -euo pipefail
cd "$(dirname "$0")"

targets=(targets/*.rs)
seconds=$((${1:-60} / ${#targets[@]}))
cargo build --locked --release --bins

# The output of a target is shown once the target has ended.
fuzz() {
    local output status=0
    output=$(cargo run --locked --quiet --release --bin "$1" -- \
        -max_total_time="$2" -verbosity=0 -print_funcs=0 -print_final_stats=1 2>&1) || status=$?
    printf '\n=== %s: %s s\n%s\n' "$1" "$2" "$output"
    return "$status"
}
export -f fuzz
basename --multiple --suffix=.rs "${targets[@]}" |
    xargs -P "$(nproc)" -I{} bash -c 'fuzz "$@"' - {} "$seconds"
