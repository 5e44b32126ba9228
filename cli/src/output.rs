//! Prints results, for a person or as JSON for a program.
//!
//! Everything that is printed may contain text from a record, a file or a token. So no output can
//! control the terminal or change the order of a line: for a person such characters are replaced,
//! and in JSON they are escaped.

use std::fmt::Write as _;
use std::io::Write as _;

use countersign_verify::Timestamp;
use serde_json::Value;

use crate::progress;

/// Prints one record: a line for each member, or JSON.
pub(crate) fn show(record: &Value, json: bool) {
    if json {
        return self::json(record);
    }
    let Value::Object(members) = record else {
        return line(&text(record));
    };
    let width = members.keys().map(String::len).max().unwrap_or(0);
    for (name, value) in members {
        line(&format!("{name:width$}  {}", text(value)));
    }
}

/// Prints a list: a table of `columns`, or JSON with everything.
pub(crate) fn list(records: &[Value], columns: &[&str], json: bool) {
    if json {
        return self::json(&Value::from(records.to_vec()));
    }
    if records.is_empty() {
        return line("none");
    }
    let rows: Vec<Vec<String>> = records
        .iter()
        .map(|record| columns.iter().map(|column| printable(&text(&record[column]))).collect())
        .collect();
    let heading: Vec<String> = columns.iter().map(|column| column.to_uppercase()).collect();
    let width =
        |at: usize| rows.iter().chain([&heading]).map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    for row in [&heading].into_iter().chain(&rows) {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        line(cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// Formats a time as RFC 3339 in UTC.
pub(crate) fn format_time(at: Timestamp) -> String {
    let millis = i64::try_from(at.millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis)
        .map_or_else(|_| format!("{} ms", at.millis()), |at| at.to_string())
}

/// Prints one line.
pub(crate) fn line(text: &str) {
    print(&printable(text));
}

/// Prints JSON in one line.
pub(crate) fn json(value: &Value) {
    print(&escape_json(&value.to_string()));
}

/// Prints JSON over several lines.
pub(crate) fn pretty_json(value: &Value) {
    print(&escape_json(&format!("{value:#}")));
}

/// Prints a warning to standard error; it is no part of the result.
pub(crate) fn warn(warning: &str) {
    #[expect(clippy::print_stderr, reason = "a warning is no part of the result")]
    progress::suspend(|| eprintln!("warning: {}", printable(warning)));
}

/// If stdout is closed (`| head`), there is nowhere to report it.
fn print(text: &str) {
    progress::suspend(|| {
        let _ = writeln!(std::io::stdout(), "{text}");
    });
}

/// Replaces characters that control a terminal, line ends among them.
pub(crate) fn printable(text: &str) -> String {
    text.replace(is_control, "\u{fffd}")
}

/// Replaces characters that control a terminal, and keeps line ends.
pub(crate) fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// Escapes characters that control a terminal. In JSON they are always part of a string, except for
/// the line ends of pretty JSON; those in strings are escaped already (RFC 8259 section 7).
pub(crate) fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if is_control(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

fn is_control(c: char) -> bool {
    // Directional marks can make a line look like another one (Unicode Standard Annex 9, section
    // 2).
    let is_directional =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || is_directional || matches!(c, '\u{2028}' | '\u{2029}')
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".into(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| format!("{name}={}", text(value)))
            .collect::<Vec<_>>()
            .join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn control_and_directional_characters_are_replaced_for_a_person() {
        assert_eq!(printable("a\u{1b}b\u{202e}c\u{2066}d é\n"), "a\u{fffd}b\u{fffd}c\u{fffd}d é\u{fffd}");
        assert_eq!(printable_lines("a\u{9b}\nb\u{2028}"), "a\u{fffd}\nb\u{fffd}");
    }

    #[test]
    fn json_keeps_its_value_and_has_no_control_character() {
        let value = json!({ "na\u{202e}me": "a\u{1b}b\u{7f}c\u{9b}d\u{2069}e\n\u{2028} é" });
        for text in [value.to_string(), format!("{value:#}")] {
            let escaped = escape_json(&text);
            assert!(escaped.chars().all(|c| c == '\n' || !is_control(c)), "{escaped}");
            assert_eq!(serde_json::from_str::<Value>(&escaped).unwrap(), value);
        }
    }
}
