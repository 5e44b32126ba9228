//! Moving records in from files: every row is judged by itself, and written whole or not at all.

mod mapping;
mod own;
mod principals;
mod report;
mod rows;
mod spring;

use std::collections::HashMap;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_issuer::credentials::{ClientSecret, PasswordError, SpringValue};
use countersign_issuer::random::Random;
use countersign_issuer::records::{Client, Principal};
use countersign_issuer::store::{Record, StoreError, Table, WriteError};
use countersign_verify::Timestamp;
use futures_util::{StreamExt, stream};
use serde_json::Value;

use crate::commands::{Administration, Outcome};
pub(crate) use mapping::Mapping;
pub(crate) use principals::Principals;
use report::Report;
use rows::{BrokenRow, Row};
pub(crate) use spring::{SpringClients, Values};

pub(crate) use own::client as own_client;

/// So many records are on their way to the store at a time.
const WRITES_AT_ONCE: usize = 32;

const CUT: &str = "the file does not end with a line end; it may be cut off";

/// What is to become of a row.
#[derive(Debug)]
pub(crate) struct Judgement<R> {
    /// The client's id or the principal's name, as far as there is one.
    id: String,
    candidate: Option<Candidate<R>>,
    /// Why it is not imported; all of them.
    reasons: Vec<String>,
    /// What will be otherwise than it was.
    losses: Vec<String>,
    /// What is of no use here, and why.
    dropped: Vec<(String, &'static str)>,
}

/// A record that may be written, and what it is let in by where that is not in it yet.
#[derive(Debug)]
pub(crate) struct Candidate<R> {
    record: R,
    credential: Option<Credential>,
}

/// A secret or a password as the file has it.
#[derive(Debug)]
pub(crate) struct Credential {
    value: SpringValue,
    expires: Option<Timestamp>,
}

impl<R> Judgement<R> {
    fn of(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            candidate: None,
            reasons: Vec::new(),
            losses: Vec::new(),
            dropped: Vec::new(),
        }
    }

    fn leave_out(&mut self, what: &str, reason: &'static str) {
        self.dropped.push((what.to_owned(), reason));
    }
}

/// A record that can be moved in.
pub(crate) trait Importable: Record + Clone + Debug + Send + Sync + 'static {
    /// What it is called in `{"clients": […]}`.
    const PLURAL: &'static str;
    /// Stores the credential in the record.
    fn adopt(
        &mut self,
        credential: &Credential,
        now: Timestamp,
        random: &Random,
    ) -> Result<(), PasswordError>;
    /// Takes over from a stored record what an import does not decide, and the credential if it is that one already,
    /// which it says.
    fn take_over(&mut self, stored: &Self, credential: Option<&Credential>) -> bool;
    /// The version that an import wrote, and when the record was last changed.
    fn written(&mut self) -> (&mut Option<u64>, &mut Timestamp);

    /// Notes that an import writes this version.
    fn mark(&mut self, version: u64, now: Timestamp) {
        let (imported, updated) = self.written();
        (*imported, *updated) = (Some(version), now);
    }

    /// Whether nobody has written the record since an import did.
    fn is_as_imported(&mut self) -> bool {
        let version = *self.version();
        *self.written().0 == Some(version)
    }
}

impl Importable for Client {
    const PLURAL: &'static str = "clients";

    fn adopt(
        &mut self,
        credential: &Credential,
        now: Timestamp,
        random: &Random,
    ) -> Result<(), PasswordError> {
        self.secrets = vec![ClientSecret::imported(&credential.value, now, credential.expires, random)?];
        Ok(())
    }

    fn take_over(&mut self, stored: &Self, credential: Option<&Credential>) -> bool {
        (self.created, self.updated) = (stored.created, stored.updated);
        (self.version, self.imported) = (stored.version, stored.imported);
        let (Some(credential), [secret]) = (credential, stored.secrets.as_slice()) else {
            return false;
        };
        let holds = secret.expires == credential.expires && secret.holds(&credential.value);
        if holds {
            self.secrets.clone_from(&stored.secrets);
        }
        holds
    }

    fn written(&mut self) -> (&mut Option<u64>, &mut Timestamp) {
        (&mut self.imported, &mut self.updated)
    }
}

impl Importable for Principal {
    const PLURAL: &'static str = "principals";

    fn adopt(
        &mut self,
        credential: &Credential,
        now: Timestamp,
        random: &Random,
    ) -> Result<(), PasswordError> {
        self.set_imported_password(&credential.value, now, random)
    }

