//! The rows on what RFC 9421 has beside.
