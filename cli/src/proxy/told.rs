//! What the library says while the proxy runs: its warnings and errors become lines of the log.

use std::fmt::{Debug, Write as _};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry,
};

use super::outlet::Outlet;

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

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            name => self.fields.push_str(&format!(", {name}: {value}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, ", {name}: {value:?}"),
        };
        // A text takes whatever is written to it.
        let _ = written;
    }
}
