//! The mapping file: values that a dump lacks, and new names for those that it has. Command-line flags add defaults.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use countersign_issuer::credentials::SpringValue;
use serde::Deserialize;
use serde_json::Value;

use super::rows::Row;
use crate::outcome::Outcome;

/// A mapping file (TOML). Every table is optional.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Mapping {
    /// The place of a field in a row, as a JSON pointer (RFC 6901) that begins with the column.
    from: BTreeMap<Field, String>,
    /// New names by the dump's names; '' drops a value.
    scopes: BTreeMap<String, String>,
    roles: BTreeMap<String, String>,
    audiences: BTreeMap<String, String>,
    grants: BTreeMap<String, String>,
    /// Values for fields that the dump does not have.
    pub(crate) default: Lists,
    /// Values for one client or principal by its id or name; they override the dump.
    client: BTreeMap<String, Lists>,
    principal: BTreeMap<String, Lists>,
    /// The entries that at least one row used.
    #[serde(skip)]
    used: Mutex<BTreeSet<String>>,
}

/// The lists that a mapping can set in a record.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Lists {
    pub(crate) brands: Option<Vec<String>>,
    pub(crate) operators: Option<Vec<String>>,
    pub(crate) audiences: Option<Vec<String>>,
    pub(crate) roles: Option<Vec<String>>,
}

impl Lists {
    fn get(&self, field: Field) -> Option<&Vec<String>> {
        match field {
            Field::Brands => self.brands.as_ref(),
            Field::Operators => self.operators.as_ref(),
            Field::Audiences => self.audiences.as_ref(),
            Field::Roles => self.roles.as_ref(),
            Field::Name => None,
        }
    }
}

/// A field of a record that a mapping can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Field {
    Brands,
    Operators,
    Audiences,
    Roles,
    Name,
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            Self::Brands => "brands",
            Self::Operators => "operators",
            Self::Audiences => "audiences",
            Self::Roles => "roles",
            Self::Name => "name",
        }
    }
}

/// The lists whose values a mapping can rename.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RenamedList {
    Scopes,
    Roles,
    Audiences,
    Grants,
}

impl RenamedList {
    fn name(self) -> &'static str {
        match self {
            Self::Scopes => "scopes",
            Self::Roles => "roles",
            Self::Audiences => "audiences",
            Self::Grants => "grants",
        }
    }
}

impl Mapping {
    pub(crate) fn read(path: &Path) -> Outcome<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut mapping: Self =
            toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        if let Some(pointer) = mapping.from.values().find(|pointer| !pointer.starts_with('/')) {
            let rule = "a JSON pointer that begins with the column, such as /additional_information/brands";
            return Err(format!("{}: [from] {pointer:?}: {rule}", path.display()).into());
        }
        // Columns are named in lower case; members of JSON objects keep their names.
        for pointer in mapping.from.values_mut() {
            let column = pointer[1..].find('/').map_or(pointer.len(), |length| 1 + length);
            pointer[..column].make_ascii_lowercase();
        }
        Ok(mapping)
    }

    /// A list of a client: the mapping's list for this client, else the list in the row, else the default.
    pub(crate) fn client_list(
        &self,
        field: Field,
        id: &str,
        row: &Row,
        column: Option<&str>,
    ) -> Result<Vec<String>, String> {
        let own = self.client.get(id).inspect(|_| self.mark_used(format!("[client.{id}]")));
        self.resolve(own, field, row, column)
    }

    /// A list of a user or an operator, in the same order of preference.
    pub(crate) fn principal_list(
        &self,
        field: Field,
        name: &str,
        row: &Row,
        column: Option<&str>,
    ) -> Result<Vec<String>, String> {
        let own = self.principal.get(name).inspect(|_| self.mark_used(format!("[principal.{name}]")));
        self.resolve(own, field, row, column)
    }

    fn resolve(
        &self,
        own: Option<&Lists>,
        field: Field,
        row: &Row,
        column: Option<&str>,
    ) -> Result<Vec<String>, String> {
        let pointed = self.pointed(field, row);
        if let Some(own) = own.and_then(|lists| lists.get(field)) {
            return Ok(own.clone());
        }
        let from_row = match list(field.name(), pointed?.as_ref())? {
            None => column.map(|column| list(column, row.columns.get(column))).transpose()?.flatten(),
            pointed => pointed,
        };
        // An empty list is deliberate, and so is one whose values were all dropped: a default must not widen it.
        Ok(match (from_row, field) {
            (None, _) => self.default.get(field).cloned().unwrap_or_default(),
            (Some(values), Field::Roles) => self.rename(RenamedList::Roles, values),
            (Some(values), Field::Audiences) => self.rename(RenamedList::Audiences, values),
            (Some(values), _) => values,
        })
    }

    /// The value at the place that the mapping names.
    pub(crate) fn pointed(&self, field: Field, row: &Row) -> Result<Option<Value>, String> {
        let Some(pointer) = self.from.get(&field).and_then(|pointer| pointer.strip_prefix('/')) else {
            return Ok(None);
        };
        let (column, rest) =
            pointer.split_once('/').map_or((pointer, None), |(column, rest)| (column, Some(rest)));
        let Some(value) = row.columns.get(column).map(parse_json) else { return Ok(None) };
        let value = match rest {
            None => Some(value),
            Some(rest) if value.is_object() || value.is_array() => {
                value.pointer(&format!("/{rest}")).cloned()
            }
            Some(_) if is_blank(&value) => None,
            Some(_) => {
                return Err(format!("{column}: not JSON, but [from] {} reads from it", field.name()));
            }
        };
        let value = value.filter(|value| !value.is_null());
        if value.is_some() {
            self.mark_used(format!("[from] {}", field.name()));
        }
        Ok(value)
    }

    /// Returns true if the mapping reads a column, or a member of it.
    pub(crate) fn reads(&self, path: &[&str]) -> bool {
        self.from.values().any(|pointer| pointer.split('/').skip(1).take(path.len()).eq(path.iter().copied()))
    }

    /// Renames the values, and removes repeated ones.
    pub(crate) fn rename(&self, list: RenamedList, values: Vec<String>) -> Vec<String> {
        let names = match list {
            RenamedList::Scopes => &self.scopes,
            RenamedList::Roles => &self.roles,
            RenamedList::Audiences => &self.audiences,
            RenamedList::Grants => &self.grants,
        };
        let mut renamed = Vec::new();
        for value in values {
            let value = match names.get(&value) {
                Some(new_name) => {
                    self.mark_used(format!("[{}] {value}", list.name()));
                    new_name.clone()
                }
                None => value,
            };
            if !value.is_empty() && !renamed.contains(&value) {
                renamed.push(value);
            }
        }
        renamed
    }

    fn mark_used(&self, entry: String) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(entry);
    }

    /// The entries that no row used; most likely their names are misspelt.
    pub(crate) fn unmatched(&self, of_clients: bool) -> Vec<String> {
        let own = if of_clients { ("client", &self.client) } else { ("principal", &self.principal) };
        let tables = [
            (RenamedList::Scopes, &self.scopes),
            (RenamedList::Roles, &self.roles),
            (RenamedList::Audiences, &self.audiences),
            (RenamedList::Grants, &self.grants),
        ];
        let entries = own.1.keys().map(|id| format!("[{}.{id}]", own.0));
        let entries = entries.chain(self.from.keys().map(|field| format!("[from] {}", field.name())));
        let entries = entries.chain(
            tables
                .iter()
                .flat_map(|(list, names)| names.keys().map(|name| format!("[{}] {name}", list.name()))),
        );
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        entries.filter(|entry| !used.contains(entry)).collect()
    }
}

