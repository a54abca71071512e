//! Runs all rules over all files.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{
    allow::{self, Allowed},
    config::Config,
    files,
    project::{File, Project},
    python,
    rules::{self, Finding},
    rust,
    span::line_of,
    tree::{Broken, Language, Tree},
};
use crate::exit::Failure;

/// The stack of a thread that reads files: enough for the deepest text that is read, in a build
/// without optimizations. Untouched pages of it cost nothing.
const STACK: usize = 256 * 1024 * 1024;

/// How much one run holds at a time, whatever its paths hold. A file that would be more is skipped.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Bytes of text.
    text: usize,
    /// Bytes of the trees that are read from it.
    trees: usize,
    findings: usize,
}

/// A tree is about eight times as large as its text.
const BOUNDS: Bounds = Bounds {
    text: 256 * 1024 * 1024,
    trees: 2 * 1024 * 1024 * 1024,
    findings: 100_000,
};

/// A part of a bound that threads share.
struct Left(AtomicUsize);

impl Left {
    fn new(all: usize) -> Self {
        Self(AtomicUsize::new(all))
    }

    /// Takes so much, if it is left.
    fn take(&self, amount: usize) -> bool {
        let take = |left: usize| left.checked_sub(amount);
        let order = Ordering::Relaxed;
        self.0.fetch_update(order, order, take).is_ok()
    }
}

/// A file, as it was read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: String,
    pub(super) file: PathBuf,
    pub(super) text: String,
    language: Language,
    is_test: bool,
}

/// A file that was left out, and why.
#[derive(Debug)]
pub(crate) struct Skipped {
    pub(super) path: String,
    pub(super) line: Option<usize>,
    pub(super) why: String,
}

/// All that a run has found.
#[derive(Debug)]
pub(crate) struct Report {
    pub(super) sources: Vec<Source>,
    pub(super) findings: Vec<Finding>,
    pub(crate) skipped: Vec<Skipped>,
    /// Comments that allow something and are not as they must be.
    pub(crate) warnings: Vec<String>,
    pub(crate) files: usize,
    pub(crate) lines: usize,
    pub(crate) allowed: usize,
    pub(crate) known: usize,
}

/// Reads the files below the paths, and runs the rules that are on.
///
/// # Errors
/// Returns a failure if a path is not there or a glob is wrong.
pub(crate) fn run(
    paths: &[PathBuf],
    config: &Config,
    tick: &(dyn Fn(usize, usize) + Sync),
) -> Result<Report, Failure> {
    run_within(BOUNDS, paths, config, tick)
}

fn run_within(
    bounds: Bounds,
    paths: &[PathBuf],
    config: &Config,
    tick: &(dyn Fn(usize, usize) + Sync),
) -> Result<Report, Failure> {
    let (found, facts) = files::find(paths, &config.exclude)?;
    let mut sources = Vec::with_capacity(found.len());
    let mut skipped = Vec::new();
    let texts = Left::new(bounds.text);
    for it in found {
        let path = shown(&it.path);
        match files::read(&it.path) {
            Ok(text) if !texts.take(text.len()) => skipped.push(Skipped {
                path,
                line: None,
                why: "all files together are too long: audit their folders one by one".to_owned(),
            }),
            Ok(text) => {
                let (language, is_test) = (it.language, it.is_test);
                sources.push(Source {
                    path,
                    file: it.path,
                    text,
                    language,
                    is_test,
                });
            }
            Err(why) => skipped.push(Skipped {
                path,
                line: None,
                why,
            }),
        }
    }
    let total = sources.len() * 2;
    let done = AtomicUsize::new(0);
    let step = || tick(done.fetch_add(1, Ordering::Relaxed) + 1, total);
    let held = Left::new(bounds.trees);
    let trees = parallel(&sources, |_, source| {
        step();
        let tree = read(&source.text, source.language)?;
        if !held.take(tree.size()) {
            return Err(Broken::too_much());
        }
        Ok(tree)
    });
    let mut files = Vec::with_capacity(trees.len());
    for (at, tree) in trees.iter().enumerate() {
        let Some(source) = sources.get(at) else {
            continue;
        };
        match tree {
            Some(Ok(tree)) => files.push((
                at,
                File::new(
                    &source.path,
                    &source.text,
                    source.language,
                    source.is_test,
                    tree,
                ),
            )),
            Some(Err(broken)) => skipped.push(Skipped {
                path: source.path.clone(),
                line: broken.at.map(|it| line_of(&source.text, it.start as usize)),
                why: broken.why.clone(),
            }),
            None => skipped.push(no_thread(&source.path)),
        }
    }
    let (places, files): (Vec<usize>, Vec<File<'_>>) = files.into_iter().unzip();
    let project = Project::new(files, facts);
    let is_on = |id: &str| config.is_on(id);
    let wanted = Left::new(bounds.findings);
    let found = parallel(&project.files, |at, _| {
        step();
        let mut found = rules::run(&project, at, &is_on);
        if !wanted.take(found.findings.len()) {
            found.findings = Vec::new();
            found.is_partial = true;
        }
        found
    });
    let mut findings: Vec<Finding> = Vec::new();
    for (file, found) in project.files.iter().zip(found) {
        let Some(found) = found else {
            skipped.push(no_thread(file.path));
            continue;
        };
        if found.is_partial {
            skipped.push(Skipped {
                path: file.path.to_owned(),
                line: None,
                why: "only a part is audited: the whole takes too much work".to_owned(),
            });
        }
        findings.extend(found.findings);
    }
    findings.retain(|it| it.rule.severity >= config.min_severity);
    let (mut allowed, mut warnings) = (0, Vec::new());
    let comments: Vec<Vec<Allowed>> = project
        .files
        .iter()
        .map(|it| allow::read(it, &mut warnings))
        .collect();
    findings.retain(|finding| {
        let is_allowed = [&finding.use_, &finding.check].into_iter().any(|place| {
            let text = project.files.get(place.file).map_or("", |it| it.text);
            let line = line_of(text, place.span.start as usize);
            let all = comments.get(place.file);
            all.into_iter()
                .flatten()
                .any(|it| it.allows(finding.rule.id, line))
        });
        allowed += usize::from(is_allowed);
        !is_allowed
    });
    // From the files that were read to all files.
    for finding in &mut findings {
        let place = |at: usize| places.get(at).copied().unwrap_or(at);
        finding.check.file = place(finding.check.file);
        finding.use_.file = place(finding.use_.file);
        if let Some(fix) = &mut finding.fix {
            fix.file = place(fix.file);
        }
    }
    findings.sort_by_key(|it| {
        (
            it.use_.file,
            it.use_.span.start,
            it.check.span.start,
            it.rule.id,
        )
    });
    // A helper shows its findings in each function that calls it.
    findings.dedup_by_key(|it| {
        (
            it.use_.file,
            it.use_.span.start,
            it.check.span.start,
            it.rule.id,
        )
    });
    let lines = sources
        .iter()
        .map(|it| memchr::memchr_iter(b'\n', it.text.as_bytes()).count())
        .sum();
    drop(project);
    drop(trees);
    Ok(Report {
        files: sources.len(),
        lines,
        sources,
        findings,
        skipped,
        warnings,
        allowed,
        known: 0,
    })
}

fn read(text: &str, language: Language) -> Result<Tree<'_>, Broken> {
    match language {
        Language::Python => python::read(text),
        Language::Rust => rust::read(text),
    }
}

