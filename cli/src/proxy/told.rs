//! The library's warnings and errors become lines of the proxy's log.

use std::fmt::Debug;

use countersign::RejectionKind;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry,
};

use super::{outlet::Outlet, words::in_file_words};

/// Hands warnings and errors of the library on.
struct Told(Outlet);

/// Hands the library's warnings and errors on from now on.
pub(crate) fn listen(outlet: Outlet) {
    let subscriber = registry().with(Told(outlet));
    // Another one is there in tests alone.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

impl<S: Subscriber> Layer<S> for Told {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        // Each refusal is a line of the access log already.
        *metadata.level() <= Level::WARN && metadata.target().starts_with("countersign")
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.0.notice(format!("{}{}", text.message, text.fields));
    }
}

/// The advice on a refusal in the words of a configuration, if that of the library names its methods.
fn advice(kind: RejectionKind) -> Option<&'static str> {
    Some(match kind {
        RejectionKind::HandlersExhausted => {
            "Look for a server behind the proxy that hangs or is slow."
        }
        RejectionKind::BodyBudgetExhausted => {
            "Raise `body-bytes` in [limits] if there is memory; otherwise look for slow or large \
             bodies in flight."
        }
        RejectionKind::StoreFull => "Give the store more capacity, or shorten `max-age`.",
        RejectionKind::StoreMisconfigured => {
            "Waiting does not help. The reason says what is wrong. If it names two retentions, give \
             all routes of the namespace the same `max-age`, or give the route another store."
        }
        RejectionKind::ServiceNotReady => {
            "Find out what makes the server behind the proxy slow, or raise its `requests` or its \
             `connect-timeout`."
        }
        RejectionKind::SignAgain => {
            "Nothing to do for some seconds after a start: senders sign again. To serve at once after \
             a restart, write `memory:FILE` in place of `memory`, or choose a store that survives \
             restarts; for a new service, there is `countersign store migrate STORE \
             --danger-assume-no-history`. If it goes on, compare the clocks."
        }
        _ => return None,
    })
}

#[derive(Default)]
struct Text {
    message: String,
    kind: Option<RejectionKind>,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(&in_file_words(value)),
            "code" => {
                let mut kinds = RejectionKind::ALL.iter().copied();
                self.kind = kinds.find(|kind| kind.code() == value);
                self.fields.push_str(&format!(", code: {value}"));
            }
            "advice" => {
                let advice = self.kind.and_then(advice).unwrap_or(value);
                self.fields.push_str(&format!(", advice: {advice}"));
            }
            name => {
                let value = in_file_words(value);
                self.fields.push_str(&format!(", {name}: {value}"));
            }
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let value = in_file_words(&format!("{value:?}"));
        match field.name() {
            "message" => self.message.push_str(&value),
            name => self.fields.push_str(&format!(", {name}: {value}")),
        }
    }
}
