//! Sending a recorded request again to the server that `--forward` names, and to no other.

use bytes::Bytes;
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::text;
use crate::listen::{Copy, Record, Resigner, Target, copies, shown};

const MAX_COPIES: u16 = 256;

/// How much of an answer is shown.
const EXCERPT: usize = 200;

/// The target and the secret of replays.
#[derive(Debug)]
pub(super) struct Replays {
    target: Option<Target>,
    resigner: Option<Resigner>,
    one_at_a_time: Semaphore,
}

/// The body of the page's POST.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    copies: u16,
    sign_again: bool,
    /// Whether the person says that a refused request shall be sent all the same.
    #[serde(default)]
    refused: bool,
}

impl Replays {
    pub(super) fn new(target: Option<Target>, resigner: Option<Resigner>) -> Self {
        Self {
            target,
            resigner,
            one_at_a_time: Semaphore::new(1),
        }
    }

    /// The server that requests are sent to.
    pub(super) fn target(&self) -> Option<String> {
        self.target.as_ref().map(Target::url)
    }

    pub(super) fn can_sign(&self) -> bool {
        self.resigner.is_some()
    }

    /// Sends a record again, as the body of a POST says.
    pub(super) async fn replay(
        &self,
        record: &Record,
        body: &Bytes,
    ) -> Result<Markup, (StatusCode, String)> {
        let refused = |status, why: &str| (status, why.to_owned());
        let wanted: Wanted = serde_json::from_slice(body)
            .map_err(|_| refused(StatusCode::BAD_REQUEST, "the page is of another version"))?;
        if !(1..=MAX_COPIES).contains(&wanted.copies) {
            return Err(refused(
                StatusCode::BAD_REQUEST,
                "between 1 and 256 copies can be sent",
            ));
        }
        let Some(target) = &self.target else {
            return Err(refused(
                StatusCode::CONFLICT,
                "start countersign listen with --forward to send requests again",
            ));
        };
        let Ok(_permit) = self.one_at_a_time.try_acquire() else {
            return Err(refused(
                StatusCode::CONFLICT,
                "another request is being sent again: wait for its answer",
            ));
        };
        if record.cut().is_some() {
            return Err(refused(
                StatusCode::CONFLICT,
                "not all of the body was recorded",
            ));
        }
        if wanted.sign_again && !record.is_authentic() {
            return Err(refused(
                StatusCode::CONFLICT,
                "only a request with a good signature is signed again: a stranger may have written \
                 this one",
            ));
        }
        if record.verdict.word() == "refused" && !wanted.refused {
            return Err(refused(
                StatusCode::CONFLICT,
                "this request was refused: tick the box below the buttons to send it all the same",
            ));
        }
        let event_id = record.event_id();
        let request = || match (&self.resigner, wanted.sign_again) {
            (_, false) => Ok(record.request.clone()),
            (Some(resigner), true) => {
                resigner.sign(&record.request, record.key_id(), event_id.as_deref())
            }
            (None, true) => Err("there is no secret to sign with".to_owned()),
        };
        let requests: Result<Vec<_>, String> = (0..wanted.copies).map(|_| request()).collect();
        let requests = requests.map_err(|why| (StatusCode::CONFLICT, why))?;
        let answered = copies(target, requests).await;
        Ok(table(&answered, wanted.sign_again))
    }
}

fn table(answered: &[Copy], is_signed_again: bool) -> Markup {
    let accepted = answered.iter().filter(|copy| copy.is_accepted()).count();
    let how = match is_signed_again {
        true => "signed again",
        false => "as it was recorded",
    };
    html! {
        p { strong { "Accepted: " (accepted) " of " (answered.len()) } ", " (how) }
        @if accepted > 1 {
            p.hint {
                "An application that answers a duplicate with success may still have acted once: "
                "look at what it did."
            }
        }
        div.scrolling tabindex="0" role="region" aria-label="Answers" {
            table {
                thead { tr { th scope="col" { "Copy" } th scope="col" { "Status" } th scope="col" { "Took" } th scope="col" { "Answer" } } }
                tbody {
                    @for (at, copy) in (1..).zip(answered) {
                        tr {
                            td { (at) }
                            @match &copy.answer {
                                Ok(answer) => {
                                    td.(if copy.is_accepted() { "good" } else { "bad" }) { (answer.status) }
                                    td { (shown(copy.took)) }
                                    td { code { (text::line(answer.body.get(..EXCERPT).unwrap_or(&answer.body).trim_ascii())) } }
                                }
                                Err(why) => {
                                    td.bad { "no answer" }
                                    td { (shown(copy.took)) }
                                    td { (text::line(why.as_bytes())) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
