//! Rules about files.

use super::{
    look::{Hit, Look},
    mend,
};
use crate::audit::{
    flow::CallAt,
    tree::{Expr, Kind, Language},
    values::{At, Go},
};

/// A call about a file, and the path that it names.
fn checks<'a>(look: &Look<'_, 'a>, call: &CallAt<'a>) -> Option<At<'a>> {
    let chain = call.call.func.chain();
    let first = call.call.args.first().map(|it| look.piece(call, &it.value));
    let receiver = call.call.receiver().map(|it| look.piece(call, it));
    match chain.as_slice() {
        [
            "os",
            "path",
            "exists" | "isfile" | "islink" | "lexists" | "getsize" | "isdir" | "getmtime",
        ]
        | ["os", "stat" | "access" | "lstat"]
        | [
            ..,
            "fs",
            "metadata" | "symlink_metadata" | "exists" | "try_exists",
        ] => first,
        [
            ..,
            "exists" | "is_file" | "is_symlink" | "lstat" | "try_exists" | "metadata"
            | "symlink_metadata",
        ] if call.call.args.is_empty() && !chain.contains(&"objects") => receiver,
        _ => None,
    }
}

/// Returns whether the check is about links and owners.
fn is_guard(call: &CallAt<'_>) -> bool {
    ["islink", "lstat", "is_symlink", "symlink_metadata"].contains(&call.call.last())
}

/// Returns whether the file is opened with `O_NOFOLLOW`, or by a function of its own.
fn refuses_links(call: &CallAt<'_>) -> bool {
    let mut refuses = call.call.named("opener").is_some();
    call.val.expr.walk(&mut |it| {
        refuses |= matches!(
            it.kind,
            Kind::Name("O_NOFOLLOW") | Kind::Member(_, "O_NOFOLLOW")
        );
    });
    refuses
}

/// A link that is removed is not followed.
fn removes(call: &CallAt<'_>) -> bool {
    ["remove", "unlink", "remove_file"].contains(&call.call.last())
}

fn uses<'a>(look: &Look<'_, 'a>, call: &CallAt<'a>) -> Option<At<'a>> {
    let chain = call.call.func.chain();
    let first = call.call.args.first().map(|it| look.piece(call, &it.value));
    let receiver = call.call.receiver().map(|it| look.piece(call, it));
    match chain.as_slice() {
        ["open" | "send_file" | "FileResponse"]
        | [
            "os",
            "open" | "remove" | "unlink" | "rename" | "replace" | "chmod" | "chown",
        ]
        | ["shutil", "move" | "copy" | "copyfile" | "copy2" | "rmtree"]
        | ["aiofiles", "open"]
        | [.., "File" | "NamedFile", "open" | "create"]
        | [
            ..,
            "fs",
            "read" | "read_to_string" | "remove_file" | "rename" | "write" | "remove_dir_all"
            | "copy" | "set_permissions",
        ] => first,
        [.., "open"] if chain.contains(&"OpenOptions") => first,
        [
            ..,
            "read_text" | "read_bytes" | "write_text" | "write_bytes" | "unlink",
        ] => receiver,
        [.., "open"]
            if call
                .call
                .args
                .first()
                .is_none_or(|it| it.value.text().is_some_and(|it| it.len() < 4)) =>
        {
            receiver
        }
        _ => None,
    }
}

/// Returns whether a value comes from a request.
fn from_request<'a>(look: &Look<'_, 'a>, at: At<'a>) -> bool {
    let function = look.flow.function;
    let mut found = false;
    look.flow.sources(at, &mut |it| {
        found |= match &it.val.expr.kind {
            Kind::Name(name) => {
                look.is_handler
                    && it.val.frame == 1
                    && ![
                        "request", "self", "req", "state", "db", "session", "settings", "cls",
                    ]
                    .contains(name)
                    && look.flow.definitions_of(name, 1, it.step).is_empty()
                    && function
                        .params
                        .iter()
                        .any(|param| is_text_param(param, name))
            }
            Kind::Member(
                inner,
                "GET" | "POST" | "args" | "form" | "files" | "FILES" | "query_params" | "headers"
                | "data" | "json",
            ) => inner.is_name(&["request", "req"]),
            Kind::Member(_, "filename") => true,
            _ => false,
        };
        if found { Go::Stop } else { Go::Deeper }
    });
    found
}

