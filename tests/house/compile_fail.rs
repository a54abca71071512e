//! What must not compile does not: a payload that is forged, a stage that is skipped, repeated,
//! copied or made by hand, a scheme from outside, a nonce outside of a transaction.

mod in_order;

#[test]
fn the_stages_in_order_compile() {
    in_order::all();
}

/// In one test, for they share a build.
#[test]
fn what_would_break_the_order_of_the_stages_does_not_compile() {
    let cases = trybuild::TestCases::new();
    for case in [
        "copied_stages",
        "forged_payload",
        "forged_stages",
        "forged_verified",
        "non_exhaustive",
        "read_pending",
        "repeated_stages",
        "sealed_scheme",
        "skipped_stages",
    ] {
        cases.compile_fail(format!("tests/house/compile_fail/{case}.rs"));
    }
    // The message names what implements a trait, which goes by features.
    if cfg!(all(feature = "postgres", feature = "sqlite")) {
        cases.compile_fail("tests/house/compile_fail/autocommit.rs");
    }
}
