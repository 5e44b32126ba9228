//! The dialect of a file with separated values: which character separates them, and how it is
//! written inside a value. No file says so; its content does.

use super::json::is_json;
use super::separated::{Record, records, unescape, without_footer};
use super::unique_names;

/// The way in which a value contains the character that separates values, or a line end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quoting {
    /// Quotation marks around the value, doubled inside it (RFC 4180).
    Doubled,
    /// Quotation marks around the value, a backslash before those inside it: MySQL's `ENCLOSED BY`,
    /// PostgreSQL's `ESCAPE '\'`.
    Backslash,
    /// Backslash escapes: COPY's text format, `mysql --batch`, `INTO OUTFILE`, jq's `@tsv`.
    Escapes,
    /// Not at all: `mysql --raw`, psql's unaligned format, SQLite's modes list and tabs.
    Plain,
}

/// The dialect of a file, and its heading.
#[derive(Debug)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    pub(super) quoting: Quoting,
    pub(super) heading: Vec<String>,
    /// The number of rows below the heading.
    pub(super) rows: usize,
}

/// A reading of a file in a dialect.
struct Reading {
    quoting: Quoting,
    /// The line of the first record with a quotation mark that is not closed or not escaped.
    badly_quoted: Option<u64>,
    /// The records that speak against the dialect.
    faults: usize,
    /// The records below the heading.
    rows: usize,
    has_null: bool,
}

/// Finds the dialect in which the file has the fewest faults.
pub(super) fn recognise(text: &str) -> Result<Dialect, String> {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let count = |delimiter: &u8| first.bytes().filter(|byte| byte == delimiter).count();
    // `max_by_key` takes the last of the largest: a comma if there is no other.
    let delimiter = b"|;\t,".iter().copied().max_by_key(count).unwrap_or(b',');
    let read = |quoting| read(text, delimiter, quoting);
    let reading = if has_quotes(text, delimiter) && !(delimiter == b'\t' && has_idle_quotes(text)) {
        let (doubled, backslash) = (read(Quoting::Doubled), read(Quoting::Backslash));
        // `\N` beside quoted values is MySQL's NULL, so its backslashes escape.
        let is_backslash = backslash.faults < doubled.faults
            || (backslash.faults == doubled.faults && backslash.has_null && is_quoted(text, delimiter));
        let quoted = if is_backslash { backslash } else { doubled };
        let bare =
            quoted.badly_quoted.is_some().then(|| read(bare(text, delimiter).unwrap_or(Quoting::Plain)));
        let bare =
            bare.filter(|bare| bare.faults == 0 && has_values_with_quotes(text, delimiter, bare.quoting));
        bare.unwrap_or(quoted)
    } else {
        let Some(quoting) = bare(text, delimiter) else {
            return Err("its backslashes may escape, as COPY writes them, or stand for themselves, as psql -A writes them; the two \
                        cannot be told apart\nExport the table as a CSV."
                .into());
        };
        read(quoting)
    };
    if let Some(line) = reading.badly_quoted {
        return Err(format!(
            "line {line}: a quotation mark is not closed, or one inside a value is not doubled; the file may be cut off\n\
             Nothing behind such a line can be trusted. Export the table with a tool that quotes as in RFC 4180."
        ));
    }
    if delimiter == b'\t' && reading.quoting == Quoting::Doubled && has_bare_escape(text) {
        return Err("values in quotation marks, and backslashes that escape outside of them; the two cannot be told apart\n\
                    Export the table without an escape character, as a CSV."
            .into());
    }
    let heading = records(text, delimiter, reading.quoting).next().map(|record| record.values);
    let heading: Vec<String> =
        heading.unwrap_or_default().into_iter().map(Option::unwrap_or_default).collect();
    // In a file without a heading these are values, and one may be a secret: show no name.
    let heading = unique_names(heading.iter().map(String::as_str)).map_err(|(first, at)| {
        format!("the heading has the same name in columns {} and {}", first + 1, at + 1)
    })?;
    Ok(Dialect { delimiter, quoting: reading.quoting, heading, rows: reading.rows })
}

fn read(text: &str, delimiter: u8, quoting: Quoting) -> Reading {
    let mut reading = Reading { quoting, badly_quoted: None, faults: 0, rows: 0, has_null: false };
    let mut width = None;
    for record in records(text, delimiter, quoting) {
        let expected = *width.get_or_insert(record.values.len());
        if !record.is_well_quoted && reading.badly_quoted.is_none() {
            reading.badly_quoted = Some(record.line);
        }
        let is_fault = !record.is_well_quoted || record.values.len() != expected || has_broken_json(&record);
        reading.faults += usize::from(is_fault);
        reading.has_null |= record.values.contains(&None);
        reading.rows += 1;
    }
    reading.rows = reading.rows.saturating_sub(1);
    reading
}

