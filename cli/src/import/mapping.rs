//! What a dump lacks, and what its words are here: flags, and a mapping file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use countersign_issuer::credentials::SpringValue;
use serde::Deserialize;
use serde_json::Value;

use super::rows::Row;
use crate::commands::Outcome;

/// A mapping file (TOML). Every part may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Mapping {
    /// Where in a row something stands, as a JSON pointer (RFC 6901) that begins with the column.
    from: BTreeMap<Part, String>,
    /// What the dump calls something, and what it is called here; '' drops it.
    scopes: BTreeMap<String, String>,
    roles: BTreeMap<String, String>,
    audiences: BTreeMap<String, String>,
    grants: BTreeMap<String, String>,
    /// For whatever the dump says nothing about.
    pub(crate) default: Lists,
    /// For one client or principal by its id or name, whatever the dump says.
    client: BTreeMap<String, Lists>,
    principal: BTreeMap<String, Lists>,
    /// Entries that were of use to some row.
    #[serde(skip)]
    matched: Mutex<BTreeSet<String>>,
}

/// What can be given for a record.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Lists {
    pub(crate) brands: Option<Vec<String>>,
    pub(crate) operators: Option<Vec<String>>,
    pub(crate) audiences: Option<Vec<String>>,
    pub(crate) roles: Option<Vec<String>>,
}

impl Lists {
    fn get(&self, part: Part) -> Option<&Vec<String>> {
        match part {
            Part::Brands => self.brands.as_ref(),
            Part::Operators => self.operators.as_ref(),
            Part::Audiences => self.audiences.as_ref(),
            Part::Roles => self.roles.as_ref(),
            Part::Name => None,
        }
    }
}

/// A part of a record that a mapping may tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Part {
    Brands,
    Operators,
    Audiences,
    Roles,
    Name,
}

impl Part {
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

/// Lists whose words a mapping may change.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Words {
    Scopes,
    Roles,
    Audiences,
    Grants,
}

impl Words {
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
        // As the rows have their columns; a member's name is kept as it is.
        for pointer in mapping.from.values_mut() {
            let column = pointer[1..].find('/').map_or(pointer.len(), |length| 1 + length);
            pointer[..column].make_ascii_lowercase();
        }
        Ok(mapping)
    }

    /// A list of the client's: what the mapping says of this client, else what stands in the row, else the default.
    pub(crate) fn of_client(
        &self,
        part: Part,
        id: &str,
        row: &Row,
        column: Option<&str>,
    ) -> Result<Vec<String>, String> {
        let own = self.client.get(id).inspect(|_| self.note(format!("[client.{id}]")));
        self.of(own, part, row, column)
    }

    /// The same for a user or an operator.
    pub(crate) fn of_principal(
        &self,
        part: Part,
        name: &str,
        row: &Row,
        column: Option<&str>,
    ) -> Result<Vec<String>, String> {
        let own = self.principal.get(name).inspect(|_| self.note(format!("[principal.{name}]")));
        self.of(own, part, row, column)
    }

    fn of(
        &self,
        own: Option<&Lists>,
        part: Part,
        row: &Row,
        column: Option<&str>,
    ) -> Result<Vec<String>, String> {
        let pointed = self.pointed(part, row);
        if let Some(own) = own.and_then(|lists| lists.get(part)) {
            return Ok(own.clone());
        }
        let said = match list(part.name(), pointed?.as_ref())? {
            None => column.map(|column| list(column, row.columns.get(column))).transpose()?.flatten(),
            pointed => pointed,
        };
        // A list that is empty, or of which nothing is left, says that there is nothing: no default is to widen it.
        Ok(match (said, part) {
            (None, _) => self.default.get(part).cloned().unwrap_or_default(),
            (Some(said), Part::Roles) => self.translate(Words::Roles, said),
            (Some(said), Part::Audiences) => self.translate(Words::Audiences, said),
            (Some(said), _) => said,
        })
    }

    /// What stands where the mapping says that something is.
    pub(crate) fn pointed(&self, part: Part, row: &Row) -> Result<Option<Value>, String> {
        let Some(pointer) = self.from.get(&part).and_then(|pointer| pointer.strip_prefix('/')) else {
            return Ok(None);
        };
        let (column, rest) =
            pointer.split_once('/').map_or((pointer, None), |(column, rest)| (column, Some(rest)));
        let Some(value) = row.columns.get(column).map(parsed) else { return Ok(None) };
        let value = match rest {
            None => Some(value),
            Some(rest) if value.is_object() || value.is_array() => {
                value.pointer(&format!("/{rest}")).cloned()
            }
            Some(_) if is_blank(&value) => None,
            Some(_) => {
                return Err(format!("{column}: not JSON, and [from] {} looks into it", part.name()));
            }
        };
        let value = value.filter(|value| !value.is_null());
        if value.is_some() {
            self.note(format!("[from] {}", part.name()));
        }
        Ok(value)
    }

    /// Whether the mapping looks into a column, or into a member of it.
    pub(crate) fn looks_into(&self, path: &[&str]) -> bool {
        self.from.values().any(|pointer| pointer.split('/').skip(1).take(path.len()).eq(path.iter().copied()))
    }

    /// The words as they are here, each once.
    pub(crate) fn translate(&self, words: Words, said: Vec<String>) -> Vec<String> {
        let dictionary = match words {
            Words::Scopes => &self.scopes,
            Words::Roles => &self.roles,
            Words::Audiences => &self.audiences,
            Words::Grants => &self.grants,
        };
        let mut translated = Vec::new();
        for word in said {
            let word = match dictionary.get(&word) {
                Some(here) => {
                    self.note(format!("[{}] {word}", words.name()));
                    here.clone()
                }
                None => word,
            };
            if !word.is_empty() && !translated.contains(&word) {
                translated.push(word);
            }
        }
        translated
    }

    fn note(&self, entry: String) {
        self.matched.lock().unwrap_or_else(PoisonError::into_inner).insert(entry);
    }

    /// What was of use to no row that was judged: most likely something is misspelt there.
    pub(crate) fn unmatched(&self, of_clients: bool) -> Vec<String> {
        let own = if of_clients { ("client", &self.client) } else { ("principal", &self.principal) };
        let dictionaries = [
            (Words::Scopes, &self.scopes),
            (Words::Roles, &self.roles),
            (Words::Audiences, &self.audiences),
            (Words::Grants, &self.grants),
        ];
        let entries = own.1.keys().map(|id| format!("[{}.{id}]", own.0));
        let entries = entries.chain(self.from.keys().map(|part| format!("[from] {}", part.name())));
        let entries = entries.chain(dictionaries.iter().flat_map(|(words, dictionary)| {
            dictionary.keys().map(|word| format!("[{}] {word}", words.name()))
        }));
        let matched = self.matched.lock().unwrap_or_else(PoisonError::into_inner);
        entries.filter(|entry| !matched.contains(entry)).collect()
    }
}