    fn take_over(&mut self, stored: &Self, credential: Option<&Credential>) -> bool {
        self.id.clone_from(&stored.id);
        (self.created, self.updated) = (stored.created, stored.updated);
        (self.version, self.imported) = (stored.version, stored.imported);
        self.sessions_valid_from = stored.sessions_valid_from;
        let holds = credential.is_some_and(|credential| stored.holds(&credential.value));
        if holds {
            self.copy_password(stored);
        }
        // As a password change and `disable` end sessions; a new credential does so when it is adopted.
        let is_replaced = credential.is_none() && !self.has_password_of(stored);
        if is_replaced || (stored.enabled && !self.enabled) {
            self.end_sessions(stored.sessions_valid_from);
        }
        holds
    }

    fn written(&mut self) -> (&mut Option<u64>, &mut Timestamp) {
        (&mut self.imported, &mut self.updated)
    }
}

/// What became of a candidate, or would.
#[derive(Debug)]
enum Fate {
    Created,
    /// With the names of the members that differ.
    Updated(Vec<String>),
    Unchanged,
    Refused(String),
    /// The store failed; whether it was written is not known where the store did not answer.
    Failed(String),
}

/// Moves the records of `files` in, as `judge` reads them.
pub(crate) async fn import<R: Importable>(
    files: Vec<PathBuf>,
    judge: impl Fn(&Row) -> Judgement<R> + Send,
    unmatched: impl FnOnce() -> Vec<String>,
    to: &Administration,
    dry_run: bool,
    json: bool,
) -> Outcome {
    let importer = Arc::new(Importer {
        table: to.table::<R>(),
        now: to.clock.now(),
        random: to.random.clone(),
        dry_run,
        stopped: AtomicBool::new(false),
    });
    let mut report = Report::new(R::PLURAL, dry_run, json);
    let mut places: HashMap<String, (usize, u64)> = HashMap::new();
    let judged = files.iter().enumerate().flat_map(|(at, path)| {
        let rows: Box<dyn Iterator<Item = Result<Row, BrokenRow>> + Send> = match rows::rows(path) {
            Ok(rows) => rows,
            Err(problem) => Box::new(std::iter::once(Err(BrokenRow { line: 1, problem }))),
        };
        rows.map(move |row| (at, row))
    });
    let judged =
        judged.take_while(|_| !importer.stopped.load(Ordering::Relaxed)).map(|(at, row)| match row {
            Err(BrokenRow { line, problem }) => {
                let mut judgement = Judgement::of("");
                judgement.reasons.push(problem);
                (at, line, judgement)
            }
            Ok(row) => {
                let mut judgement = judge(&row);
                if row.may_be_cut {
                    judgement.losses.push(CUT.into());
                }
                if let Some(candidate) = &judgement.candidate {
                    let first = *places.entry(candidate.record.key()).or_insert((at, row.line));
                    if first != (at, row.line) {
                        let place = format!("{}:{}", files[first.0].display(), first.1);
                        judgement.reasons.push(format!("given twice; the first is at {place}"));
                    }
                }
                (at, row.line, judgement)
            }
        });
    let fates = stream::iter(judged).map(|(at, line, mut judgement)| {
        let importer = Arc::clone(&importer);
        let candidate = judgement.candidate.take().filter(|_| judgement.reasons.is_empty());
        let settled =
            candidate.map(|candidate| tokio::spawn(async move { importer.settle(candidate).await }));
        async move {
            let fate = match settled {
                None => None,
                Some(task) => Some(task.await.unwrap_or_else(|error| Fate::Failed(error.to_string()))),
            };
            (at, line, judgement, fate)
        }
    });
    let mut fates = Box::pin(fates.buffered(WRITES_AT_ONCE));
    while let Some((at, line, judgement, fate)) = fates.next().await {
        report.add(&files[at], line, judgement, fate);
    }
    drop(fates);
    report.finish(&unmatched())
}

/// Whatever the tasks share.
struct Importer<R> {
    table: Table<R>,
    now: Timestamp,
    random: Random,
    dry_run: bool,
    stopped: AtomicBool,
}

impl<R: Importable> Importer<R> {
    async fn settle(self: Arc<Self>, candidate: Candidate<R>) -> Fate {
        // With a dead store every other record would wait for its time-out as well.
        let settled = if self.stopped.load(Ordering::Relaxed) {
            Err("not tried".to_owned())
        } else {
            self.try_to_settle(candidate).await
        };
        settled.unwrap_or_else(|problem| {
            self.stopped.store(true, Ordering::Relaxed);
            Fate::Failed(problem)
        })
    }

