//! Prints results, for a person or as JSON for a program.

use countersign_verify::Timestamp;
use serde_json::Value;

/// Prints one record: a line for each member, or JSON.
pub(crate) fn show(record: &Value, json: bool) {
    if json {
        return line(&record.to_string());
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
        return line(&Value::from(records.to_vec()).to_string());
    }
    if records.is_empty() {
        return line("none");
    }
    let rows: Vec<Vec<String>> =
        records.iter().map(|record| columns.iter().map(|column| text(&record[column])).collect()).collect();
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
pub(crate) fn moment(at: Timestamp) -> String {
    let millis = i64::try_from(at.millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis)
        .map_or_else(|_| format!("{} ms", at.millis()), |at| at.to_string())
}

/// Prints a line. If stdout is closed (`| head`), there is nowhere to report it.
pub(crate) fn line(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
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
