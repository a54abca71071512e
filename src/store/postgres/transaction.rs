//! A batch of steps in one transaction, and what its rows say.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection, Row as _, postgres::PgRow};

use super::{
    error,
    own::{Newest, Own},
    statement::{self, Terms},
    step::Step,
    time::millis,
};
use crate::{
    clock::Timestamp,
    error::StoreError,
    once::{ClaimOutcome, Forgotten, History, LeaseOutcome, StepOutcome},
    store::batched::{Action, Answer, Retentions},
};

pub(super) type Answers = Vec<Result<Answer, StoreError>>;

/// Runs the steps in a transaction of their own, in one round trip: what is answered was committed.
///
/// After an error, or when this is dropped, it is unknown whether anything was recorded, and the
/// connection is in no known state.
pub(super) async fn commit(
    connection: &mut PgConnection,
    terms: &Terms<'_>,
    steps: &[Step<'_>],
    wait: Duration,
    newest: &Newest,
    retentions: &Retentions,
) -> Result<Answers, StoreError> {
    let whole = |sql: &str| in_transaction(sql, wait);
    let decision = statement::decide(terms, steps, newest.get());
    let rows = run(connection, terms, &decision, whole).await?;
    let answers = read(steps, &rows)?;
    let now: Option<i64> = rows.first().and_then(|row| row.try_get("now_ms").ok());
    let retention = rows
        .first()
        .and_then(|row| row.try_get("retention_ms").ok());
    if let (Some(now), Some(retention)) = (now, retention) {
        let retention: i64 = retention;
        let (retention, now) = (retention.unsigned_abs(), now.unsigned_abs());
        if let Some(now) = Timestamp::from_millis(now) {
            retentions.learn(terms.namespace(), Duration::from_millis(retention), now);
        }
    }
    let made = steps
        .iter()
        .zip(&answers)
        .filter_map(|(step, answer)| Own::made_by(step, answer.clone().ok()?, now?));
    if let Some(own) = made.max_by_key(|own| own.deadline_ms) {
        newest.learn(own);
    }
    Ok(answers)
}

/// Consumes in the transaction that is open, which waits for no lock longer than `wait`.
pub(super) async fn within(
    connection: &mut PgConnection,
    step: Step<'_>,
    wait: Duration,
) -> Result<Answer, StoreError> {
    let terms = Terms::of(step.claim, step.action);
    let decision = statement::consume(&terms, &step, wait);
    let rows = run(connection, &terms, &decision, str::to_owned).await?;
    read(&[step], &rows)?
        .into_iter()
        .next()
        .unwrap_or_else(|| Err(no_answer()))
}

/// Settings end with the transaction, as a pooler in front of the server needs it.
///
/// A timeout that struck while COMMIT waits for a standby would have it answered as a success.
pub(super) fn in_transaction(sql: &str, wait: Duration) -> String {
    let wait = millis(wait).max(1);
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
        SET LOCAL synchronous_commit = on;
        SET LOCAL lock_timeout = {wait}; SET LOCAL statement_timeout = {wait};
        {sql};
        SET LOCAL statement_timeout = 0; COMMIT"
    )
}

async fn run(
    connection: &mut PgConnection,
    terms: &Terms<'_>,
    decision: &str,
    whole: impl Fn(&str) -> String,
) -> Result<Vec<PgRow>, StoreError> {
    // A database that is new, or older than it was, is fenced, and a namespace that is new registered, before the third.
    for _ in 0..3 {
        let rows = fetch(connection, whole(decision)).await?;
        let refused = |refusal| rows.iter().any(|row| is_refused(row, refusal));
        if refused("unknown") {
            fetch(connection, whole("SELECT countersign_fence()")).await?;
        } else if refused("unregistered") {
            fetch(connection, whole(&statement::register(terms))).await?;
        } else {
            return Ok(rows);
        }
    }
    Err(StoreError::unavailable(
        "what was recorded of this namespace is not there; are the tables as `SCHEMA` makes them?",
    ))
}

