//! The list of schemes, secrets for each, and scheme files.

use crate::session::Session;

#[test]
fn every_scheme_is_listed() {
    let session = Session::new();
    insta::assert_snapshot!(session.run("countersign scheme list"));
}