/// Returns true if a value looks like Jackson's JSON and is none.
fn has_broken_json(record: &Record) -> bool {
    let mut values = record.values.iter().flatten();
    values.any(|value| (value.starts_with("{\"") || value.starts_with("{\\")) && !is_json(value))
}

/// Returns true if a value starts with a quotation mark.
fn has_quotes(text: &str, delimiter: u8) -> bool {
    let is_start = |byte: u8| byte == delimiter || matches!(byte, b'\n' | b'\r');
    let bytes = text.as_bytes();
    bytes.first() == Some(&b'"') || bytes.windows(2).any(|pair| is_start(pair[0]) && pair[1] == b'"')
}

/// Returns true if quotation marks can be a part of the values: the tool escapes with backslashes,
/// or no value has an odd number of them, as one that is not closed would have.
fn has_values_with_quotes(text: &str, delimiter: u8, quoting: Quoting) -> bool {
    let is_even = |value: &String| value.matches('"').count().is_multiple_of(2);
    let all_even = || {
        records(text, delimiter, quoting)
            .flat_map(|record| record.values)
            .flatten()
            .all(|value| is_even(&value))
    };
    quoting == Quoting::Escapes || (matches!(delimiter, b'\t' | b'|') && all_even())
}

/// Returns true if no value needs its quotation marks, and the heading has none: they are then a
/// part of the value, in a format that knows no quotation marks.
fn has_idle_quotes(text: &str) -> bool {
    let needs_quotes = |value: &String| value.contains(['"', '\t', '\n']);
    let is_idle =
        |record: &Record| record.is_well_quoted && !record.values.iter().flatten().any(needs_quotes);
    !text.trim_start().starts_with('"')
        && records(text, b'\t', Quoting::Doubled).all(|record| is_idle(&record))
}

/// Returns true if a value without quotation marks has two backslashes, where others have quotation
/// marks: pandas writes so with an `escapechar`.
fn has_bare_escape(text: &str) -> bool {
    let values = records(text, b'\t', Quoting::Plain).flat_map(|record| record.values).flatten();
    let mut bare = values.filter(|value| !value.contains('"'));
    bare.any(|value| value.contains("\\\\"))
}

/// Returns true if the first row is quoted, as tools write it that quote every text.
fn is_quoted(text: &str, delimiter: u8) -> bool {
    let second = text.lines().filter(|line| !line.trim().is_empty()).nth(1).unwrap_or_default();
    second.split(char::from(delimiter)).next().is_some_and(|value| value.starts_with('"'))
}

/// Tells files with backslash escapes from files without, where no value is in quotation marks.
/// Returns nothing if both have such backslashes.
fn bare(text: &str, delimiter: u8) -> Option<Quoting> {
    let mut rest = text;
    let (mut is_escaped, mut is_doubtful) = (false, false);
    while let Some(at) = rest.find('\\') {
        let mut after = rest[at + 1..].chars();
        let next = after.next();
        // COPY's end of the data, on a line of its own.
        let is_end = next == Some('.')
            && matches!(rest[..at].chars().next_back(), None | Some('\n'))
            && matches!(after.clone().next(), None | Some('\r' | '\n'));
        is_escaped |= match next {
            _ if is_end => true,
            // ClickHouse escapes it too.
            Some('\'') if delimiter == b'\t' => false,
            Some('N') => {
                let is_end =
                    |c: Option<char>| c.is_none_or(|c| c == char::from(delimiter) || c == '\n' || c == '\r');
                let is_value = is_end(rest[..at].chars().next_back()) && is_end(after.clone().next());
                if !is_value {
                    return Some(Quoting::Plain);
                }
                true
            }
            Some('\\' | '0' | 'b' | 'f' | 'n' | 'r' | 't' | 'v') => {
                is_doubtful |= matches!(delimiter, b'|' | b';');
                delimiter == b'\t'
            }
            Some('\n') => true,
            Some(c) if c == char::from(delimiter) => true,
            // No tool escapes this character, so the backslash means itself.
            _ => return Some(Quoting::Plain),
        };
        rest = after.as_str();
    }
    // Only tools that do not escape write the count of rows below them.
    let is_doubtful = is_doubtful && without_footer(text).len() == text.len();
    if !is_escaped && !is_doubtful {
        return Some(Quoting::Plain);
    }
    // JSON that is whole as it is, and not after its escapes are replaced, was not escaped.
    let mut raw = records(text, delimiter, Quoting::Plain).flat_map(|record| record.values).flatten();
    let is_raw_json = |value: &str| value.starts_with('{') && is_json(value) && !is_json(&unescape(value));
    if raw.any(|value| is_raw_json(&value)) {
        return Some(Quoting::Plain);
    }
    is_escaped.then_some(Quoting::Escapes)
}
