//! Prints results, for a person or as JSON for a program.
//!
//! Everything that is printed may contain text from a record, a file or a token. So no output can
//! control the terminal or change the order of a line: for a person such characters are replaced,
//! and in JSON they are escaped.

mod escaping;
mod times;

use std::error::Error;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Style};
use countersign_issuer::keys::format_duration;
use countersign_verify::{Clock, Timestamp};
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

pub(crate) use self::escaping::{escape_json, printable, printable_lines};
use crate::outcome::error_as_json;
use crate::streams;

/// The colours of a terminal, in the meaning that clap gives them too.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const DUBIOUS: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

/// The form in which a command prints: for a person, or for a program.
pub(crate) struct Output {
    json: bool,
    clock: Clock,
    zone: TimeZone,
}

impl Output {
    /// Prints JSON, or for a person whose time zone is `zone`.
    pub(crate) fn new(json: bool, clock: Clock, zone: TimeZone) -> Self {
        Self { json, clock, zone }
    }

    /// Returns this output with a clock that stands still.
    pub(crate) fn at_one_moment(&self) -> Self {
        let now = self.clock.now();
        Self { json: self.json, clock: Clock::new(move || now), zone: self.zone.clone() }
    }

    /// Returns true if a program reads the output.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints one record: JSON, or a line for each member, and a table for a member that is a list
    /// of objects.
    pub(crate) fn show(&self, record: &Value) {
        show(record, self.json);
    }

    /// Prints a list: JSON with everything, or a table of `columns`.
    pub(crate) fn list(&self, records: &[Value], columns: &[&str]) {
        if self.json {
            return json(&Value::from(records.to_vec()));
        }
        if records.is_empty() {
            return line("none");
        }
        table(records, columns, "");
    }

    /// Prints a warning to standard error; it is no part of the result.
    pub(crate) fn warn(&self, warning: &str) {
        if self.json {
            let warning = json!({ "warning": { "message": warning } });
            streams::print_error(&format!("{}\n", escape_json(&warning.to_string())));
        } else {
            streams::print_error(&format!("{DUBIOUS}warning:{DUBIOUS:#} {}\n", printable(warning)));
        }
    }

    /// Prints the error that ends the program to standard error.
    pub(crate) fn report(&self, error: &(dyn Error + Send + Sync + 'static)) {
        if self.json {
            streams::print_error(&format!("{}\n", escape_json(&error_as_json(error).to_string())));
        } else {
            streams::print_error(&format!("{BAD}error:{BAD:#} {}\n", printable_lines(&error.to_string())));
        }
    }

    /// Formats a time.
    pub(crate) fn time(&self, at: Timestamp) -> String {
        if self.json { times::utc(at) } else { times::local(at, self.clock.now(), &self.zone) }
    }

    /// Formats a time for a table.
    pub(crate) fn time_in_table(&self, at: Timestamp) -> String {
        if self.json { times::utc(at) } else { times::local_in_table(at, self.clock.now(), &self.zone) }
    }

    /// A lifetime in seconds, and for a person in the largest units.
    pub(crate) fn lifetime(&self, seconds: u64) -> Value {
        if self.json { seconds.into() } else { format_duration(Duration::from_secs(seconds)).into() }
    }
}

/// Prints one record: a line for each member, or JSON.
pub(crate) fn show(record: &Value, json: bool) {
    if json {
        return self::json(record);
    }
    let Value::Object(members) = record else {
        return line(&text(record));
    };
    let width = members.keys().map(String::len).max().unwrap_or(0);
    let (tables, lines): (Vec<_>, Vec<_>) = members
        .iter()
        .map(|(name, value)| (name, value, rows(value)))
        .partition(|(_, _, rows)| rows.is_some());
    for (name, value, _) in lines {
        line(&format!("{name:width$}  {}", text(value)));
    }
    for (name, _, rows) in tables {
        let rows = rows.unwrap_or_default();
        line("");
        line(name);
        let columns: Vec<&str> = rows
            .first()
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(Map::keys)
            .map(String::as_str)
            .collect();
        table(rows, &columns, "  ");
    }
}

/// The rows of a value that is a table: a list of objects.
fn rows(value: &Value) -> Option<&[Value]> {
    value.as_array().filter(|items| items.first().is_some_and(Value::is_object)).map(Vec::as_slice)
}

/// Prints a table of `columns`.
fn table(records: &[Value], columns: &[&str], indent: &str) {
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
        line(&format!("{indent}{}", cells.collect::<Vec<_>>().join("  ").trim_end()));
    }
}

/// Prints one line.
pub(crate) fn line(text: &str) {
    streams::print(&format!("{}\n", printable(text)));
}

/// Prints one line that begins with a word in a colour.
pub(crate) fn line_with(style: Style, word: &str, rest: &str) {
    streams::print(&format!("{style}{}{style:#}{}\n", printable(word), printable(rest)));
}

/// Prints JSON in one line.
pub(crate) fn json(value: &Value) {
    streams::print(&format!("{}\n", escape_json(&value.to_string())));
}

/// Prints JSON over several lines.
pub(crate) fn pretty_json(value: &Value) {
    streams::print(&format!("{}\n", escape_json(&format!("{value:#}"))));
}

/// Formats a value for a person.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".into(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}
