//! Lists of names: scopes, roles, grants, audiences, brands and operators.

use countersign_issuer::credentials::SpringValue;
use serde_json::Value;

use super::{is_class, is_null};

/// Words that may be names, or NULL.
const NULL_WORDS: [&str; 5] = ["missing", "empty", "nothing", "void", "?"];

/// The lengths, in bytes, at which MySQL and MariaDB cut the result of `group_concat` by default.
const GROUP_CONCAT_LIMITS: [usize; 2] = [1 << 10, 1 << 20];

/// Reads a list: a JSON array of texts, with or without the name of a Java class before them, or
/// one text with commas. A missing or blank value is no list, as in Spring (`StringUtils.hasText`
/// in `BaseClientDetails`). An item that `is_known` may contain any character.
///
/// Spring splits at commas only (`StringUtils.commaDelimitedListToSet` in `BaseClientDetails`,
/// which `JdbcClientDetailsService` makes, and in
/// `JdbcRegisteredClientRepository.RegisteredClientRowMapper`), so white space inside an item
/// belongs to it. Spring removes white space around an item from authorities only
/// (`AuthorityUtils.commaSeparatedStringToAuthorityList`); in other lists no request could have
/// named such an item.
pub(in crate::import) fn list(
    name: &str,
    value: Option<&Value>,
    is_known: impl Fn(&str) -> bool,
) -> Result<Option<Vec<String>>, String> {
    let not_a_list = || format!("{name}: neither text nor a list of texts");
    let items: Vec<&str> = match value {
        None => return Ok(None),
        Some(Value::String(text)) if is_null(text) && !is_known(text.trim()) => return Ok(None),
        Some(Value::String(text)) => {
            check_length(text).map_err(|problem| format!("{name}: {problem}"))?;
            text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
        }
        Some(Value::Array(items)) => {
            let items = match items.as_slice() {
                [Value::String(class), Value::Array(items)] if is_class(class) => items,
                _ => items,
            };
            // A join without a match gives a list of one null.
            let items = items.iter().filter(|item| !item.is_null());
            items.map(Value::as_str).collect::<Option<_>>().ok_or_else(not_a_list)?
        }
        Some(_) => return Err(not_a_list()),
    };
    if items.iter().any(|item| SpringValue::is_marked(item)) {
        return Err(format!("{name}: contains a hash"));
    }
    let mut once: Vec<String> = Vec::new();
    for item in items {
        if !is_known(item) {
            check_length(item).map_err(|problem| format!("{name}: {problem}"))?;
            check_item(item).map_err(|problem| format!("{name}: {problem}"))?;
        }
        if !once.iter().any(|known| known == item) {
            once.push(item.to_owned());
        }
    }
    Ok(Some(once))
}

fn check_length(text: &str) -> Result<(), String> {
    if is_cut(text) {
        return Err(format!(
            "exactly {} bytes long, so group_concat has most likely cut it; SET SESSION group_concat_max_len = 1000000000 \
             before the query",
            text.len()
        ));
    }
    Ok(())
}

/// Returns true if the text ends where `group_concat` cuts: in a text with characters of several
/// bytes, up to three bytes earlier.
fn is_cut(text: &str) -> bool {
    let slack = if text.is_ascii() { 0 } else { 3 };
    GROUP_CONCAT_LIMITS.iter().any(|limit| (limit - slack..=*limit).contains(&text.len()))
}

/// Refuses an item that shows that the list was not separated by commas alone.
fn check_item(item: &str) -> Result<(), String> {
    const REMEDY: &str = "a name that has such a character needs an entry in the mapping file";
    let is_bracket = |c: char| matches!(c, '[' | ']' | '{' | '}' | '(' | ')' | '<' | '>');
    let is_quote = |c: char| matches!(c, '"' | '\'' | '`');
    if is_null(item) {
        return Err(format!("one of its names is a spelling of NULL; {REMEDY}"));
    }
    let is_wrapped = item.starts_with(is_bracket) || item.ends_with(is_bracket) || item.contains(is_quote);
    // A URI may contain brackets, for an IPv6 address.
    if is_wrapped || (item.contains(is_bracket) && !item.contains("://")) {
        return Err(format!(
            "it is an array, in brackets or quotation marks; export text with commas, in SQL with string_agg(…, ',') or \
             group_concat(…) and not with array_agg; {REMEDY}"
        ));
    }
    if NULL_WORDS.iter().any(|word| word.eq_ignore_ascii_case(item.trim())) {
        return Err(format!("one of its names is a word that some tools write for NULL; {REMEDY}"));
    }
    if item.contains(',') {
        return Err(format!(
            "an item of its JSON list contains a comma, and Spring separates names by commas; make each name an item; {REMEDY}"
        ));
    }
    if let Some(separator) = item.chars().find(|c| matches!(c, ';' | '|' | '\t' | '\n' | '\r')) {
        return Err(format!(
            "its names are separated by {separator:?}; Spring separates them by commas, so export them with string_agg(…, ',') \
             or group_concat(…); {REMEDY}"
        ));
    }
    if item.matches("ROLE_").count() > 1 || item.matches("://").count() > 1 {
        return Err(format!(
            "one of its names contains ROLE_ or :// twice, so its names are most likely not separated by commas, as in \
             Spring; export them with string_agg(…, ',') or group_concat(…); {REMEDY}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_that_is_not_separated_by_commas_is_refused() {
        for text in [
            "{A,B}",
            "[A, B]",
            "[\"A\"",
            "[\"A\",\"B\"]",
            "A;B",
            "A|B",
            "(A,B)",
            "'A','B'",
            "A\tB",
            "A\nB",
            "[read",
            "read]",
            "A,null",
            "A,NaN",
            "{\"A\"}",
            "ROLE_A/ROLE_B",
            "https://a.example https://b.example",
            "?",
        ] {
            assert!(list("roles", Some(&json!(text)), |_| false).is_err(), "{text}");
        }
        for item in [json!(["A,B"]), json!(["ROLE_A ROLE_B"]), json!(["void"]), json!(["x".repeat(1024)])] {
            assert!(list("roles", Some(&item), |_| false).is_err(), "{item}");
            assert!(list("roles", Some(&item), |_| true).is_ok(), "{item}");
        }
        assert!(list("roles", Some(&json!("A;B")), |item| item == "A;B").is_ok());
        for text in ["A,B", " A , B,,", "A"] {
            assert!(list("roles", Some(&json!(text)), |_| false).is_ok(), "{text}");
        }
        assert_eq!(
            list("audiences", Some(&json!("http://[::1]:80/a")), |_| false).unwrap().unwrap().len(),
            1
        );
        assert_eq!(list("roles", Some(&json!([null])), |_| false), Ok(Some(Vec::new())));
    }

    #[test]
    fn a_list_that_group_concat_may_have_cut_is_refused() {
        for (length, is_refused) in [(1023, false), (1024, true), (1025, false), (1 << 20, true)] {
            let text = "ROLE_X,".repeat(length)[..length].to_owned();
            assert_eq!(list("roles", Some(&json!(text)), |_| false).is_err(), is_refused, "{length}");
        }
        let text = format!("ROLE_Ä{}", ",R".repeat(507));
        assert_eq!((text.len(), list("roles", Some(&json!(text)), |_| false).is_err()), (1021, true));
    }
}
