//! JSON: a list of objects, or objects one after another. `serde_json` cuts and reads them.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::no_table;
use super::separated::unescape;
use crate::import::columns::canonical_name;

/// Finds the place of each object, with its line. In a file with one object a line, a line that is
/// no JSON is a broken row; any other file has to be JSON as a whole.
pub(super) fn places(text: &str) -> Result<Vec<(u64, Range<usize>)>, String> {
    let places = if is_one_object_per_line(text) { lines(text) } else { values(text)? };
    if places.iter().any(|place| is_escaped_twice(&text[place.clone()])) {
        return Err(no_table::escaped_json(text));
    }
    let first = places.first().map(|place| text[place.clone()].trim_start()).unwrap_or_default();
    if let Some(problem) = no_table::foreign_json(first) {
        return Err(problem);
    }
    let mut line = 1;
    let mut end = 0;
    let places = places.into_iter().map(|place| {
        line += text[end..place.start].bytes().filter(|byte| *byte == b'\n').count() as u64;
        end = place.start;
        (line, place)
    });
    Ok(places.collect())
}

fn is_one_object_per_line(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    // A list of objects in an object may also begin so, but its first line goes on in the second.
    let is_whole = |line: &str| line.starts_with('{') && !line.ends_with(['[', ',']);
    lines.next().is_some_and(is_whole) && lines.next().is_some_and(|line| line.starts_with('{'))
}

fn lines(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    let ranges = text.split_inclusive('\n').map(|line| {
        let range = start..start + line.len();
        start = range.end;
        range
    });
    ranges.filter(|range| !text[range.clone()].trim().is_empty()).collect()
}

/// The objects of a document, or of several documents one after another: those in a list, in the
/// only member of an object (`{"oauth_client_details": […]}`), or alone.
fn values(text: &str) -> Result<Vec<Range<usize>>, String> {
    let mut objects: Vec<&str> = Vec::new();
    let mut read = || {
        for value in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
            let value = value?.get();
            let list = match wrapped_list(value) {
                Some(list) => list,
                None => value,
            };
            if list.starts_with('[') {
                let items: Vec<&RawValue> = serde_json::from_str(list)?;
                objects.extend(items.into_iter().map(RawValue::get));
            } else {
                objects.push(list);
            }
        }
        Ok(())
    };
    read().map_err(|error: serde_json::Error| no_table::broken_json(text, &error))?;
    let start = text.as_ptr() as usize;
    let place = |object: &&str| {
        let at = object.as_ptr() as usize - start;
        at..at + object.len()
    };
    Ok(objects.iter().map(place).collect())
}

/// The list in the only member of an object.
fn wrapped_list(value: &str) -> Option<&str> {
    let Members(members) = serde_json::from_str::<Members<&RawValue>>(value).ok()?;
    match members.as_slice() {
        [(_, list)] if list.get().starts_with('[') => Some(list.get()),
        _ => None,
    }
}

/// The name of the first member that is a list of objects.
pub(super) fn list_name(object: &str) -> Option<String> {
    let Members(members) = serde_json::from_str::<Members<&RawValue>>(object).ok()?;
    let is_list =
        |list: &RawValue| list.get()[1..].trim_start().starts_with('{') && list.get().starts_with('[');
    members.into_iter().find(|(_, list)| is_list(list)).map(|(name, _)| name)
}

/// The canonical names of an object's members, those that are null among them.
pub(super) fn names(object: &str) -> Vec<String> {
    let Members(members) = serde_json::from_str::<Members<IgnoredAny>>(object).unwrap_or(Members(Vec::new()));
    members.iter().map(|(name, _)| canonical_name(name)).collect()
}

/// Reads an object: its members by their canonical names. A repeated name is an error.
pub(super) fn columns(object: &str) -> Result<Map<String, Value>, String> {
    if !object.trim_start().starts_with('{') {
        return Err("not a JSON object".into());
    }
    let Members(members) = serde_json::from_str::<Members<Value>>(object).map_err(|error| {
        let cut = if error.is_eof() { "; the file may be cut off" } else { "" };
        format!("not JSON: {}{cut}", without_position(&error))
    })?;
    let mut columns = Map::new();
    for (name, value) in members {
        let name = canonical_name(&name);
        if columns.contains_key(&name) {
            return Err(format!("the member {name} occurs twice"));
        }
        columns.insert(name, value);
    }
    Ok(columns)
}

/// The text of an error without its position, which counts within the row and not in the file.
pub(super) fn without_position(error: &serde_json::Error) -> String {
    let position = format!(" at line {} column {}", error.line(), error.column());
    let text = error.to_string();
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}

/// Returns true if the text becomes JSON when its backslash escapes are replaced.
pub(super) fn is_escaped_twice(text: &str) -> bool {
    text.contains("\\\\") && !is_json(text) && is_json(&unescape(text))
}

/// Returns true for JSON, also if its backslashes are escaped once more.
pub(super) fn is_json_or_escaped(text: &str) -> bool {
    is_json(text) || is_escaped_twice(text)
}

/// Returns true for JSON.
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// The members of an object with repeated names; `serde_json`'s map keeps only the last of each
/// name.
struct Members<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for All<T> {
            type Value = Members<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All(std::marker::PhantomData))
    }
}