fn no_thread(path: &str) -> Skipped {
    Skipped {
        path: path.to_owned(),
        line: None,
        why: "no thread could be started for it".to_owned(),
    }
}

/// Does the same with each item, on all cores. An item has no result if no thread could be started.
fn parallel<'i, I: Sync, T: Send>(
    items: &'i [I],
    work: impl Fn(usize, &'i I) -> T + Sync,
) -> Vec<Option<T>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let run = || {
        let mut own = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { break };
            own.push((at, work(at, item)));
        }
        if let Ok(mut results) = results.lock() {
            results.append(&mut own);
        }
    };
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(16);
    let count = items.len();
    thread::scope(|scope| {
        for _ in 0..threads.min(count) {
            let started = thread::Builder::new()
                .stack_size(STACK)
                .spawn_scoped(scope, run);
            if started.is_err() {
                break;
            }
        }
    });
    let mut all: Vec<Option<T>> = std::iter::repeat_with(|| None).take(count).collect();
    for (at, result) in results.into_inner().unwrap_or_default() {
        if let Some(place) = all.get_mut(at) {
            *place = Some(result);
        }
    }
    all
}

fn shown(path: &Path) -> String {
    let text = path.to_string_lossy().replace('\\', "/");
    text.strip_prefix("./").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULT: &str = "import hmac\n\n\ndef check(request, key):\n    mine = hmac.new(key, request.body, 'sha256').hexdigest()\n    return mine == request.headers['X-Signature']\n";

    /// Runs over ten files of one finding each: how many findings there are, and how many files were
    /// skipped or audited in part.
    fn of_ten(bounds: Bounds) -> (usize, usize) {
        let folder = tempfile::tempdir().unwrap();
        for at in 0..10 {
            std::fs::write(folder.path().join(format!("f{at}.py")), FAULT).unwrap();
        }
        let paths = [folder.path().to_owned()];
        let report = run_within(bounds, &paths, &Config::default(), &|_, _| {}).unwrap();
        (report.findings.len(), report.skipped.len())
    }

    #[test]
    fn a_run_holds_no_more_than_its_bounds() {
        let tree = read(FAULT, Language::Python).unwrap().size();
        assert!(tree > FAULT.len(), "{tree}");
        assert_eq!(of_ten(BOUNDS), (10, 0));
        let text = FAULT.len() * 3 + 1;
        assert_eq!(of_ten(Bounds { text, ..BOUNDS }), (3, 7));
        let trees = tree * 4 + 1;
        assert_eq!(of_ten(Bounds { trees, ..BOUNDS }), (4, 6));
        let findings = 5;
        assert_eq!(of_ten(Bounds { findings, ..BOUNDS }), (5, 5));
    }
}
