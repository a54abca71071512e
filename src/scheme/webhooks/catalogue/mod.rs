//! The catalogue: a file for each sender of webhooks, with its documentation and its row.
//!
//! This file and `rows.rs` are made of the other files of the folder, by `catalogue_tests`.

#[macro_use]
mod row;

mod rows;

pub(super) use rows::SENDERS;

mod asana;
mod bitbucket;
mod box_webhooks;
mod buildkite;
mod cal_com;
mod calendly;
mod circleci;
mod clerk;
mod coinbase_commerce;
mod contentful;
mod docusign;
mod dropbox;
mod github;
mod gitlab;
mod hubspot;
mod intercom;
mod jira;
mod lemon_squeezy;
mod line;
mod linear;
mod meta;
mod mux;
mod notion;
mod openai;
mod paddle;
mod pagerduty;
mod quickbooks;
mod razorpay;
mod resend;
mod sentry;
mod shopify;
mod slack;
mod square;
mod standard_webhooks;
mod stripe;
mod terraform_cloud;
mod trello;
mod typeform;
mod vercel;
mod woocommerce;
mod xero;
mod zendesk;
mod zoom;

pub use asana::Asana;
pub use bitbucket::Bitbucket;
pub use box_webhooks::BoxWebhooks;
pub use buildkite::Buildkite;
pub use cal_com::CalCom;
pub use calendly::Calendly;
pub use circleci::CircleCi;
pub use clerk::Clerk;
pub use coinbase_commerce::CoinbaseCommerce;
pub use contentful::Contentful;
pub use docusign::DocuSign;
pub use dropbox::Dropbox;
pub use github::GitHub;
pub use gitlab::GitLab;
pub use hubspot::HubSpot;
pub use intercom::Intercom;
pub use jira::Jira;
pub use lemon_squeezy::LemonSqueezy;
pub use line::Line;
pub use linear::Linear;
pub use meta::Meta;
pub use mux::Mux;
pub use notion::Notion;
pub use openai::OpenAi;
pub use paddle::Paddle;
pub use pagerduty::PagerDuty;
pub use quickbooks::QuickBooks;
pub use razorpay::Razorpay;
pub use resend::Resend;
pub use sentry::Sentry;
pub use shopify::Shopify;
pub use slack::Slack;
pub use square::Square;
pub use standard_webhooks::StandardWebhooks;
pub use stripe::Stripe;
pub use terraform_cloud::TerraformCloud;
pub use trello::Trello;
pub use typeform::Typeform;
pub use vercel::Vercel;
pub use woocommerce::WooCommerce;
pub use xero::Xero;
pub use zendesk::Zendesk;
pub use zoom::Zoom;
