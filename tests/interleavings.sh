#!/usr/bin/env bash
# Every interleaving of a few threads at the memory store, by loom. Only this crate is compiled with
# the flag for it: what it depends on is shared with the other tests.
set -euo pipefail
cd "$(dirname "$0")/.."

built=$(cargo rustc --locked --all-features --lib --profile test --message-format json-render-diagnostics \
    -- --cfg countersign_loom)
program=$(sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' <<<"$built" | tail -1)
"$program" store::memory::interleavings
