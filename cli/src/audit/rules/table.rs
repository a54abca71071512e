//! The table of the rules.

use super::{
    counted, defaults, files, house, lock,
    look::{Hit, Look},
    memory, message, outcome, secrets, skipped, sql, state, state_calls, state_classes, time,
    waits,
};
use crate::audit::{
    finding::Severity::{self, High, Low, Medium},
    project::Project,
};

/// The code that a rule looks at.
#[derive(Clone, Copy)]
pub(super) enum Check {
    Flow(fn(&Look<'_, '_>) -> Vec<Hit>),
    File(fn(&Project<'_>, usize) -> Vec<Hit>),
}

/// A row of the table.
pub(crate) struct Rule {
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    /// The number of the weakness in CWE.
    pub(crate) cwe: u16,
    /// The category of OWASP's Top 10 of 2025, or of its API Top 10 of 2023.
    pub(crate) owasp: &'static str,
    pub(crate) title: &'static str,
    /// Why the rule is off unless somebody turns it on.
    pub(crate) off: Option<&'static str>,
    /// The page that `--explain` shows.
    pub(crate) page: &'static str,
    pub(super) check: Check,
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id)
    }
}

const CRYPTO: &str = "A04:2025 Cryptographic Failures";
const INTEGRITY: &str = "A08:2025 Software or Data Integrity Failures";
const AUTHENTICATION: &str = "A07:2025 Authentication Failures";
const DESIGN: &str = "A06:2025 Insecure Design";
const ACCESS: &str = "A01:2025 Broken Access Control";
const CONFIGURATION: &str = "A02:2025 Security Misconfiguration";
const EXCEPTIONS: &str = "A10:2025 Mishandling of Exceptional Conditions";
const OBJECTS: &str = "API1:2023 Broken Object Level Authorization";

/// A rule that cries wolf is worse than none.
const UNMEASURED: &str =
    "too few of its findings in real code were read: less than 4 in 5 may be right";

const OFTEN_WRONG: &str = "of its findings in real code, less than 4 in 5 are right";

macro_rules! rules {
    ($($id:literal $severity:ident $cwe:literal $owasp:ident $title:literal
        $(off $off:expr)? => $kind:ident $check:path;)*) => {
        /// All rules, in the order of the documentation.
        pub(crate) static TABLE: [Rule; rules!(@count $($id)*)] = [$(Rule {
            id: $id,
            severity: $severity,
            cwe: $cwe,
            owasp: $owasp,
            title: $title,
            off: rules!(@off $($off)?),
            page: include_str!(concat!("../pages/", $id, ".md")),
            check: Check::$kind($check),
        },)*];
    };
    (@count $($id:literal)*) => { [$($id),*].len() };
    (@off $off:expr) => { Some($off) };
    (@off) => { None };
}

