#!/usr/bin/env bash
# Every interleaving of a few threads at the memory store, by loom. Only the packages of this
# repository are compiled with the flag for it: what they depend on is shared with the other tests.
set -euo pipefail

# Cargo calls this script as the compiler of these packages, and names the real one first.
if (($# > 0)); then
    exec "$@" --cfg countersign_loom
fi
cd "$(dirname "$0")/.."
RUSTC_WORKSPACE_WRAPPER=$PWD/tests/interleavings.sh \
    cargo test --locked --workspace --all-features --lib -- store::memory::interleavings
