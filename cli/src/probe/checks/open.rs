//! The parts that the scheme leaves uncovered: said once, and not tried.

use crate::probe::lab::Lab;

pub(super) fn parts(lab: &Lab) -> Option<String> {
    let open = &lab.covered.open;
    (!open.is_empty()).then(|| format!("The signature does not cover: {}.", open.join(", ")))
}

pub(super) fn time(lab: &Lab) -> Option<String> {
    (!lab.covered.is_timed).then(|| {
        "The signature covers no time: anybody who captured a request can send it again once the \
         endpoint has forgotten it."
            .to_owned()
    })
}