rules! {
    "mac-compared-with-equals" Medium 208 CRYPTO "a MAC is compared with `==`"
        => Flow message::compared_with_equals;
    "mac-over-rewritten-data" Medium 347 INTEGRITY "a MAC is checked over data that is written again"
        => Flow message::over_rewritten_data;
    "mac-over-sorted-data" Low 347 INTEGRITY "a MAC is checked over JSON that is sorted and written again"
        off "often sender and verifier agree on this form, and nobody else reads the body"
        => Flow message::over_sorted_data;
    "signed-time-is-own-clock" High 294 AUTHENTICATION "the signed time is the verifier's own clock"
        => Flow time::own_clock;
    "time-compared-on-one-side" Low 294 AUTHENTICATION "the signed time is compared on one side only"
        => Flow time::one_sided;
    "time-never-compared" Medium 294 AUTHENTICATION "the signed time is never compared"
        => Flow time::never_checked;
    "window-without-memory" Medium 294 AUTHENTICATION "a time window, and no memory of what was used"
        => Flow time::no_memory;
    "used-get-then-set" High 367 DESIGN "what is used once is looked up and recorded in two steps"
        => Flow memory::get_then_set;
    "recorded-before-check" Medium 696 DESIGN "a nonce is recorded before the MAC is checked"
        => Flow memory::recorded_before_check;
    "memory-shorter-than-window" Medium 294 AUTHENTICATION "what was used is forgotten while it is still good"
        => Flow memory::shorter_than_window;
    "memory-can-forget" Medium 294 AUTHENTICATION "what was used is kept where it can be lost"
        => Flow memory::can_forget;
    "unsigned-input-used" High 345 OBJECTS "an identifier that is not signed chooses what is changed"
        => Flow message::unsigned_input_used;
    "body-read-again" Low 367 INTEGRITY "the body is read again after it was verified"
        off "Django, Starlette and Flask keep the body: it is mostly the same"
        => Flow message::body_read_again;
    "secret-has-default" High 1188 CONFIGURATION "a secret has a default in code"
        => File defaults::has_default;
    "secret-in-code" Low 798 CRYPTO "a secret is in the code"
        => Flow secrets::in_code;
    "failed-check-passes" High 390 EXCEPTIONS "a failed check is caught, and the request goes on"
        => Flow outcome::failed_check_passes;
    "check-skipped-without-secret" Medium 636 EXCEPTIONS "without a secret every request passes"
        => Flow skipped::without_secret;

    "checked-then-changed" High 367 DESIGN "an object is checked, then changed, without a lock"
        => Flow state::checked_then_changed;
    "owner-checked-then-changed" Low 367 ACCESS "an owner is checked, then the object is changed, without a lock"
        off "objects seldom change hands: most findings are true and harmless"
        => Flow state::owner_checked;
    "view-filters-then-acts" Low 367 ACCESS "a view filters by its user in `get_queryset`, and acts later"
        off "objects seldom change hands: most findings are true and harmless"
        => File state_classes::view_filters_then_acts;
    "serializer-checks-instance" Medium 367 DESIGN "a serializer checks an instance that others can change"
        off UNMEASURED
        => Flow state_calls::serializer_checks_instance;
    "read-modify-write" Medium 362 DESIGN "a number is read, changed and written back"
        => Flow counted::read_modify_write;
    "get-or-create-without-unique" Medium 362 DESIGN "`get_or_create` without a unique constraint"
        => Flow state_calls::get_or_create_without_unique;
    "unique-checked-then-inserted" Medium 367 DESIGN "uniqueness is checked, then a row is inserted"
        => Flow state_calls::unique_checked_then_inserted;
    "lock-outside-transaction" High 667 DESIGN "`select_for_update` outside a transaction"
        => Flow state_calls::lock_outside_transaction;
    "task-before-commit" Medium 362 DESIGN "a task is handed on before its transaction commits"
        => Flow state_calls::task_before_commit;
    "lock-released-without-token" Medium 667 DESIGN "a lock is released, whoever holds it"
        => Flow lock::released_without_token;
    "changed-across-await" Medium 362 DESIGN "a value is read, awaited upon, and written"
        => Flow waits::changed_across_await;
    "select-then-write" High 367 DESIGN "`SELECT`, then a write that depends on it, without a lock"
        off OFTEN_WRONG
        => Flow sql::select_then_write;

    "file-checked-then-used" Low 367 DESIGN "a path is checked, then used"
        off OFTEN_WRONG
        => Flow files::checked_then_used;
    "file-exists-then-opened" Low 367 DESIGN "a path is checked, then used, where nobody else writes"
        off "in scripts and private folders nothing changes in between"
        => Flow files::exists_then_opened;
    "created-then-restricted" Medium 732 ACCESS "a file is made, then closed to others"
        off UNMEASURED
        => Flow files::created_then_restricted;
    "link-followed" Medium 59 ACCESS "a name from a request goes into a path, and links are followed"
        off OFTEN_WRONG
        => Flow files::link_followed;

    "unverified-extractor" High 345 INTEGRITY "a handler behind `VerifyLayer` reads what is not verified"
        => Flow house::unverified_extractor;
    "effects-outside-transaction" High 367 DESIGN "effects on the pool, and the nonce in a transaction"
        => Flow house::effects_outside_transaction;
    "route-without-verification" High 306 AUTHENTICATION "a route that changes something is outside `VerifyLayer`"
        => Flow house::route_without_verification;
    "danger-without-reason" Low 1188 CONFIGURATION "`danger_…` without a comment that says why"
        => File house::danger_without_reason;
}

/// The rule of this name.
pub(crate) fn find(id: &str) -> Option<&'static Rule> {
    TABLE.iter().find(|it| it.id == id)
}
