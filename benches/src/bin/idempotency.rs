//! An intention that is answered for once, on the memory store, above the same verified router
//! without the layer.

use countersign_benches::{
    Must,
    idempotency::{new_key, stored, without},
    measure, row,
};

fn main() {
    let contenders = [without(), new_key(), stored()];
    let [without, new_key, stored] =
        measure("idempotency, 1 KiB", 2000, contenders).map(|time| time.min);
    row(
        "idempotency, new key, above the router without it",
        new_key - without,
        ("limit", 1500.0),
        Must::AtMost(1.0),
    );
    row(
        "idempotency, stored answer of 1 KiB, above the router without it",
        stored - without,
        ("limit", 1000.0),
        Must::AtMost(1.0),
    );
}
