//! Rules about the signed time.

use super::{
    added,
    look::{Hit, Look},
    memory,
    window::{Window, windows},
};
use crate::audit::{
    flow::{CallAt, RegionKind, What},
    mac, mac_made,
    project::each_expr,
    span::Span,
    tree::{Expr, Kind},
    values::{At, Go},
    words,
};

pub(super) fn own_clock(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for check in look.checks.iter().filter(|it| !mac::is_own(look.flow, it)) {
        let clock = check
            .message
            .iter()
            .find_map(|piece| signed_clock(look, *piece));
        if let Some(clock) = clock {
            hits.push(look.hit(
                (clock, "this machine's clock is what is taken as signed"),
                (check.at, "and the MAC is checked over it"),
                "the signed time is the verifier's own: the request names none, and can be sent again \
                 for as long as this clock shows the same",
            ));
        }
    }
    hits
}

/// Returns the clock in a message, unless it is only the default of a time that was not given.
fn signed_clock<'a>(look: &Look<'_, 'a>, piece: At<'a>) -> Option<At<'a>> {
    let mut found = None;
    look.flow.sources(piece, &mut |it| match &it.val.expr.kind {
        Kind::Logic(_) | Kind::Choice(_) => Go::Past,
        Kind::Call(call) if words::is_clock(call) => {
            if is_default(look, it.step) {
                return Go::Past;
            }
            found = Some(it);
            Go::Stop
        }
        _ => Go::Deeper,
    });
    found
}

/// `if timestamp is None: timestamp = …`
fn is_default(look: &Look<'_, '_>, set: u32) -> bool {
    let Some(step) = look.flow.step(set) else {
        return false;
    };
    let What::Set { target, .. } = &step.what else {
        return false;
    };
    let groups: Vec<u32> = look
        .flow
        .around(step.region)
        .filter_map(|(_, it)| match it.kind {
            RegionKind::Branch { group, .. } => Some(group),
            _ => None,
        })
        .collect();
    let asks = |test: &Expr<'_>| {
        let mut asks = false;
        test.walk(&mut |it| asks |= it.dotted().is_some() && it.dotted() == target.dotted());
        asks
    };
    look.flow.steps().any(|(_, step)| {
        matches!(step.what, What::Test(test, group) if groups.contains(&group) && asks(test))
    })
}

/// The window of a flow that checks a MAC and compares one time only one way.
pub(super) fn one_sided(look: &Look<'_, '_>) -> Vec<Hit> {
    let Some(check) = look.checks.first() else {
        return Vec::new();
    };
    let windows = windows(look);
    let [window] = windows.as_slice() else {
        return Vec::new();
    };
    let signed = check
        .message
        .iter()
        .any(|piece| signed_time(look, *piece).is_some());
    if window.is_two_sided || window.is_end || !signed || is_own(look, check.at) {
        return Vec::new();
    }
    vec![look.hit(
        (window.at, "the time is compared on one side only"),
        (check.at, "and the MAC is checked here"),
        "a time far in the future passes: the request stays fresh for as long as its sender likes",
    )]
}

/// Returns whether a check is of a token that the service itself has made: the time in it is its
/// own.
fn is_own(look: &Look<'_, '_>, check: At<'_>) -> bool {
    let frame = look.flow.frames.get(check.val.frame as usize);
    let function = frame.and_then(|it| it.function);
    let mut names = function
        .into_iter()
        .flat_map(|it| it.class.into_iter().chain([it.name]));
    names.any(|it| words::has_word(it, &["csrf", "token", "cookie", "session", "link"]))
}

/// A time in the message that came with the request.
fn signed_time<'a>(look: &Look<'_, 'a>, piece: At<'a>) -> Option<At<'a>> {
    look.flow.find(piece, |it| match &it.val.expr.kind {
        Kind::Name(name) | Kind::Member(_, name) => words::is_time(name),
        Kind::Text(text) => words::has_word(text, &["timestamp"]) && text.len() < 50,
        _ => false,
    })
}

pub(super) fn never_checked(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    let is_end = look.is_handler || !look.flow.project.is_called(look.flow.root);
    let Some(check) = look.checks.first() else {
        return hits;
    };
    // Another method of the class may compare the time.
    let is_method = look.flow.function.class.is_some() && !look.is_handler;
    if !is_end || flow_reads_clock(look) || is_method && file_reads_clock(look) {
        return hits;
    }
    let Some(time) = check
        .message
        .iter()
        .find_map(|piece| signed_time(look, *piece))
    else {
        return hits;
    };
    // Handed to something that we do not see: it may compare the time.
    let is_handed_on = look.flow.calls().any(|call| {
        let plain = [
            "int",
            "str",
            "float",
            "encode",
            "format",
            "new",
            "update",
            "dumps",
            "digest",
            "get",
            "join",
            "compare_digest",
            "bytes",
            "Mac",
            "debug",
            "info",
            "warning",
            "error",
            "print",
            "to_str",
            "chain_update",
            "JsonResponse",
        ];
        !plain.contains(&call.call.last())
            && !call.call.is_macro
            && look.flow.helper_of(call.val).is_none()
            && call
                .call
                .args
                .iter()
                .any(|arg| matches!(arg.value.kind, Kind::Name(name) if words::is_time(name)))
    });
    let says_so = look.mentions(&[
        "tolerance",
        "max_age",
        "too old",
        "expired",
        "skew",
        "stale",
        "fresh",
    ]);
    if !is_handed_on && !says_so {
        hits.push(look.hit(
            (check.at, "the MAC is checked here"),
            (time, "over a time that nothing compares with a clock"),
            "the signed time is never compared: a request that was recorded once is good for ever",
        ));
    }
    hits
}

