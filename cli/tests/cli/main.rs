//! The command as a person types it: what it prints, and its exit code.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may fail"
)]

mod audit;
mod audit_bounds;
mod audit_fixes;
mod bad_input;
mod browser;
mod certified;
mod explain;
mod help;
mod http2_upstream;
mod inspector;
mod keep;
mod listen;
mod listening;
mod packaged;
mod peers;
mod pictures;
#[path = "../../../tests/common/ports.rs"]
mod ports;
mod probe;
mod probe_bounds;
mod probe_hostile;
mod probe_late;
mod probe_reports;
mod probed;
mod probed_axum;
mod proxied;
mod proxy_apps;
mod proxy_attacks;
mod proxy_bounds;
mod proxy_budgets;
mod proxy_config;
mod proxy_forwarders;
mod proxy_http2;
mod proxy_interim;
mod proxy_load;
mod proxy_observed;
mod proxy_operations;
mod proxy_samples;
mod proxy_settings;
mod proxy_sign;
mod proxy_signed;
mod proxy_stores;
mod proxy_systemd;
mod proxy_tls;
mod proxy_upstream;
mod replay;
mod round_trip;
mod schemes;
mod send;
mod session;
mod store;
mod terminal;
mod tried;
mod upstream;