/// Refuses what was signed up to now if these tables are a copy of others.
pub(super) const FENCE_A_COPY: &str =
    "SELECT countersign_fence() FROM countersign_present() WHERE NOT is_known";

async fn fetch(connection: &mut PgConnection, sql: String) -> Result<Vec<PgRow>, StoreError> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .fetch_all(connection)
        .await
        .map_err(error::of_driver)
}

fn is_refused(row: &PgRow, refusal: &str) -> bool {
    row.try_get::<Option<&str>, _>("refusal")
        .is_ok_and(|found| found == Some(refusal))
}

fn read(steps: &[Step<'_>], rows: &[PgRow]) -> Result<Answers, StoreError> {
    let mut answers: Vec<Option<Result<Answer, StoreError>>> = vec![None; steps.len()];
    for row in rows {
        let place: i64 = row.try_get("place").map_err(error::of_driver)?;
        let place = usize::try_from(place - 1).map_err(|_| no_answer())?;
        if let (Some(step), Some(answer)) = (steps.get(place), answers.get_mut(place)) {
            *answer = Some(read_one(step, row).map_err(error::of_driver)?);
        }
    }
    let answers = answers.into_iter();
    Ok(answers
        .map(|answer| answer.unwrap_or_else(|| Err(no_answer())))
        .collect())
}

fn read_one(step: &Step<'_>, row: &PgRow) -> Result<Result<Answer, StoreError>, sqlx::Error> {
    match step.action {
        Action::Claim | Action::Consume | Action::Lease(_) => read_recorded(step, row),
        Action::Renew(_) | Action::Complete | Action::Release => {
            let is_own = row.try_get("is_own")?;
            Ok(Ok(Answer::Held(if is_own {
                StepOutcome::Done
            } else {
                StepOutcome::Lost
            })))
        }
    }
}

fn read_recorded(step: &Step<'_>, row: &PgRow) -> Result<Result<Answer, StoreError>, sqlx::Error> {
    let refusal: Option<&str> = row.try_get("refusal")?;
    if let Some(refusal) = refusal {
        let retention = row.try_get("retention_ms")?;
        return Ok(Err(refused(step, refusal, retention)));
    }
    if row.try_get::<Option<bool>, _>("outside_savepoints")? == Some(false) {
        return Ok(Err(StoreError::unavailable(
            "consumed in a savepoint, which would take the nonce with it if it were rolled back; \
             consume before any savepoint",
        )));
    }
    // Claims return nothing about a nonce of somebody else.
    let is_own: Option<bool> = row.try_get("is_own")?;
    Ok(Ok(match step.action {
        Action::Lease(duration) => {
            Answer::Leased(match (is_own, row.try_get("remaining_ms")?) {
                (Some(_), None::<i64>) => LeaseOutcome::Completed,
                (Some(true), Some(_)) => LeaseOutcome::Held,
                (Some(false), Some(left)) => {
                    LeaseOutcome::in_flight(Duration::from_millis(left.try_into().unwrap_or(0)))
                }
                // This very attempt holds it already.
                (None, _) => LeaseOutcome::in_flight(duration),
            })
        }
        _ if is_own == Some(true) => Answer::Claimed(ClaimOutcome::New),
        _ => Answer::Claimed(ClaimOutcome::Replayed),
    }))
}

fn refused(step: &Step<'_>, refusal: &str, retention: Option<i64>) -> StoreError {
    let why = match refusal {
        "retention" => Forgotten::Retention,
        "past" => Forgotten::Past,
        "start" => Forgotten::Start,
        "raised" => Forgotten::Raised,
        "dropped" => Forgotten::Dropped,
        "places" => return StoreError::too_many_places(),
        _ => return no_answer(),
    };
    let known = Duration::from_millis(retention.unwrap_or(0).try_into().unwrap_or(0));
    History::COMPLETE
        .remembering(known)
        .refusal(step.claim, why)
}

fn no_answer() -> StoreError {
    StoreError::unavailable("PostgreSQL did not answer all that was asked")
}
