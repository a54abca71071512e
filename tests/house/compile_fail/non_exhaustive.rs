//! The types that stores exchange can grow: they are neither written out nor matched without a rest.

use countersign::{error::StoreErrorKind, store::{Claim, ClaimOutcome, StoreFuture}};

fn claim(claim: Claim) {
    let Claim {} = claim;
}

fn future(future: StoreFuture<'_, ClaimOutcome>) {
    let StoreFuture(_) = future;
}

fn claimed(claimed: ClaimOutcome) {
    match claimed {
        ClaimOutcome::New | ClaimOutcome::Replayed => {}
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
