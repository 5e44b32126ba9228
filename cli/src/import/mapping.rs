//! The mapping file: values that a dump lacks, and new names for those that it has. Command-line
//! flags add defaults.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use serde_json::Value;

use super::columns::canonical_name;
use super::rows::Row;
use super::values::{is_null, list, parse_json};
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
    scopes: Option<Vec<String>>,
}

impl Lists {
    fn get(&self, field: Field) -> Option<&Vec<String>> {
        match field {
            Field::Brands => self.brands.as_ref(),
            Field::Operators => self.operators.as_ref(),
            Field::Audiences => self.audiences.as_ref(),
            Field::Roles => self.roles.as_ref(),
            Field::Scopes => self.scopes.as_ref(),
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
    Scopes,
    Name,
}

impl Field {
    /// The table of the mapping file that renames the field's values.
    fn renamed(self) -> Option<RenamedList> {
        match self {
            Self::Audiences => Some(RenamedList::Audiences),
            Self::Roles => Some(RenamedList::Roles),
            Self::Scopes => Some(RenamedList::Scopes),
            Self::Brands | Self::Operators | Self::Name => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Brands => "brands",
            Self::Operators => "operators",
            Self::Audiences => "audiences",
            Self::Roles => "roles",
            Self::Scopes => "scopes",
            Self::Name => "name",
        }
    }
}

/// The lists whose values a mapping can rename.
#[derive(Debug, Clone, Copy)]
enum RenamedList {
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
        // Columns have canonical names; members of JSON objects keep theirs.
        for pointer in mapping.from.values_mut() {
            let end = pointer[1..].find('/').map_or(pointer.len(), |length| 1 + length);
            *pointer = format!("/{}{}", canonical_name(&pointer[1..end]), &pointer[end..]);
        }
        Ok(mapping)
    }

    /// A list of a client: the mapping's list for this client, else the list in the row, else the
    /// default.
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
        let renamed = field.renamed();
        let is_known = |name: &str| renamed.is_some_and(|list| self.names(list).contains_key(name));
        let from_row = match list(field.name(), pointed?.as_ref(), is_known)? {
            None => {
                column.map(|column| list(column, row.columns.get(column), is_known)).transpose()?.flatten()
            }
            pointed => pointed,
        };
        // An empty list is deliberate, and so is one whose values were all dropped: a default must
        // not widen it.
        Ok(match (from_row, renamed) {
            (None, _) => self.default.get(field).cloned().unwrap_or_default(),
            (Some(values), Some(list)) => self.rename(list, values),
            (Some(values), None) => values,
        })
    }

    /// The names of the grants in a row, or those of a row without any, renamed.
    pub(crate) fn grants(&self, column: &str, row: &Row, default: &[&str]) -> Result<Vec<String>, String> {
        let grants = list(column, row.columns.get(column), |name| self.grants.contains_key(name))?;
        let default = || default.iter().map(|grant| (*grant).to_owned()).collect();
        Ok(self.rename(RenamedList::Grants, grants.unwrap_or_else(default)))
    }

    /// Returns true if the mapping, or an option, has roles for principals whose table has none. An
    /// empty list counts.
    pub(crate) fn gives_roles(&self) -> bool {
        self.default.roles.is_some() || self.has_place(Field::Roles)
    }

    /// Returns true if the mapping names the place of a field.
    pub(crate) fn has_place(&self, field: Field) -> bool {
        self.from.contains_key(&field)
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
            Some(_) if value.as_str().is_some_and(is_null) => None,
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
    fn rename(&self, list: RenamedList, values: Vec<String>) -> Vec<String> {
        let names = self.names(list);
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

    fn names(&self, list: RenamedList) -> &BTreeMap<String, String> {
        match list {
            RenamedList::Scopes => &self.scopes,
            RenamedList::Roles => &self.roles,
            RenamedList::Audiences => &self.audiences,
            RenamedList::Grants => &self.grants,
        }
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
