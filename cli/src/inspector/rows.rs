//! Rows of the list.

use std::sync::Arc;

use maud::{Markup, html};

use super::text;
use crate::{
    listen::{Record, bytes},
    time,
};

/// Rows that are sent at once.
pub(super) const PAGE: usize = 200;

/// Rows, in the order of the records.
pub(super) fn rows<'r>(records: impl Iterator<Item = &'r Arc<Record>>) -> Markup {
    html! { @for record in records { (row(record)) } }
}

fn row(record: &Record) -> Markup {
    let word = record.verdict.word();
    let time = time::show(record.at);
    html! {
        li {
            button.row type="button" data-id=(record.id) {
                span.verdict.(word) { (word) }
                span.request {
                    span.method { (text::line(record.method().as_bytes())) } " "
                    bdi.target { (text::line(record.target().as_bytes())) }
                    @if let Some(code) = record.verdict.code() { span.code { (code) } }
                }
                span.facts {
                    span { "#" (record.id) " · " time datetime=(time) { (clock(&time)) } }
                    span { (record.status.as_u16()) " · " (bytes(record.request.body().len())) }
                }
            }
        }
    }
}

/// The time of day, in UTC.
pub(super) fn clock(time: &str) -> &str {
    time.get(11..19).unwrap_or(time)
}