    async fn try_to_settle(self: &Arc<Self>, candidate: Candidate<R>) -> Result<Fate, String> {
        let Candidate { record, credential } = candidate;
        let failed = |error: StoreError| error.to_string();
        let is_slow =
            credential.as_ref().is_some_and(|credential| !matches!(credential.value, SpringValue::Hash(_)));
        let key = record.key();
        // What would take a slow hash is looked for first; everything else is most likely new.
        if self.dry_run || is_slow {
            match self.table.get(&key).await.map_err(failed)? {
                Some(stored) => return self.replace(record, credential, stored).await,
                None if self.dry_run => return Ok(Fate::Created),
                None => {}
            }
        }
        let (mut record, credential) = match self.adopt(record, credential).await? {
            Ok(adopted) => adopted,
            Err(problem) => return Ok(Fate::Refused(problem.to_string())),
        };
        *record.version() = 1;
        record.mark(1, self.now);
        match self.table.create(&record).await {
            Ok(()) => Ok(Fate::Created),
            Err(WriteError::Exists) => match self.table.get(&key).await.map_err(failed)? {
                Some(stored) => self.replace(record, credential, stored).await,
                None => Ok(Fate::Refused(WriteError::Changed.to_string())),
            },
            Err(error) => Err(error.to_string()),
        }
    }

    /// Stores the credential in the record; where it takes a slow hash, on a thread for that. A credential that cannot
    /// be stored is this record's problem alone.
    async fn adopt(
        self: &Arc<Self>,
        mut record: R,
        credential: Option<Credential>,
    ) -> Result<Result<(R, Option<Credential>), PasswordError>, String> {
        let importer = Arc::clone(self);
        let hashing = tokio::task::spawn_blocking(move || {
            let adopted = match &credential {
                Some(credential) => record.adopt(credential, importer.now, &importer.random),
                None => Ok(()),
            };
            adopted.map(|()| (record, credential))
        });
        hashing.await.map_err(|error| error.to_string())
    }

    /// Replaces a stored record that an import wrote and nobody has changed since.
    async fn replace(
        self: &Arc<Self>,
        mut record: R,
        credential: Option<Credential>,
        stored: R,
    ) -> Result<Fate, String> {
        let taking_over = tokio::task::spawn_blocking(move || {
            let holds = record.take_over(&stored, credential.as_ref());
            (record, credential.filter(|_| !holds), stored)
        });
        let (record, credential, mut stored) = taking_over.await.map_err(|error| error.to_string())?;
        let differing = differences(&record, &stored).map_err(|error| error.to_string())?;
        if differing.is_empty() {
            return Ok(Fate::Unchanged);
        }
        if !stored.is_as_imported() {
            return Ok(Fate::Refused(format!(
                "it exists and differs in {}; it was not imported, or was changed since, and is left alone",
                differing.join(", ")
            )));
        }
        if self.dry_run {
            return Ok(Fate::Updated(differing));
        }
        let (mut record, _) = match self.adopt(record, credential).await? {
            Ok(adopted) => adopted,
            Err(problem) => return Ok(Fate::Refused(problem.to_string())),
        };
        let version = *record.version() + 1;
        record.mark(version, self.now);
        match self.table.save(&mut record).await {
            Ok(()) => Ok(Fate::Updated(differing)),
            // The client repeats a write whose answer was lost, and the second one finds the first.
            Err(WriteError::Changed) => match self.table.get(&record.key()).await {
                Ok(Some(stored)) if differences(&record, &stored).is_ok_and(|names| names.is_empty()) => {
                    Ok(Fate::Updated(differing))
                }
                Ok(_) => Ok(Fate::Refused(WriteError::Changed.to_string())),
                Err(error) => Err(error.to_string()),
            },
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The names of the members in which two records differ.
fn differences<R: Record>(one: &R, other: &R) -> Result<Vec<String>, serde_json::Error> {
    let (one, other) = (serde_json::to_value(one)?, serde_json::to_value(other)?);
    let names = |value: &Value| value.as_object().map(|members| members.keys().cloned().collect::<Vec<_>>());
    let mut names = [names(&one), names(&other)].into_iter().flatten().flatten().collect::<Vec<_>>();
    names.sort();
    names.dedup();
    names.retain(|name| one.get(name) != other.get(name));
    Ok(names)
}
