#!/usr/bin/env bash
# Runs some of the tests with as many cases as a review has, instead of the few that each change can
# wait for: the same code with a larger number, and with what `tests/run.sh` installs.
#   tests/long.sh collisions         requests that share a signed message
#   tests/long.sh json               canonical JSON against Python and Node
#   tests/long.sh signature-inputs   `Signature-Input` against implementations in three languages
#   tests/long.sh leases             several who ask for one lease, on every store
#   tests/long.sh processing         requests given up, and processes killed, at any moment
#   tests/long.sh intentions         claims on the keys of answers, on every store, and processes killed
#   tests/long.sh patterns           the pages of the guide: clients at once against checks and uses
#   tests/long.sh files              files that are swapped and overwritten while they are served
#   tests/long.sh probe              planted faults in four frameworks, and their mended twins
#   tests/long.sh proxy              connections to the proxy that are slow, all at one time
#   tests/long.sh wire               HTTP/1 and HTTP/2 as no client should send them
#   tests/long.sh languages          signers in seven languages, Go and Java among them
#   tests/long.sh mutants            faults in the library that its tests must notice; this takes days
# With another number of cases: COUNTERSIGN_CASES=N tests/long.sh NAME
set -euo pipefail
cd "$(dirname "$0")/.."

# The number of cases, where none was asked for, and the tests.
tests() {
    local cases=${COUNTERSIGN_CASES:-$1} output=$scratch/output
    shift
    run "$cases cases" env COUNTERSIGN_CASES="$cases" \
        cargo test --locked --workspace --all-features "$@" --show-output | tee "$output"
    # A test that has another name today is no test that passed.
    grep -q '^test result: ok\. [1-9]' "$output"
}

case ${1:-} in
collisions | intentions | json | languages | signature-inputs | leases | processing | patterns | files | probe | proxy | wire) . tests/servers.sh ;;
mutants)
    if ! cargo mutants --version; then
        echo "install it first: cargo install --locked cargo-mutants" >&2
        exit 1
    fi
    . tests/servers.sh
    ;;
*)
    sed -n 's/^# *tests.long.sh \([a-z]\)/\1/p' "$0" >&2
    exit 2
    ;;
esac

case $1 in
collisions)
    tests 22620 --lib -- header::tests::exhaustive::all_short
    tests 40000 --lib -- no_two_requests_share_a_message what_is_signed_verifies_once
    ;;
json) tests 100000 --test schemes -- _writes_the_same_bytes_ ;;
signature-inputs)
    tests 100300 --lib -- _reads_each_signature_input_
    tests 20000 --lib -- rfc9421::grammar_tests::any_
    ;;
leases)
    tests 1000 --test attacks -- a35_of_several_at_random
    tests 20000 --test stores -- memory_model::the_memory_store_answers
    ;;
processing)
    tests 2000 --test attacks -- given_up_at_random
    tests 40 --test stores -- killed_under_load
    ;;
probe)
    tests 100 --test cli -- faults_of_
    tests 50 --lib -- held_back
    ;;
intentions)
    tests 1000 --test stores -- answers_history
    tests 20 --test stores -- answers_crash
    ;;
patterns) tests 10000 --test patterns -- ;;
proxy) tests 1000 --test cli -- proxy_bounds::slow_connections ;;
files) tests 100000 --test layer -- files::races:: ;;
wire) tests 2000 --test attacks -- wire:: ;;
languages)
    run "Go and Java" tests/install.sh "go version" golang-go "java --version" default-jdk-headless
    tests 1 --test schemes -- languages::
    ;;
mutants)
    # All faults of the two folders that decide, and a sample of the others, the same each time. The first
    # binary that notices a fault is the last one to run. `missed.txt` names the faults that none notices.
    mutate() {
        cargo mutants --package countersign --all-features --output "target/mutants/$1" "${@:2}" \
            -- --lib --test schemes --test layer --test attacks --test stores || status=$?
    }
    status=0
    mutate proof --file 'src/proof/**'
    mutate once --file 'src/once/**'
    mutate others --exclude 'src/{proof,once}/**' --sharding round-robin --shard 0/34
    exit $status
    ;;
esac
