//! The records that can be imported: clients and principals.

use std::fmt::Debug;

use countersign_issuer::credentials::{ClientSecret, PasswordError};
use countersign_issuer::random::Random;
use countersign_issuer::records::{Client, Principal};
use countersign_issuer::store::Record;
use countersign_verify::Timestamp;

use super::conversion::Credential;

/// A record that can be imported.
pub(crate) trait Importable: Record + Clone + Debug + Send + Sync + 'static {
    /// The member of the JSON report that lists the rows.
    const PLURAL: &'static str;
    /// The columns that identify a record; each table of records has one of them.
    const KEY_COLUMNS: &'static [&'static str];
    /// Hashes the credential into the record.
    fn set_credential(
        &mut self,
        credential: &Credential,
        now: Timestamp,
        random: &Random,
    ) -> Result<(), PasswordError>;
    /// Copies from the stored record the members that an import does not set. Copies the stored
    /// credential too and returns true if it is the same as `credential`.
    fn keep_stored(&mut self, stored: &Self, credential: Option<&Credential>) -> bool;
    /// The version that an import wrote last, and the time of the last change.
    fn import_marks(&mut self) -> (&mut Option<u64>, &mut Timestamp);

    /// Marks the record as written by an import in this version.
    fn mark_imported(&mut self, version: u64, now: Timestamp) {
        let (imported, updated) = self.import_marks();
        (*imported, *updated) = (Some(version), now);
    }

    /// Returns true if an import wrote the record last.
    fn is_as_imported(&mut self) -> bool {
        let version = *self.version();
        *self.import_marks().0 == Some(version)
    }
}

impl Importable for Client {
    const PLURAL: &'static str = "clients";
    const KEY_COLUMNS: &'static [&'static str] = &["client_id"];

    fn set_credential(
        &mut self,
        credential: &Credential,
        now: Timestamp,
        random: &Random,
    ) -> Result<(), PasswordError> {
        self.secrets = vec![ClientSecret::imported(&credential.value, now, credential.expires, random)?];
        Ok(())
    }

    fn keep_stored(&mut self, stored: &Self, credential: Option<&Credential>) -> bool {
        (self.created, self.updated) = (stored.created, stored.updated);
        (self.version, self.imported) = (stored.version, stored.imported);
        let (Some(credential), [secret]) = (credential, stored.secrets.as_slice()) else {
            return false;
        };
        let is_same = secret.expires == credential.expires && secret.holds(&credential.value);
        if is_same {
            self.secrets.clone_from(&stored.secrets);
        }
        is_same
    }

    fn import_marks(&mut self) -> (&mut Option<u64>, &mut Timestamp) {
        (&mut self.imported, &mut self.updated)
    }
}

impl Importable for Principal {
    const PLURAL: &'static str = "principals";
    const KEY_COLUMNS: &'static [&'static str] = &["username", "principal"];

    fn set_credential(
        &mut self,
        credential: &Credential,
        now: Timestamp,
        random: &Random,
    ) -> Result<(), PasswordError> {
        self.set_imported_password(&credential.value, now, random)
    }

    fn keep_stored(&mut self, stored: &Self, credential: Option<&Credential>) -> bool {
        self.id.clone_from(&stored.id);
        (self.created, self.updated) = (stored.created, stored.updated);
        (self.version, self.imported) = (stored.version, stored.imported);
        self.sessions_valid_from = stored.sessions_valid_from;
        let is_same = credential.is_some_and(|credential| stored.holds(&credential.value));
        if is_same {
            self.copy_password(stored);
        }
        // An exported hash that differs, and disabling, end sessions here; a new credential does so
        // when it is set.
        let is_replaced = credential.is_none() && !self.has_password_of(stored);
        if is_replaced || (stored.enabled && !self.enabled) {
            self.end_sessions(stored.sessions_valid_from);
        }
        is_same
    }

    fn import_marks(&mut self) -> (&mut Option<u64>, &mut Timestamp) {
        (&mut self.imported, &mut self.updated)
    }
}
