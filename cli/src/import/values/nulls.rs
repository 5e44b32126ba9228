//! NULL, in the spellings that databases and tools give it.

/// The spellings, in lower case.
const NULLS: [&str; 15] = [
    "",
    "null",
    "\\n",
    "nan",
    "nat",
    "none",
    "n/a",
    "na",
    "#n/a",
    "-",
    "--",
    "nil",
    "undefined",
    "dbnull",
    "\u{2014}",
];

/// Returns true for a spelling of NULL, alone or in brackets or quotation marks: `NULL`, `[null]`,
/// `<NA>`, `(null)`, `{}`.
pub(in crate::import) fn is_null(text: &str) -> bool {
    let text = text.trim();
    let is_listed = |text: &str| NULLS.iter().any(|null| null.eq_ignore_ascii_case(text));
    let inner = [('(', ')'), ('[', ']'), ('<', '>'), ('{', '}'), ('"', '"'), ('\'', '\'')]
        .into_iter()
        .find_map(|(start, end)| text.strip_prefix(start)?.strip_suffix(end));
    is_listed(text) || inner.is_some_and(|inner| is_listed(inner.trim()))
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
        ] {
            assert!(is_null(null), "{null}");
        }
        for value in ["0", "false", "nullable", "[a]", "{ROLE_A}", "a-b", "ROLE_NONE", "{noop}null", "("] {
            assert!(!is_null(value), "{value}");
        }
    }
}
