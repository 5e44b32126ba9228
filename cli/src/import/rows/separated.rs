//! Values separated by a character, with a heading. The csv crate cuts them.

use csv::{ByteRecord, ReaderBuilder, Terminator};
use serde_json::{Map, Value};

use super::dialect::{Dialect, Quoting};
use super::{BrokenRow, Row, RowResult};
use crate::import::columns::canonical_name;

/// A record: the line where it starts, and its values. A value is absent if it is `\N` where
/// backslashes escape.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) line: u64,
    pub(super) values: Vec<Option<String>>,
    /// True if quotation marks begin and end each quoted value, and those inside are escaped.
    pub(super) is_well_quoted: bool,
    /// True if the last value ends with a line end.
    pub(super) has_end: bool,
}

/// Reads the records of a text, the heading among them, without blank lines and the count of rows
/// that some tools write below a table.
pub(super) fn records(
    text: &str,
    delimiter: u8,
    quoting: Quoting,
) -> impl Iterator<Item = Record> + Send + '_ {
    let text = without_footer(text);
    let mut builder = ReaderBuilder::new();
    builder.has_headers(false).flexible(true).delimiter(delimiter);
    match quoting {
        Quoting::Doubled => {}
        Quoting::Backslash => {
            builder.double_quote(false).escape(Some(b'\\'));
        }
        Quoting::Escapes | Quoting::Plain => {
            builder.quoting(false);
        }
    }
    if !text.contains("\r\n") {
        builder.terminator(Terminator::Any(b'\n'));
    }
    let mut reader = builder.from_reader(text.as_bytes());
    std::iter::from_fn(move || {
        loop {
            let mut cut = Cut::read(&mut reader, text)?;
            // An escaped line end belongs to the value.
            while quoting == Quoting::Escapes && cut.values.last().is_some_and(|value| ends_in_escape(value))
            {
                let Some(rest) = Cut::read(&mut reader, text) else { break };
                cut.join(rest, '\n');
            }
            if quoting == Quoting::Escapes {
                cut.join_escaped(char::from(delimiter));
            }
            if cut.values.iter().any(|value| !value.trim().is_empty()) {
                return Some(cut.into_record(delimiter, quoting));
            }
        }
    })
}

/// A record as the csv crate cuts it, with the bytes that it was cut from.
struct Cut<'a> {
    line: u64,
    values: Vec<String>,
    raw: &'a str,
    has_end: bool,
}

impl<'a> Cut<'a> {
    fn read(reader: &mut csv::Reader<&[u8]>, text: &'a str) -> Option<Self> {
        let mut record = ByteRecord::new();
        // Reading from memory cannot fail.
        if !reader.read_byte_record(&mut record).unwrap_or(false) {
            return None;
        }
        let at = |position: &csv::Position| usize::try_from(position.byte()).unwrap_or(usize::MAX);
        let start = record.position().map_or(0, at);
        let raw = text.get(start..at(reader.position())).unwrap_or_default();
        let blank = raw.len() - raw.trim_start_matches(['\r', '\n']).len();
        let skipped = raw[..blank].bytes().filter(|byte| *byte == b'\n').count() as u64;
        let raw = &raw[blank..];
        let line = record.position().map_or(1, csv::Position::line) + skipped;
        let values = record.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
        let has_end = raw.ends_with(['\r', '\n']) || start + blank + raw.len() < text.len();
        Some(Self { line, values, raw, has_end })
    }

    /// Appends a record that an escaped character cut off.
    fn join(&mut self, rest: Self, cut: char) {
        let mut values = rest.values.into_iter();
        if let (Some(last), Some(first)) = (self.values.last_mut(), values.next()) {
            last.push(cut);
            last.push_str(&first);
        }
        self.values.extend(values);
        self.has_end = rest.has_end;
    }

    /// Joins the values that an escaped delimiter cut.
    fn join_escaped(&mut self, delimiter: char) {
        let mut joined: Vec<String> = Vec::with_capacity(self.values.len());
        for value in std::mem::take(&mut self.values) {
            match joined.last_mut() {
                Some(last) if ends_in_escape(last) => {
                    last.push(delimiter);
                    last.push_str(&value);
                }
                _ => joined.push(value),
            }
        }
        self.values = joined;
    }

    fn into_record(self, delimiter: u8, quoting: Quoting) -> Record {
        let is_well_quoted = match quoting {
            Quoting::Doubled => is_well_quoted(self.raw, &self.values, delimiter, b'"'),
            Quoting::Backslash => is_well_quoted(self.raw, &self.values, delimiter, b'\\'),
            Quoting::Escapes | Quoting::Plain => true,
        };
        let escapes = quoting == Quoting::Escapes;
        let values = self.values.into_iter().map(|value| match value.as_str() {
            "\\N" if escapes || quoting == Quoting::Backslash => None,
            _ if escapes => Some(unescape(&value)),
            _ => Some(value),
        });
        Record { line: self.line, values: values.collect(), is_well_quoted, has_end: self.has_end }
    }
}

