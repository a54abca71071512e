//! Every row that has a preset of its own, in the order of the table.

use super::{
    super::sender::Sender, bitbucket::BITBUCKET, dropbox::DROPBOX, github::GITHUB,
    hubspot::HUBSPOT, linear::LINEAR, meta::META, paddle::PADDLE, shopify::SHOPIFY, slack::SLACK,
    square::SQUARE, standard_webhooks::STANDARD_WEBHOOKS, stripe::STRIPE, zoom::ZOOM,
};

pub(in super::super) static SENDERS: &[&Sender] = &[
    &STANDARD_WEBHOOKS,
    &STRIPE,
    &PADDLE,
    &SLACK,
    &ZOOM,
    &LINEAR,
    &GITHUB,
    &BITBUCKET,
    &SHOPIFY,
    &META,
    &HUBSPOT,
    &SQUARE,
    &DROPBOX,
];
