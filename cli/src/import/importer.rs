//! Writes converted rows to the store: each record is written whole or not at all.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_issuer::credentials::{PasswordError, SpringValue};
use countersign_issuer::random::Random;
use countersign_issuer::store::{Record, Table, WriteError};
use countersign_verify::Timestamp;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::conversion::{Credential, NewRecord};
use super::importable::Importable;
use crate::context::Context;
use crate::outcome::AnyError;

/// The result of importing a record; in a dry run, the result that a real run would have.
#[derive(Debug)]
pub(super) enum RowOutcome {
    Created,
    /// Has the names of the members that differ.
    Updated(Vec<String>),
    Unchanged,
    Refused(String),
    /// The store failed or the run was stopped. If the store did not answer, the record may have
    /// been written.
    Failed(AnyError),
}

/// The state that the tasks of an import share.
pub(super) struct Importer<R> {
    table: Table<R>,
    now: Timestamp,
    random: Random,
    dry_run: bool,
    stopped: AtomicBool,
    /// The key of the record that has an id, as the table was when the first row with an id was
    /// imported.
    owners: OnceCell<HashMap<String, String>>,
}

impl<R: Importable> Importer<R> {
    pub(super) fn new(context: &Context, dry_run: bool) -> Self {
        Self {
            table: context.table(),
            now: context.clock.now(),
            random: context.random.clone(),
            dry_run,
            stopped: AtomicBool::new(false),
            owners: OnceCell::new(),
        }
    }

    /// Returns true once the store has failed.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Imports a record. The first failure of the store stops the run: every other record would
    /// wait for a timeout too.
    pub(super) async fn import(self: Arc<Self>, record: NewRecord<R>) -> RowOutcome {
        if self.is_stopped() {
            return RowOutcome::Failed("not tried".into());
        }
        self.try_import(record).await.unwrap_or_else(|error| {
            self.stopped.store(true, Ordering::Relaxed);
            RowOutcome::Failed(error)
        })
    }

    async fn try_import(self: &Arc<Self>, new: NewRecord<R>) -> Result<RowOutcome, AnyError> {
        let NewRecord { record, credential, given_id } = new;
        if let Some(owner) = self.other_owner(given_id.as_deref(), &record.key()).await? {
            return Ok(RowOutcome::Refused(format!(
                "id: {owner} has it, and the tokens of two people would have the same sub; import the person from a CSV, \
                 which gives a new id"
            )));
        }
        let is_slow =
            credential.as_ref().is_some_and(|credential| !matches!(credential.value, SpringValue::Hash(_)));
        let key = record.key();
        // Read first if a slow hash may be saved that way; other records are most likely new.
        if self.dry_run || is_slow {
            match self.table.get(&key).await? {
                Some(stored) => return self.replace(record, credential, stored).await,
                None if self.dry_run => return Ok(RowOutcome::Created),
                None => {}
            }
        }
        let (mut record, credential) = match self.set_credential(record, credential).await? {
            Ok(hashed) => hashed,
            Err(error) => return Ok(RowOutcome::Refused(error.to_string())),
        };
        *record.version() = 1;
        record.mark_imported(1, self.now);
        match self.table.create(&record).await {
            Ok(()) => Ok(RowOutcome::Created),
            Err(WriteError::Exists) => match self.table.get(&key).await? {
                Some(stored) => self.replace(record, credential, stored).await,
                None => Ok(RowOutcome::Refused(WriteError::Changed.to_string())),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the key of another record that has this id. An id that is generated is random, so
    /// only those from a file are looked up, and the table is read once for all of them.
    async fn other_owner(&self, id: Option<&str>, key: &str) -> Result<Option<&str>, AnyError> {
        let Some(id) = id else { return Ok(None) };
        let read = || async {
            let ids = self.table.list_attribute("id").await?;
            Ok::<_, AnyError>(ids.into_iter().map(|(owner, id)| (id, owner)).collect())
        };
        let owner = self.owners.get_or_try_init(read).await?.get(id).map(String::as_str);
        Ok(owner.filter(|owner| *owner != key))
    }

    /// Hashes the credential into the record, on a thread for blocking work. A credential that
    /// cannot be hashed refuses this record alone.
    async fn set_credential(
        self: &Arc<Self>,
        mut record: R,
        credential: Option<Credential>,
    ) -> Result<Result<(R, Option<Credential>), PasswordError>, AnyError> {
        let importer = Arc::clone(self);
        let hashing = tokio::task::spawn_blocking(move || {
            let hashed = match &credential {
                Some(credential) => record.set_credential(credential, importer.now, &importer.random),
                None => Ok(()),
            };
            hashed.map(|()| (record, credential))
        });
        Ok(hashing.await?)
    }

    /// Replaces a stored record if an import wrote it last.
    async fn replace(
        self: &Arc<Self>,
        mut record: R,
        credential: Option<Credential>,
        stored: R,
    ) -> Result<RowOutcome, AnyError> {
        let comparing = tokio::task::spawn_blocking(move || {
            let is_same = record.keep_stored(&stored, credential.as_ref());
            (record, credential.filter(|_| !is_same), stored)
        });
        let (record, credential, mut stored) = comparing.await?;
        let differing = differing_members(&record, &stored)?;
        if differing.is_empty() {
            return Ok(RowOutcome::Unchanged);
        }
        if !stored.is_as_imported() {
            return Ok(RowOutcome::Refused(format!(
                "it exists and differs in {}; it is left alone, because no import wrote it last",
                differing.join(", ")
            )));
        }
        if self.dry_run {
            return Ok(RowOutcome::Updated(differing));
        }
        let (mut record, _) = match self.set_credential(record, credential).await? {
            Ok(hashed) => hashed,
            Err(error) => return Ok(RowOutcome::Refused(error.to_string())),
        };
        let version = *record.version() + 1;
        record.mark_imported(version, self.now);
        match self.table.save(&mut record).await {
            Ok(()) => Ok(RowOutcome::Updated(differing)),
            Err(WriteError::Changed) => Ok(RowOutcome::Refused(WriteError::Changed.to_string())),
            Err(error) => Err(error.into()),
        }
    }
}

/// The names of the members in which two records differ.
fn differing_members<R: Record>(one: &R, other: &R) -> Result<Vec<String>, serde_json::Error> {
    let (one, other) = (serde_json::to_value(one)?, serde_json::to_value(other)?);
    let names = |value: &Value| value.as_object().map(|members| members.keys().cloned().collect::<Vec<_>>());
    let mut names = [names(&one), names(&other)].into_iter().flatten().flatten().collect::<Vec<_>>();
    names.sort();
    names.dedup();
    names.retain(|name| one.get(name) != other.get(name));
    Ok(names)
}
