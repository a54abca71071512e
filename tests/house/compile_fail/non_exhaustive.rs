//! What stores exchange can grow: it is neither written out nor matched without a rest.

use countersign::{Claim, Claimed, StoreErrorKind, StoreFuture};

fn claim(claim: Claim) {
    let Claim {} = claim;
}

fn future(future: StoreFuture<'_, Claimed>) {
    let StoreFuture(_) = future;
}

fn claimed(claimed: Claimed) {
    match claimed {
        Claimed::New | Claimed::Replayed => {}
    }
}

fn error(kind: StoreErrorKind) {
    match kind {
        StoreErrorKind::Unavailable
        | StoreErrorKind::Full
        | StoreErrorKind::KeyOverQuota
        | StoreErrorKind::TooManyPlaces
        | StoreErrorKind::SignAgain
        | StoreErrorKind::Misconfigured => {}
    }
}

fn main() {}
