//! The page: one document, with its style and script in it.

use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The page's policy allows these two, by their hashes.
pub(super) const STYLE: &str = include_str!("style.css");
pub(super) const SCRIPT: &str = include_str!("script.js");

/// The facts that the page shows around the requests.
pub(super) struct Frame<'s> {
    pub(super) scheme: &'s str,
    pub(super) listening: &'s str,
    pub(super) target: Option<String>,
    pub(super) token: &'s str,
}

const VERDICTS: [(&str, &str); 4] = [
    ("", "All"),
    ("verified", "Verified"),
    ("refused", "Refused"),
    ("duplicate", "Duplicates"),
];

pub(super) fn page(frame: &Frame<'_>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                meta name="token" content=(frame.token);
                title { "countersign · " (frame.scheme) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#details" { "Skip to the request" }
                header {
                    h1 { "countersign" }
                    dl {
                        div { dt { "Scheme" } dd { (frame.scheme) } }
                        div { dt { "Listening on" } dd { code { (frame.listening) } } }
                        div {
                            dt { "Forwards to" }
                            dd {
                                @match &frame.target {
                                    Some(target) => code { (target) },
                                    None => span.muted { "no server" },
                                }
                            }
                        }
                    }
                    p #state.state role="status" { "connecting" }
                }
                main {
                    section.list aria-label="Requests" {
                        form #filter role="search" {
                            label for="search" {
                                "Search " span.muted { "head, body, reason or #12" }
                            }
                            input #search type="search" autocomplete="off" spellcheck="false"
                                aria-keyshortcuts="/";
                            fieldset {
                                legend.hidden { "Verdict" }
                                @for (value, label) in VERDICTS {
                                    label {
                                        input type="radio" name="verdict" value=(value) checked[value.is_empty()];
                                        span { (label) }
                                    }
                                }
                            }
                        }
                        p #count.muted {}
                        div.rows {
                            ol #rows reversed {}
                            p #empty hidden {}
                            button #older type="button" hidden { "Show older requests" }
                        }
                    }
                    article #details tabindex="-1" aria-label="Request" {
                        div.welcome {
                            h2 { "Choose a request" }
                            p { "The list is live: each request appears as it comes." }
                            dl.keys {
                                div { dt { kbd { "↑" } " " kbd { "↓" } } dd { "move through the list" } }
                                div { dt { kbd { "Enter" } } dd { "go to the request" } }
                                div { dt { kbd { "/" } } dd { "search" } }
                                div { dt { kbd { "Esc" } } dd { "back to the list" } }
                            }
                        }
                    }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}