/// A list: texts in JSON, with or without the name of a Java class before them, or one text with commas. Nothing where
/// nothing is said, which blank text is, as for Spring (`StringUtils.hasText` in `BaseClientDetails`).
///
/// Spring splits at commas alone (`StringUtils.commaDelimitedListToSet` in `BaseClientDetails`, which
/// `JdbcClientDetailsService` makes, and in `JdbcRegisteredClientRepository.RegisteredClientRowMapper`): white space in
/// the middle belongs to the item. That around it Spring takes away from authorities only
/// (`AuthorityUtils.commaSeparatedStringToAuthorityList`); elsewhere no request could ever have named such an item.
pub(crate) fn list(name: &str, value: Option<&Value>) -> Result<Option<Vec<String>>, String> {
    let no_list = || format!("{name}: neither a text nor a list of texts");
    let items: Vec<&str> = match value {
        None => return Ok(None),
        Some(value) if is_blank(value) => return Ok(None),
        Some(Value::String(text)) => text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect(),
        Some(Value::Array(items)) => {
            let items = match items.as_slice() {
                [Value::String(class), Value::Array(items)] if is_class(class) => items,
                _ => items,
            };
            items.iter().map(Value::as_str).collect::<Option<_>>().ok_or_else(no_list)?
        }
        Some(_) => return Err(no_list()),
    };
    if items.iter().any(|item| SpringValue::is_marked(item)) {
        return Err(format!("{name}: a hash stands there"));
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

/// A value without the class that Jackson writes before it: `["java.time.Duration", 300.0]`.
pub(crate) fn untyped(value: &Value) -> &Value {
    match value {
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(class), inner] if is_class(class) => inner,
            _ => value,
        },
        _ => value,
    }
}

/// A column that holds JSON, which a CSV has as text and a JSON dump perhaps as it is.
pub(crate) fn parsed(value: &Value) -> Value {
    match value {
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
            serde_json::from_str(text).unwrap_or_else(|_| value.clone())
        }
        _ => value.clone(),
    }
}
