//! The trait of schemes cannot be implemented: what it asks for cannot be named.

use countersign::scheme::Describe;

fn main() {}
