//! When each copy left and was answered, drawn to scale.

use maud::{Markup, html};

use crate::probe::finding::Exchange;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 120.0;
const ROW: f64 = 18.0;

/// Steps of the axis, in microseconds: about six fit.
fn step(longest: f64) -> f64 {
    let mut step = 1.0;
    while longest / step > 8.0 {
        step *= if longest / step > 20.0 { 10.0 } else { 2.0 };
    }
    step
}

fn shown(micros: f64) -> String {
    match micros {
        0.0 => "0".to_owned(),
        micros if micros < 1000.0 => format!("{micros:.0} µs"),
        micros if micros < 1_000_000.0 => format!("{} ms", micros / 1000.0),
        micros => format!("{} s", micros / 1_000_000.0),
    }
}

#[allow(clippy::cast_precision_loss, reason = "it is drawn")]
fn float(number: u64) -> f64 {
    number as f64
}

/// The copies that were counted, a row each; nothing if no times are known.
pub(super) fn timeline(exchanges: &[Exchange]) -> Markup {
    let rows: Vec<(&Exchange, f64, f64)> = exchanges
        .iter()
        .filter(|exchange| !exchange.is_setup)
        .filter_map(|exchange| {
            Some((
                exchange,
                float(exchange.left_us?),
                float(exchange.answered_us?),
            ))
        })
        .collect();
    let longest = rows
        .iter()
        .map(|(.., answered)| *answered)
        .fold(1.0, f64::max);
    let scale = (WIDTH - LEFT - 20.0) / longest;
    let x = |micros: f64| format!("{:.2}", LEFT + micros * scale);
    let step = step(longest);
    let mut ticks = vec![0.0];
    while let Some(last) = ticks.last().filter(|last| **last + step <= longest) {
        ticks.push(last + step);
    }
    let mut tops = Vec::new();
    let mut bottom = 6.0;
    for _ in &rows {
        tops.push(bottom);
        bottom += ROW;
    }
    if rows.is_empty() {
        return html! {};
    }
    html! {
        figure.timeline {
            svg viewBox=(format!("0 0 {WIDTH} {}", bottom + 26.0)) role="img"
                aria-label="When each copy left and was answered" {
                @for tick in &ticks {
                    line.tick x1=(x(*tick)) x2=(x(*tick)) y1="2" y2=(bottom + 4.0) {}
                    text.scale x=(x(*tick)) y=(bottom + 18.0) text-anchor="middle" { (shown(*tick)) }
                }
                @for ((at, (exchange, left, answered)), top) in (1..).zip(&rows).zip(&tops) {
                    text.copy x=(LEFT - 10.0) y=(top + 12.0) text-anchor="end" {
                        (at) " · " (exchange.status.map_or_else(|| "none".to_owned(), |status| status.to_string()))
                    }
                    rect class=(if exchange.accepted { "accepted" } else { "refused" })
                        x=(x(*left)) y=(top + 2.0) height=(ROW - 5.0) rx="2"
                        width=(format!("{:.2}", ((answered - left) * scale).max(1.5))) {
                        title { "left after " (left) " µs, answered after " (answered) " µs" }
                    }
                }
            }
            figcaption {
                "Each bar begins when the last byte of a copy left, and ends when its answer came."
                span.key { span.accepted {} " accepted " span.refused {} " refused" }
            }
        }
    }
}
