//! Lists of a record: `--scope` replaces one, `--add-scope` and `--remove-scope` change it.

use std::fmt::Display;

use countersign_issuer::records::Username;

use crate::outcome::{Invalid, Outcome, usage_error, with_remedy};
use crate::suggestions::did_you_mean;

/// The items of an option that replaces a list. A single `''` empties the list. Any other empty
/// item is most likely that of an unset variable.
pub(super) fn replacement(option: &str, items: Vec<String>) -> Outcome<Vec<String>> {
    let items: Vec<String> = items.into_iter().map(|item| item.trim().to_owned()).collect();
    if items == [""] {
        return Ok(Vec::new());
    }
    if items.contains(&String::new()) {
        return Err(usage_error(format!(
            "--{option}: an item is empty; leave it out, or give '' alone for an empty list"
        )));
    }
    Ok(items)
}

/// Parses an item of a list that is added or removed.
pub(super) fn parse_item(item: &str) -> Result<String, String> {
    let item = item.trim();
    if item.is_empty() { Err("an item is empty".into()) } else { Ok(item.to_owned()) }
}

/// Prepares usernames as they are stored, because they are typed in upper or lower case. One that is
/// none stays as it is, for the error of the record's rules.
pub(super) fn usernames(items: Vec<String>) -> Vec<String> {
    let prepare =
        |typed: &str| Username::parse(typed).map_or_else(|_| typed.to_owned(), Username::into_string);
    let prepare_all =
        |item: &str| item.split(',').map(|one| prepare(one.trim())).collect::<Vec<_>>().join(",");
    items.into_iter().map(|item| prepare_all(&item)).collect()
}

/// Adds items to the end of a list, and leaves those where they are that it has.
pub(super) fn add<T: PartialEq>(list: &mut Vec<T>, items: Vec<T>) {
    for item in items {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

/// Removes items from a list. One that it lacks is most likely misspelt, and what was meant would
/// silently stay: so nothing is changed then. `option` is the name of the list's option.
///
/// An item with commas is several ones, unless the list has it as it is: an item that was stored by
/// mistake can be removed.
pub(super) fn remove<T: PartialEq + Display>(list: &mut Vec<T>, option: &str, items: Vec<String>) -> Outcome {
    let known: Vec<String> = list.iter().map(ToString::to_string).collect();
    let split = items.into_iter().flat_map(|item| {
        if known.contains(&item) { vec![item] } else { item.split(',').map(str::to_owned).collect() }
    });
    for item in split {
        let item = parse_item(&item).map_err(|error| usage_error(format!("--remove-{option}: {error}")))?;
        if !known.contains(&item) {
            let has = if known.is_empty() {
                "the list is empty".into()
            } else {
                format!("it has {}", known.join(" "))
            };
            let error = Invalid(format!("--remove-{option} {item}: not in the list; {has}"));
            return Err(with_remedy(error, did_you_mean(&item, known.iter().map(String::as_str))));
        }
        list.retain(|one| one.to_string() != item);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(items: &[&str]) -> Vec<String> {
        items.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_list_is_added_to_and_removed_from() {
        let mut list = texts(&["a:read", "b,c"]);
        add(&mut list, texts(&["d", "a:read", "d"]));
        assert_eq!(list, ["a:read", "b,c", "d"]);
        remove(&mut list, "scope", texts(&["b,c"])).unwrap();
        remove(&mut list, "scope", texts(&["a:read, d"])).unwrap();
        assert_eq!(list, texts(&[]));

        let mut list = texts(&["bills:read", "bills:write"]);
        let error =
            remove(&mut list, "scope", texts(&["bills:write", "bills:raed"])).unwrap_err().to_string();
        assert_eq!(
            error,
            "--remove-scope bills:raed: not in the list; it has bills:read bills:write\nDid you mean bills:read?"
        );
    }
}
