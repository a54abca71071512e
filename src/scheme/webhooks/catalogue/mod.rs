//! The catalogue: a file for each sender of webhooks, with its documentation and its row.
//!
//! `senders.md` is made of the rows, by the tests of `table`.

#[macro_use]
mod row;

mod bitbucket;
mod dropbox;
mod github;
mod hubspot;
mod linear;
mod meta;
mod paddle;
#[cfg(test)]
mod rows;
mod shopify;
mod slack;
mod square;
mod standard_webhooks;
mod stripe;
mod zoom;

pub use bitbucket::Bitbucket;
pub use dropbox::Dropbox;
pub use github::GitHub;
pub use hubspot::HubSpot;
pub use linear::Linear;
pub use meta::Meta;
pub use paddle::Paddle;
#[cfg(test)]
pub(super) use rows::SENDERS;
pub use shopify::Shopify;
pub use slack::Slack;
pub use square::Square;
#[cfg(test)]
pub(super) use standard_webhooks::SVIX;
pub use standard_webhooks::StandardWebhooks;
pub use stripe::Stripe;
pub use zoom::Zoom;