/// Reads a list: a JSON array of texts, with or without the name of a Java class before them, or one text with commas.
/// A missing or blank value is no list, as in Spring (`StringUtils.hasText` in `BaseClientDetails`).
///
/// Spring splits at commas only (`StringUtils.commaDelimitedListToSet` in `BaseClientDetails`, which
/// `JdbcClientDetailsService` makes, and in `JdbcRegisteredClientRepository.RegisteredClientRowMapper`), so white space
/// inside an item belongs to it. Spring removes white space around an item from authorities only
/// (`AuthorityUtils.commaSeparatedStringToAuthorityList`); in other lists no request could have named such an item.
pub(crate) fn list(name: &str, value: Option<&Value>) -> Result<Option<Vec<String>>, String> {
    let not_a_list = || format!("{name}: neither text nor a list of texts");
    let items: Vec<&str> = match value {
        None => return Ok(None),
        Some(value) if is_blank(value) => return Ok(None),
        Some(Value::String(text)) => text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect(),
        Some(Value::Array(items)) => {
            let items = match items.as_slice() {
                [Value::String(class), Value::Array(items)] if is_class(class) => items,
                _ => items,
            };
            items.iter().map(Value::as_str).collect::<Option<_>>().ok_or_else(not_a_list)?
        }
        Some(_) => return Err(not_a_list()),
    };
    if items.iter().any(|item| SpringValue::is_marked(item)) {
        return Err(format!("{name}: contains a hash"));
    }
    let mut once: Vec<String> = Vec::new();
    for item in items {
        if !once.iter().any(|known| known == item) {
            once.push(item.to_owned());
        }
    }
    Ok(Some(once))
}

fn is_blank(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.trim().is_empty())
}

fn is_class(name: &str) -> bool {
    name.starts_with("java.") || name.starts_with("org.")
}

/// Removes the class that Jackson writes before a value, as in `["java.time.Duration", 300.0]`.
pub(crate) fn without_class(value: &Value) -> &Value {
    match value {
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(class), inner] if is_class(class) => inner,
            _ => value,
        },
        _ => value,
    }
}

/// Parses a column that contains JSON: text in a CSV, and text or JSON in a JSON dump.
pub(crate) fn parse_json(value: &Value) -> Value {
    match value {
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
            serde_json::from_str(text).unwrap_or_else(|_| value.clone())
        }
        _ => value.clone(),
    }
}
