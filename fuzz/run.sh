#!/usr/bin/env bash
# Runs every fuzz target, for a minute in total, or for as many seconds as are asked for: as many
# targets at once as there are processors, each for the seconds that it would have had alone.
# Each begins with its inputs in `corpus`. `./run.sh SECONDS FOLDER` keeps the new ones in that folder.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
found=$(realpath -- "${2:-$scratch}")
cd "$(dirname "$0")"
export found

targets=(targets/*.rs)
seconds=$((${1:-60} / ${#targets[@]}))
cargo build --locked --release --bins

# libFuzzer writes to the first folder alone. The output of a target is shown once the target has ended.
fuzz() {
    local output status=0
    mkdir -p "$found/$1" "corpus/$1"
    output=$(cargo run --locked --quiet --release --bin "$1" -- \
        -max_total_time="$2" -verbosity=0 -print_funcs=0 -print_final_stats=1 \
        "$found/$1" "corpus/$1" 2>&1) || status=$?
    printf '\n=== %s: %s s\n%s\n' "$1" "$2" "$output"
    return "$status"
}
export -f fuzz
basename --multiple --suffix=.rs "${targets[@]}" |
    xargs -P "$(nproc)" -I{} bash -c 'fuzz "$@"' - {} "$seconds"
