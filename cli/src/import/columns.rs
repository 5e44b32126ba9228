//! Columns that every foreign table has: required text, and secrets or passwords.

use countersign_issuer::credentials::SpringValue;
use serde_json::Value;

use super::rows::Row;

/// The kinds of secrets and passwords that an import accepts besides sufficiently strong hashes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AcceptedValues {
    pub(crate) hash_plain: bool,
    pub(crate) allow_legacy: bool,
}

impl AcceptedValues {
    /// Reads a secret or a password. The error never repeats the value.
    pub(super) fn read(self, column: &str, value: Option<&Value>) -> Result<SpringValue, String> {
        let value = required(column, value)?;
        match SpringValue::parse(value).map_err(|error| format!("{column} {error}"))? {
            SpringValue::Plain(_) if !self.hash_plain => {
                Err(format!("{column} is plain text; --hash-plain stores it as argon2id"))
            }
            SpringValue::Legacy(hash) if !self.allow_legacy => Err(format!(
                "{column} {{{}}}: a fast digest, easy to guess from a stolen table; --allow-legacy stores argon2id of it",
                hash.id()
            )),
            value => match value.check() {
                Ok(()) => Ok(value),
                Err(error) => Err(format!("{column}: {error}")),
            },
        }
    }
}

/// A loss: logins, or the first requests of a client, are slow.
pub(super) const COSTLY: &str =
    "its hash takes more than a quarter of a second of a whole vCPU to verify; set a new one";

/// The losses with which a secret or a password is imported.
pub(super) fn losses(column: &str, value: &SpringValue) -> Vec<String> {
    let mut losses = Vec::new();
    if value.is_short() {
        losses.push(format!("{column}: shorter than 8 characters, so easy to guess; set a new one"));
    }
    if value.is_costly() {
        losses.push(format!("{column}: {COSTLY}"));
    }
    losses
}

/// Reads a column that must be text and not empty.
pub(super) fn required<'a>(column: &str, value: Option<&'a Value>) -> Result<&'a str, String> {
    match value {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        None | Some(Value::String(_)) => Err(format!("{column}: missing")),
        Some(_) => Err(format!("{column}: not text")),
    }
}

/// Returns the reason to refuse a row if one of the columns for which `has_no_hash` is true
/// contains a hash. Then the columns are mixed up: no value of the row can be trusted, and none is
/// repeated, because it may be a secret.
pub(super) fn misplaced_hash(row: &Row, place: &str, has_no_hash: impl Fn(&str) -> bool) -> Option<String> {
    let is_hash = |value: &Value| {
        let is_marked = |text: &str| text.split(',').any(|item| SpringValue::is_marked(item.trim()));
        match value {
            Value::String(text) => is_marked(text),
            Value::Array(items) => items.iter().filter_map(Value::as_str).any(is_marked),
            _ => false,
        }
    };
    let (column, _) = row.columns.iter().find(|(column, value)| has_no_hash(column) && is_hash(value))?;
    Some(format!("{column}: contains a hash of {place}; are the columns mixed up?"))
}
