//! Lists of a record: `--scope` replaces one, `--add-scope` and `--remove-scope` change it.

use std::fmt::Display;

use crate::outcome::{AnyError, Invalid, with_remedy};
use crate::suggestions::did_you_mean;

/// A list from the command line, without blank items: `--role ''` empties a list.
pub(super) fn without_blank(items: Vec<String>) -> Vec<String> {
    let trimmed = items.into_iter().map(|item| item.trim().to_owned());
    trimmed.filter(|item| !item.is_empty()).collect()
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
pub(super) fn remove<T: PartialEq + Display>(
    list: &mut Vec<T>,
    option: &str,
    items: Vec<String>,
) -> Result<(), AnyError> {
    let known: Vec<String> = list.iter().map(ToString::to_string).collect();
    let split = items.into_iter().flat_map(|item| {
        let parts =
            if known.contains(&item) { vec![item] } else { item.split(',').map(str::to_owned).collect() };
        without_blank(parts)
    });
    for item in split {
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
        remove(&mut list, "scope", texts(&["a:read, d,"])).unwrap();
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