fn is_text_param(param: &crate::audit::tree::Param<'_>, name: &str) -> bool {
    let depends = param
        .default
        .as_ref()
        .and_then(Expr::call)
        .is_some_and(|it| it.last() == "Depends");
    let annotation = param.annotation.as_ref();
    // `Path<String>` is an extractor, and `&Path` a file's.
    let is_generic = annotation.is_some_and(|it| matches!(it.kind, Kind::Index(_)));
    let annotation = annotation.and_then(|it| it.chain().first().copied());
    param.binds(name)
        && !depends
        && annotation.is_none_or(|it| {
            it == "str"
                || is_generic
                    && ["Path", "Query", "axum", "web", "extract", "Optional"].contains(&it)
        })
}

fn in_shared_folder<'a>(look: &Look<'_, 'a>, at: At<'a>) -> bool {
    look.flow
        .find(at, |it| match &it.val.expr.kind {
            Kind::Text(_) => it
                .val
                .expr
                .text()
                .is_some_and(|it| it.starts_with("/tmp/") || it.starts_with("/var/tmp/")),
            Kind::Call(call) => ["gettempdir", "temp_dir"].contains(&call.last()),
            _ => false,
        })
        .is_some()
}

fn pairs<'a>(look: &Look<'_, 'a>, is_dangerous: bool) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (place, check) in look.flow.calls().enumerate() {
        let Some(path) = checks(look, check) else {
            continue;
        };
        let found = look.flow.calls_after(place).find(|call| {
            uses(look, call).is_some_and(|it| look.flow.same(path, it))
                && look.flow.reaches(check.step, call.step)
                && check.step != call.step
                && !(is_guard(check) && refuses_links(call))
        });
        let Some(found) = found else { continue };
        let span = check.val.expr.span;
        if is_guard(check) && removes(found) {
            continue;
        }
        if look
            .test_between(check.step, found.step, |it| it.val.expr.span == span)
            .is_none()
        {
            continue;
        }
        let dangerous = is_guard(check) || from_request(look, path) || in_shared_folder(look, path);
        if dangerous == is_dangerous {
            let mut hit = look.hit(
                (look.at(check), "the path is checked here"),
                (look.at(found), "and is looked up again here"),
                "the path can name another file by then, or a link: open it first, and check what was opened",
            );
            hit.fix = is_guard(check)
                .then(|| mend::without_links(look, found))
                .flatten();
            hits.push(hit);
        }
    }
    hits
}

pub(super) fn checked_then_used(look: &Look<'_, '_>) -> Vec<Hit> {
    pairs(look, true)
}

pub(super) fn exists_then_opened(look: &Look<'_, '_>) -> Vec<Hit> {
    pairs(look, false)
}

/// A file that others could open before its mode is set.
pub(super) fn created_then_restricted(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (place, made) in look.flow.calls().enumerate() {
        let chain = made.call.func.chain();
        let first = made.call.args.first().map(|it| look.piece(made, &it.value));
        let mode = made
            .call
            .arg(1, "mode")
            .and_then(Expr::text)
            .unwrap_or_default();
        let path = match chain.as_slice() {
            ["open"] if mode.contains('w') || mode.contains('x') => first,
            [.., "File", "create"] | [.., "fs", "write"] | [.., "File", "create_new"] => first,
            [.., "write_text" | "write_bytes"] => {
                made.call.receiver().map(|it| look.piece(made, it))
            }
            _ => None,
        };
        let Some(path) = path.filter(|it| !is_of_tempfile(look, *it)) else {
            continue;
        };
        let is_made = |it: At<'_>| it.val.expr.span == made.val.expr.span;
        let restricted = look.flow.calls_after(place).find(|call| {
            let chain = call.call.func.chain();
            let first = call.call.args.first().map(|it| look.piece(call, &it.value));
            let receiver = call.call.receiver().map(|it| look.piece(call, it));
            let (is_same, mode) = match chain.as_slice() {
                ["os", "chmod"] | [.., "fs", "set_permissions"] => (
                    first.is_some_and(|it| look.flow.same(path, it)),
                    call.call.args.get(1),
                ),
                [.., "chmod"] => (
                    receiver.is_some_and(|it| look.flow.same(path, it)),
                    call.call.args.first(),
                ),
                // The mode is set on the file, and not on its path.
                [.., "set_permissions"] => (
                    receiver.is_some_and(|it| look.flow.find(it, is_made).is_some()),
                    call.call.args.first(),
                ),
                _ => return false,
            };
            is_same && mode.is_some_and(|it| is_private(look, look.piece(call, &it.value)))
        });
        if let Some(restricted) = restricted {
            hits.push(look.hit(
                (look.at(made), "made here, readable as the process makes files"),
                (look.at(restricted), "and closed to others only here"),
                "others can open the file before its mode is set, and keep it open: make it with its mode",
            ));
        }
    }
    hits
}

