//! The names of columns, and the columns that every foreign table has: required text, and secrets
//! or passwords.

use countersign_issuer::credentials::SpringValue;
use serde_json::Value;

use super::rows::Row;
use super::values::disguise;

/// The columns of Spring's tables, and those of users and operators.
pub(super) const KNOWN: &[&str] = &[
    "client_id",
    "client_secret",
    // oauth_client_details
    "resource_ids",
    "scope",
    "authorized_grant_types",
    "web_server_redirect_uri",
    "authorities",
    "access_token_validity",
    "refresh_token_validity",
    "additional_information",
    "autoapprove",
    // oauth2_registered_client
    "client_id_issued_at",
    "client_secret_expires_at",
    "client_name",
    "client_authentication_methods",
    "authorization_grant_types",
    "redirect_uris",
    "post_logout_redirect_uris",
    "scopes",
    "client_settings",
    "token_settings",
    // users
    "username",
    "password",
    "enabled",
    "authority",
    "account_non_locked",
    "account_non_expired",
    "credentials_non_expired",
];

/// Columns by the names of the properties of `BaseClientDetails`, where those differ.
const PROPERTIES: [(&str, &str); 2] = [
    ("access_token_validity_seconds", "access_token_validity"),
    ("refresh_token_validity_seconds", "refresh_token_validity"),
];

/// The name of a column: that of a known column in another spelling (`clientId`, `CLIENT-ID`), else
/// the name in lower case.
pub(super) fn canonical_name(name: &str) -> String {
    fn letters(name: &str) -> impl Iterator<Item = char> {
        name.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_ascii_lowercase())
    }
    let name = name.trim();
    // Some tools write the table before it: `oauth_client_details.client_id`.
    let last = name.rsplit('.').next().unwrap_or(name);
    let names = KNOWN.iter().map(|known| (*known, *known)).chain(PROPERTIES);
    match names
        .into_iter()
        .find(|(known, _)| letters(known).eq(letters(name)) || letters(known).eq(letters(last)))
    {
        Some((_, known)) => known.to_owned(),
        None => name.to_ascii_lowercase(),
    }
}

/// Spring's mark of plain text.
const NOOP: &str = "{noop}";

fn is_blank(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}')
}

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
        // Tools write white space around values, and no hash has any.
        let start = value.trim_start_matches(is_blank);
        let value = match SpringValue::is_marked(start) {
            true if start.starts_with(NOOP) => start,
            true => start.trim_end_matches(is_blank),
            false => value,
        };
        match SpringValue::parse(value).map_err(|error| format!("{column} {error}"))? {
            SpringValue::Plain(_) if !value.starts_with(NOOP) && value.trim_matches(is_blank) != value => {
                Err(format!(
                    "{column}: white space around plain text; remove it, or write {NOOP} before the text if it belongs to it"
                ))
            }
            SpringValue::Plain(_) if !value.starts_with(NOOP) && disguise(value).is_some() => Err(format!(
                "{column}: {}. If the secret really is so, write {NOOP} before it",
                disguise(value).unwrap_or_default()
            )),
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

/// Reads the column that names a record. Databases may have numbers there.
pub(super) fn key(column: &str, value: Option<&Value>) -> Result<String, String> {
    match value {
        Some(Value::Number(number)) if !number.is_f64() => Ok(number.to_string()),
        value => {
            let text = required(column, value)?;
            if is_rounded(text) {
                return Err(format!(
                    "{column}: a number that a spreadsheet has rounded; export the table without one, or format the column as text"
                ));
            }
            Ok(text.to_owned())
        }
    }
}

/// Returns true for numbers such as `1.23457E+15`.
fn is_rounded(text: &str) -> bool {
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once(['E', 'e']).is_some_and(|(digits, exponent)| {
        is_number(&digits.replacen(['.', ','], "", 1)) && exponent.strip_prefix('+').is_some_and(is_number)
    })
}

/// Reads a column that must be text and not empty.
pub(super) fn required<'a>(column: &str, value: Option<&'a Value>) -> Result<&'a str, String> {
    match value {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        None | Some(Value::String(_)) => Err(format!("{column}: missing, or a spelling of NULL")),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_known_in_other_spellings() {
        for name in
            ["client_id", "CLIENT_ID", "clientId", " Client ID", "clientid", "client-id", "t.client_id"]
        {
            assert_eq!(canonical_name(name), "client_id", "{name}");
        }
        assert_eq!(canonical_name("clientSecretExpiresAt"), "client_secret_expires_at");
        assert_eq!(canonical_name("accessTokenValiditySeconds"), "access_token_validity");
        assert_eq!(canonical_name("Tenant"), "tenant");
    }
}
