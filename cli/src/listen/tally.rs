//! How many requests of which kind there were.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::record::Record;
use crate::printer::{Printer, Span};

#[derive(Debug, Default)]
pub(crate) struct Tally {
    requests: u64,
    of_word: BTreeMap<&'static str, u64>,
    of_code: BTreeMap<&'static str, u64>,
    forwarded: u64,
    unanswered: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, record: &Record) {
        self.requests += 1;
        *self.of_word.entry(record.verdict.word()).or_default() += 1;
        if let Some(code) = record.verdict.code() {
            *self.of_code.entry(code).or_default() += 1;
        }
        if let Some(upstream) = &record.upstream {
            self.forwarded += 1;
            self.unanswered += u64::from(upstream.answer.is_err());
        }
    }

    /// Prints the summary.
    pub(crate) fn print(&self, printer: &Printer) {
        let of_word = self.of_word.iter();
        let words: Vec<String> = of_word.map(|(word, n)| format!("{n} {word}")).collect();
        let requests = match self.requests {
            1 => "1 request".to_owned(),
            n => format!("{n} requests"),
        };
        let mut line = vec![Span::strong(format!("\n{requests}"))];
        if !words.is_empty() {
            line.push(Span::plain(format!(": {}", words.join(", "))));
        }
        if self.forwarded > 0 {
            let n = self.forwarded;
            line.push(Span::plain(format!("; {n} forwarded")));
        }
        if self.unanswered > 0 {
            let n = self.unanswered;
            line.push(Span::bad(format!(", {n} without an answer")));
        }
        printer.line(line);
        for (code, n) in &self.of_code {
            printer.line([Span::faint(format!("  {n:5} {code}"))]);
        }
        printer.object(&self.object());
    }

    fn object(&self) -> Value {
        json!({
            "version": 1,
            "summary": {
                "requests": self.requests,
                "verdicts": self.of_word,
                "codes": self.of_code,
                "forwarded": self.forwarded,
                "without_answer": self.unanswered,
            },
        })
    }
}