/// `tempfile` makes files and folders that are closed to others.
fn is_of_tempfile<'a>(look: &Look<'_, 'a>, path: At<'a>) -> bool {
    const MAKES: [&str; 4] = [
        "mkstemp",
        "mkdtemp",
        "TemporaryDirectory",
        "NamedTemporaryFile",
    ];
    let makes = |it: At<'a>| {
        let call = it.val.expr.call();
        call.is_some_and(|it| MAKES.contains(&it.last()))
    };
    look.flow.find(path, makes).is_some()
}

/// A mode that gives nothing to group and others: `0o600`, `stat.S_IRUSR | stat.S_IWUSR`.
fn is_private<'a>(look: &Look<'_, 'a>, mode: At<'a>) -> bool {
    let mut private = false;
    let mut others = false;
    // `permissions.set_mode(0o600)` before.
    let set = look.flow.calls().filter(|call| {
        let receiver = call.call.receiver().and_then(Expr::name);
        call.call.last() == "set_mode" && receiver.is_some() && receiver == mode.val.expr.name()
    });
    let set = set.filter_map(|call| Some(look.piece(call, &call.call.args.first()?.value)));
    let last = set.take_while(|it| it.step < mode.step).last();
    look.flow.sources(last.unwrap_or(mode), &mut |it| {
        match &it.val.expr.kind {
            Kind::Number(text) => {
                if let Some(digits) = text.strip_prefix("0o") {
                    private |=
                        digits.len() >= 3 && digits.ends_with("00") && !digits.ends_with("000");
                    others |= !digits.ends_with("00");
                }
            }
            Kind::Member(_, name) => {
                private |= ["S_IRUSR", "S_IWUSR", "S_IRWXU"].contains(name);
                others |= name.ends_with("GRP")
                    || name.ends_with("OTH")
                    || name.ends_with("RWXG")
                    || name.ends_with("RWXO");
            }
            _ => {}
        }
        Go::Deeper
    });
    private && !others
}

/// A name from a request in a path that is opened.
pub(super) fn link_followed(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    let cleans = [
        "secure_filename",
        "safe_join",
        "realpath",
        "resolve()",
        "commonpath",
        "is_relative_to",
        "basename",
        "o_nofollow",
        "opener=",
        "canonicalize",
        "starts_with(",
        "startswith(",
        "file_name()",
        "uuid",
        "send_from_directory",
        "relative_to",
        "sanitize",
        "verifiedfile",
        "get_valid_filename",
        "safe_path",
        "validate_filename",
        "isalnum",
        "is_valid",
        "re.match",
        "fullmatch",
    ];
    if look.mentions(&cleans) || !look.is_handler {
        return hits;
    }
    for call in look.flow.calls() {
        let Some(path) = uses(look, call) else {
            continue;
        };
        let joined = look.flow.find(path, |it| match &it.val.expr.kind {
            Kind::Call(inner) => {
                matches!(
                    inner.func.chain().as_slice(),
                    ["os", "path", "join"] | [.., "join" | "joinpath"]
                ) && joins(look, inner)
            }
            Kind::Binary(_, _) => true,
            Kind::Format(all) => all.len() > 1,
            _ => false,
        });
        let Some(joined) = joined else { continue };
        let from = look.flow.find(joined, |it| {
            matches!(it.val.expr.kind, Kind::Name(_) | Kind::Member(..)) && from_request(look, it)
        });
        if let Some(from) = from {
            let mut hit = look.hit(
                (from, "this name comes with the request"),
                (look.at(call), "and the path with it is opened, links and `..` and all"),
                "who chooses the name chooses the file: a link beneath the folder is followed to anywhere",
            );
            hit.fix = mend::without_links(look, call);
            hits.push(hit);
            break;
        }
    }
    hits
}

/// `", ".join(…)` joins no path.
fn joins(look: &Look<'_, '_>, call: &crate::audit::tree::Call<'_>) -> bool {
    let is_rust = look
        .flow
        .project
        .files
        .get(look.flow.root.file)
        .is_some_and(|it| it.language == Language::Rust);
    !call
        .receiver()
        .is_some_and(|it| matches!(it.kind, Kind::Text(_)))
        && (is_rust || call.func.chain().first() == Some(&"os") || call.last() == "joinpath")
}
