//! What a dump lacks, and what its words are here: flags, and a mapping file.

use std::collections::BTreeMap;
use std::path::Path;

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

/// Lists whose words a mapping may change.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Words {
    Scopes,
    Roles,
    Audiences,
    Grants,
}

impl Mapping {
    pub(crate) fn read(path: &Path) -> Outcome<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mapping: Self = toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        if let Some(pointer) = mapping.from.values().find(|pointer| !pointer.starts_with('/')) {
            let rule = "a JSON pointer that begins with the column, such as /additional_information/brands";
            return Err(format!("{}: [from] {pointer:?}: {rule}", path.display()).into());
        }
        Ok(mapping)
    }

    /// A list of the client's: what the mapping says of this client, else what stands in the row, else the default.
    pub(crate) fn of_client(&self, part: Part, id: &str, row: &Row, column: Option<&str>) -> Vec<String> {
        self.of(self.client.get(id), part, row, column)
    }

    /// The same for a user or an operator.
    pub(crate) fn of_principal(
        &self,
        part: Part,
        name: &str,
        row: &Row,
        column: Option<&str>,
    ) -> Vec<String> {
        self.of(self.principal.get(name), part, row, column)
    }

    fn of(&self, own: Option<&Lists>, part: Part, row: &Row, column: Option<&str>) -> Vec<String> {
        if let Some(own) = own.and_then(|lists| lists.get(part)) {
            return own.clone();
        }
        let pointed = self.pointed(part, row).map(|value| list(&value)).unwrap_or_default();
        let column = column.and_then(|column| row.columns.get(column)).map(list).unwrap_or_default();
        let said = if pointed.is_empty() { column } else { pointed };
        let said = match part {
            Part::Roles => self.translate(Words::Roles, said),
            Part::Audiences => self.translate(Words::Audiences, said),
            _ => said,
        };
        if said.is_empty() { self.default.get(part).cloned().unwrap_or_default() } else { said }
    }

    /// What stands where the mapping says that something is.
    pub(crate) fn pointed(&self, part: Part, row: &Row) -> Option<Value> {
        let pointer = self.from.get(&part)?.strip_prefix('/')?;
        let (column, rest) = pointer.split_once('/').map_or((pointer, ""), |(column, rest)| (column, rest));
        let value = parsed(row.columns.get(column)?);
        if rest.is_empty() { Some(value) } else { value.pointer(&format!("/{rest}")).cloned() }
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
            let word = dictionary.get(&word).cloned().unwrap_or(word);
            if !word.is_empty() && !translated.contains(&word) {
                translated.push(word);
            }
        }
        translated
    }
}

/// A list: separated by commas or white space, or JSON, with or without the name of a Java class before it.
pub(crate) fn list(value: &Value) -> Vec<String> {
    let items: Vec<String> = match untyped(value) {
        // What is no text becomes none that passes for a word.
        Value::Array(items) => {
            items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect()
        }
        Value::String(text) => {
            let items = text.split(|c: char| c == ',' || c.is_whitespace());
            items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    };
    let mut once = Vec::new();
    for item in items {
        if !once.contains(&item) {
            once.push(item);
        }
    }
    once
}

/// A value without the class that Jackson writes before it: `["java.time.Duration", 300.0]`.
pub(crate) fn untyped(value: &Value) -> &Value {
    match value {
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(class), inner] if class.starts_with("java.") || class.starts_with("org.") => inner,
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