/// Returns whether an expression reads the clock, and not for a record of when something happened.
fn reads_clock(expr: &Expr<'_>, stamps: &mut Vec<Span>) -> bool {
    match &expr.kind {
        Kind::Record(pairs) => stamps.extend(pairs.iter().map(|it| it.1.span)),
        Kind::Call(call) => {
            let is_stamp = |name: &str| name.ends_with("_at");
            let args = call.args.iter().filter(|it| it.name.is_some_and(is_stamp));
            stamps.extend(args.map(|it| it.value.span));
        }
        _ => {}
    }
    let span = expr.span;
    expr.call().is_some_and(words::is_clock)
        && !stamps
            .iter()
            .any(|it| it.start <= span.start && span.end <= it.end)
}

fn flow_reads_clock(look: &Look<'_, '_>) -> bool {
    look.flow.steps().any(|(_, step)| {
        let mut reads = false;
        step.each(&mut |root| {
            let mut stamps = Vec::new();
            root.expr
                .walk(&mut |it| reads |= reads_clock(it, &mut stamps));
        });
        reads
    })
}

fn file_reads_clock(look: &Look<'_, '_>) -> bool {
    let file = look.flow.project.files.get(look.flow.root.file);
    let (mut stamps, mut reads) = (Vec::new(), false);
    each_expr(file.map_or(&[], |it| &it.tree.body), &mut |it| {
        reads |= look.flow.fuel.burn(1) && reads_clock(it, &mut stamps);
    });
    reads
}

/// A handler that checks a window, changes something, and remembers nothing.
pub(super) fn no_memory(look: &Look<'_, '_>) -> Vec<Hit> {
    let Some(check) = look.checks.first() else {
        return no_memory_of_an_event(look);
    };
    let end = |it: &Window<'_>| it.is_end || it.width.is_some() || it.is_two_sided;
    let windows = windows(look);
    // A time can also be a part of the key.
    let pieces: Vec<At<'_>> = check.message.iter().chain(&check.key).copied().collect();
    let is_signed = |it: &Window<'_>| shares_a_name(look, it.at, &pieces);
    let Some(window) = windows.iter().find(|it| end(it) && is_signed(it)) else {
        return Vec::new();
    };
    let is_end = look.is_handler || !look.flow.project.is_called(look.flow.root);
    let has_nonce = check.message.iter().any(|piece| {
        look.flow
            .find(*piece, |it| matches!(it.val.expr.kind, Kind::Text(text) if words::has_word(text, &["nonce"])))
            .is_some()
    });
    let change = look.flow.calls().find(|call| {
        call.step > check.at.step
            && words::changes(call.call)
            && added::adds_up(look, call)
            && !feeds_mac(look, call)
            && !names_its_event(look, call)
            && look.flow.reaches(check.at.step, call.step)
            && !look.is_log(call.val.frame)
    });
    let remembers = memory::remembers(look) || !has_nonce && look.mentions_in_code(&words::MEMORY);
    if !is_end || remembers {
        return Vec::new();
    }
    let Some(change) = change else {
        return Vec::new();
    };
    if !look.is_handler || is_own(look, check.at) {
        return Vec::new();
    }
    vec![look.hit(
        (window.at, "within this window the request is good"),
        (
            look.at(change),
            "and each time it comes, this happens again",
        ),
        "nothing remembers that the request was used: within the window it can be sent again",
    )]
}

/// An event of Stripe, which is good for five minutes, adds to a number.
fn no_memory_of_an_event(look: &Look<'_, '_>) -> Vec<Hit> {
    let verifies =
        |it: &&CallAt<'_>| mac::is_event_of_stripe(it.call) && it.call.named("tolerance").is_none();
    let Some(check) = look.flow.calls().find(verifies) else {
        return Vec::new();
    };
    let event = look.at(check);
    let change = added::to_a_number(look, event);
    let remembers = || memory::remembers(look) || look.mentions_in_code(&words::MEMORY);
    match change.filter(|_| look.is_handler && !remembers()) {
        Some(change) => vec![look.hit(
            (event, "the event is good for five minutes"),
            (change, "and each time it comes, this happens again"),
            "nothing remembers that the event was used: it can be sent again, and its sender \
             repeats it when an answer is late",
        )],
        None => Vec::new(),
    }
}

/// Returns whether a comparison is about something that is in the signed message.
fn shares_a_name<'a>(look: &Look<'_, 'a>, compared: At<'a>, message: &[At<'a>]) -> bool {
    let names = |at: At<'a>| {
        let mut names = Vec::new();
        look.flow.sources(at, &mut |it| {
            if let Kind::Name(_) | Kind::Member(..) | Kind::Text(_) = it.val.expr.kind {
                names.push(look.flow.text(it.val));
            }
            Go::Deeper
        });
        names
    };
    let compared = names(compared);
    let mut message = message.iter().flat_map(|piece| names(*piece));
    message.any(|name| !name.is_empty() && compared.contains(&name))
}

/// `h.update(…)`, where `h` is a MAC.
fn feeds_mac<'a>(look: &Look<'_, 'a>, call: &CallAt<'a>) -> bool {
    call.call.last() == "update"
        && call.call.receiver().is_some_and(|it| {
            mac_made::is_constructor(look.flow.resolved(look.piece(call, it)).val.expr)
        })
}

/// Returns whether a call passes on the id of the event, so that the callee can find duplicates.
fn names_its_event(look: &Look<'_, '_>, call: &CallAt<'_>) -> bool {
    let text = look.flow.text(call.val);
    words::has_word(
        text,
        &["event[\"id\"]", "event['id']", "event_id", "event.id"],
    )
}