/// Returns true if the values, written again with quotation marks where the raw record has them,
/// give the raw record. The csv crate also reads values that are quoted wrongly.
fn is_well_quoted(raw: &str, values: &[String], delimiter: u8, escape: u8) -> bool {
    let raw = raw.trim_end_matches(['\r', '\n']).as_bytes();
    let mut at = 0;
    for (number, value) in values.iter().enumerate() {
        if number > 0 {
            if raw.get(at) != Some(&delimiter) {
                return false;
            }
            at += 1;
        }
        if raw.get(at) != Some(&b'"') {
            if !raw[at.min(raw.len())..].starts_with(value.as_bytes()) {
                return false;
            }
            at += value.len();
            continue;
        }
        at += 1;
        for byte in value.bytes() {
            let is_escaped = raw.get(at) == Some(&escape) && (escape != b'"' || byte == b'"');
            at += usize::from(is_escaped);
            if raw.get(at) != Some(&byte) || (byte == b'"' && !is_escaped) {
                return false;
            }
            at += 1;
        }
        if raw.get(at) != Some(&b'"') {
            return false;
        }
        at += 1;
    }
    at == raw.len()
}

/// Returns true if the text ends in a backslash that escapes the next character.
fn ends_in_escape(text: &str) -> bool {
    text.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Replaces the escape sequences of COPY's text format, of MySQL and of jq's `@tsv`.
pub(super) fn unescape(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        plain.push(match chars.next() {
            Some('0') => '\0',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\u{b}',
            Some(other) => other,
            None => '\\',
        });
    }
    plain
}

/// Removes the lines that tools write below a table.
pub(super) fn without_footer(mut text: &str) -> &str {
    loop {
        // Windows may end a text with Ctrl-Z.
        let content = text.trim_end_matches(|c: char| c.is_whitespace() || c == '\u{1a}');
        let start = content.rfind('\n').map_or(0, |end| end + 1);
        if start == 0 || !is_footer(content[start..].trim()) {
            return text.strip_suffix('\u{1a}').unwrap_or(text);
        }
        text = &text[..start];
    }
}

/// Returns true for psql's `(7 rows)` in any language, `Time: 0.5 ms` and `COPY 7`, `(7 rows
/// affected)` of SQL Server, Oracle's `7 rows selected.`, `Elapsed: …` and `SQL> spool off`, and the
/// end of COPY's data.
fn is_footer(line: &str) -> bool {
    let is_number = |word: &str| word.parse::<u64>().is_ok();
    let is_measured = line.starts_with("Time: ") && line.contains(" ms");
    let is_command = line.strip_prefix("COPY ").is_some_and(is_number);
    if line == "\\." || is_measured || is_command || line.starts_with("Elapsed: ") || line.starts_with("SQL>")
    {
        return true;
    }
    let inner = line.strip_prefix('(').and_then(|line| line.strip_suffix(')'));
    let counted = inner.and_then(|inner| inner.split_once(' '));
    if counted.is_some_and(|(count, unit)| is_number(count) && unit.chars().all(char::is_alphabetic)) {
        return true;
    }
    let mut words = line.trim_start_matches('(').trim_end_matches(['.', ')']).split([' ', ',']);
    let has_number = words.next().is_some_and(|word| word == "no" || is_number(word));
    let has_unit = matches!(words.next(), Some("row" | "rows"));
    has_number
        && has_unit
        && words.next().is_none_or(|word| matches!(word, "affected" | "selected" | "" | "in"))
}

/// Returns true if every value is the name of a column, in this order or in another one.
fn repeats_heading(record: &Record, heading: &[String]) -> bool {
    let is_name = |value: &str| value.is_empty() || heading.contains(&canonical_name(value));
    record.values.iter().all(|value| value.as_deref().is_some_and(is_name))
}

/// Reads the rows below the heading.
pub(super) fn rows<'a>(text: &'a str, dialect: &'a Dialect) -> impl Iterator<Item = RowResult> + Send + 'a {
    records(text, dialect.delimiter, dialect.quoting).skip(1).map(|record| {
        let (given, expected) = (record.values.len(), dialect.heading.len());
        if given != expected {
            let end = match (record.has_end, dialect.quoting) {
                (false, _) => "; the file may be cut off",
                (true, Quoting::Plain) => {
                    "; a value may contain a line end, or the character that separates values"
                }
                (true, _) => "",
            };
            let problem = format!("{given} columns where the heading has {expected}{end}");
            return Err(BrokenRow { line: record.line, problem });
        }
        if repeats_heading(&record, &dialect.heading) {
            let problem = "it repeats the heading; the file may be two exports, one after the other. Import each from a file of \
                           its own, or delete this line";
            return Err(BrokenRow { line: record.line, problem: problem.into() });
        }
        let columns = dialect.heading.iter().zip(record.values);
        let columns: Map<String, Value> =
            columns.map(|(name, value)| (name.clone(), value.map_or(Value::Null, Value::String))).collect();
        Ok(Row { may_be_cut: !record.has_end, ..Row::new(record.line, columns) })
    })
}
