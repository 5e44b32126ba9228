//! NULL, in the spellings that databases and tools give it.

/// The spellings, in lower case.
const NULLS: [&str; 34] = [
    "",
    "null",
    "\\n",
    "\\\\n",
    "nan",
    "-nan",
    "+nan",
    "1.#qnan",
    "-1.#ind",
    "np.nan",
    "nat",
    "none",
    "n/a",
    "na",
    "n.a.",
    "n.a",
    "#n/a",
    "pd.na",
    "-",
    "--",
    "\u{2013}",
    "\u{2014}",
    "~",
    "nil",
    "undefined",
    "dbnull",
    "dbnull.value",
    "system.dbnull",
    "system.dbnull.value",
    "#null!",
    "#value!",
    "#name?",
    "#ref!",
    "#nv",
];

/// Returns true for a spelling of NULL, alone or in brackets or quotation marks: `NULL`, `[null]`,
/// `<NA>`, `(null)`, `{}`.
pub(in crate::import) fn is_null(text: &str) -> bool {
    let text = text.trim();
    // PostgreSQL writes a type behind it: `NULL::text`.
    let is_listed = |text: &str| {
        let text = match text.split_once("::") {
            Some((value, _)) if !value.is_empty() => value,
            _ => text,
        };
        NULLS.iter().any(|null| null.eq_ignore_ascii_case(text))
    };
    let inner = [('(', ')'), ('[', ']'), ('<', '>'), ('{', '}'), ('"', '"'), ('\'', '\'')]
        .into_iter()
        .find_map(|(start, end)| text.strip_prefix(start)?.strip_suffix(end));
    is_listed(text) || inner.is_some_and(|inner| is_listed(inner.trim()))
}

/// Returns true for a spelling of NULL that may also be a name: a word, and not `null`.
pub(in crate::import) fn is_word(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphabetic())
        && !text.eq_ignore_ascii_case("null")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_known_in_every_spelling() {
        for null in [
            "",
            "  ",
            "NULL",
            "Null",
            "null ",
            "\\N",
            "[NULL]",
            "(null)",
            "<null>",
            "{null}",
            "{}",
            "[]",
            "nan",
            "NaN",
            "NaT",
            "<NA>",
            "N/A",
            "n/a",
            "#N/A",
            "None",
            "-",
            "--",
            "\"\"",
            "''",
            "nil",
            "undefined",
            "~",
            "#NULL!",
            "-nan",
            "1.#QNAN",
            "N.A.",
            "null::text",
            "System.DBNull",
            "pd.NA",
        ] {
            assert!(is_null(null), "{null}");
        }
        for value in [
            "0",
            "false",
            "nullable",
            "[a]",
            "{ROLE_A}",
            "a-b",
            "ROLE_NONE",
            "{noop}null",
            "(",
            "::1",
            "a::null",
        ] {
            assert!(!is_null(value), "{value}");
        }
    }
}
