//! CSV: RFC 4180, with the delimiters and the NULL markers that databases use.

use std::collections::VecDeque;
use std::io::{BufRead, Read};

use serde_json::{Map, Value};

use super::{BrokenRow, Bytes, MAX_ROW_BYTES, Row, RowResult, broken_off, text};

/// The most lines that a row with quoted values may have.
const MAX_ROW_LINES: usize = 200;

/// Reads CSV line by line, so that a quotation mark without an end breaks one row and not the rest of the file.
pub(super) struct CsvRows {
    bytes: Bytes,
    /// Lines of a broken row, to be read again.
    again: VecDeque<Vec<u8>>,
    line: u64,
    delimiter: u8,
    heading: Vec<String>,
    /// True if reading the file failed.
    ended: bool,
}

impl CsvRows {
    pub(super) fn new(bytes: Bytes) -> Result<Self, String> {
        let mut rows = Self {
            bytes,
            again: VecDeque::new(),
            line: 0,
            delimiter: b',',
            heading: Vec::new(),
            ended: false,
        };
        let first = rows.read_line().ok_or("the file is empty")?.map_err(|broken| broken.problem)?;
        let count = |delimiter: &u8| first.split(|byte| byte == delimiter).count();
        rows.delimiter = b",;\t|".iter().copied().max_by_key(count).unwrap_or(b',');
        let heading = rows.split(&first)?;
        rows.heading = heading.into_iter().map(|name| name.trim().to_ascii_lowercase()).collect();
        let first_of = |name: &String| rows.heading.iter().position(|known| known == name);
        let repeated =
            rows.heading.iter().enumerate().find_map(|(at, name)| {
                first_of(name).filter(|first| *first < at).map(|first| (first, at, name))
            });
        match repeated {
            Some((_, _, name)) if name.is_empty() => Err("the heading has columns without a name".into()),
            // In a file without a heading these are values, and one may be a secret: show no name.
            Some((first, at, _)) => {
                Err(format!("the heading has the same name in columns {} and {}", first + 1, at + 1))
            }
            None => Ok(rows),
        }
    }

    fn read_line(&mut self) -> Option<Result<Vec<u8>, BrokenRow>> {
        if self.ended {
            return None;
        }
        let mut line = Vec::new();
        if let Some(again) = self.again.pop_front() {
            line = again;
        } else {
            let limit = u64::try_from(MAX_ROW_BYTES).unwrap_or(u64::MAX);
            if let Err(error) = self.bytes.by_ref().take(limit).read_until(b'\n', &mut line) {
                self.ended = true;
                return Some(Err(BrokenRow { line: self.line + 1, problem: broken_off(&error) }));
            }
        }
        if line.is_empty() {
            return None;
        }
        self.line += 1;
        if line.len() >= MAX_ROW_BYTES {
            // The rest of the line is read, and dropped, in chunks of the same size.
            return Some(Err(BrokenRow { line: self.line, problem: "the line is longer than 1 MiB".into() }));
        }
        Some(Ok(line))
    }

    /// Reads a row's bytes into `row`, and into `starts` where each line after the first begins in them.
    fn read_row(&mut self, row: &mut Vec<u8>, starts: &mut Vec<usize>) -> Option<Result<(), BrokenRow>> {
        while row.is_empty() {
            match self.read_line()? {
                Ok(line) if line.trim_ascii().is_empty() => {}
                Ok(line) => *row = line,
                Err(broken) => return Some(Err(broken)),
            }
        }
        let first = self.line;
        loop {
            let problem = match quoting(row, self.delimiter) {
                Quoting::Closed => break,
                Quoting::Wrong => {
                    "a quotation mark in the middle of a quoted value is not doubled".to_owned()
                }
                Quoting::Open => {
                    let may_go_on = starts.len() < MAX_ROW_LINES && row.len() < MAX_ROW_BYTES;
                    match may_go_on.then(|| self.read_line()) {
                        Some(Some(Ok(line))) => {
                            starts.push(row.len());
                            row.extend_from_slice(&line);
                            continue;
                        }
                        Some(None) => "a quotation mark is not closed; the file may be cut off".to_owned(),
                        _ => "a quotation mark is not closed".to_owned(),
                    }
                }
            };
            self.look_again(row, starts);
            return Some(Err(BrokenRow { line: first, problem }));
        }
        Some(Ok(()))
    }

    /// Goes back to the second line of a broken row.
    fn look_again(&mut self, row: &[u8], starts: &[usize]) {
        let ends = starts.iter().skip(1).copied().chain([row.len()]);
        let lines: Vec<Vec<u8>> =
            starts.iter().zip(ends).map(|(start, end)| row[*start..end].to_vec()).collect();
        self.line -= u64::try_from(lines.len()).unwrap_or_default();
        for line in lines.into_iter().rev() {
            self.again.push_front(line);
        }
    }

    fn split(&self, row: &[u8]) -> Result<Vec<String>, String> {
        let text = text(row)?;
        let mut record = ::csv::StringRecord::new();
        let mut reader = ::csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(self.delimiter)
            .buffer_capacity(row.len())
            .from_reader(text.as_bytes());
        reader.read_record(&mut record).map_err(|error| error.to_string())?;
        Ok(record.iter().map(str::to_owned).collect())
    }

    fn columns(&self, row: &[u8]) -> Result<Map<String, Value>, String> {
        let values = self.split(row)?;
        let (given, expected) = (values.len(), self.heading.len());
        if given != expected {
            let end = if row.ends_with(b"\n") { "" } else { "; the file may be cut off" };
            return Err(format!("{given} columns where the heading has {expected}{end}"));
        }
        let is_null = |value: &str| matches!(value, "" | "NULL" | "\\N");
        let columns = self.heading.iter().zip(values).filter(|(_, value)| !is_null(value));
        Ok(columns.map(|(name, value)| (name.clone(), Value::String(value))).collect())
    }
}

impl Iterator for CsvRows {
    type Item = RowResult;

    fn next(&mut self) -> Option<RowResult> {
        let (mut row, mut starts) = (Vec::new(), Vec::new());
        if let Err(broken) = self.read_row(&mut row, &mut starts)? {
            return Some(Err(broken));
        }
        let line = self.line - u64::try_from(starts.len()).unwrap_or_default();
        let columns = self.columns(&row);
        if columns.is_err() {
            self.look_again(&row, &starts);
        }
        Some(match columns {
            Ok(columns) => Ok(Row { line, columns, may_be_cut: !row.ends_with(b"\n") }),
            Err(problem) => Err(BrokenRow { line, problem }),
        })
    }
}

/// The state of the quotation marks at the end of a row.
enum Quoting {
    Closed,
    Open,
    Wrong,
}

/// RFC 4180 section 2: a quoted value starts and ends at a delimiter; elsewhere a quotation mark means itself.
fn quoting(row: &[u8], delimiter: u8) -> Quoting {
    let is_end = |byte: &u8| *byte == delimiter || matches!(byte, b'\r' | b'\n');
    let mut at = 0;
    while at < row.len() {
        if row[at] == b'"' {
            at += 1;
            loop {
                match (row.get(at), row.get(at + 1)) {
                    (None, _) => return Quoting::Open,
                    (Some(b'"'), Some(b'"')) => at += 2,
                    (Some(b'"'), next) if next.is_none_or(is_end) => break,
                    (Some(b'"'), _) => return Quoting::Wrong,
                    (Some(_), _) => at += 1,
                }
            }
            at += 1;
        }
        at += row[at.min(row.len())..].iter().take_while(|byte| !is_end(byte)).count() + 1;
    }
    Quoting::Closed
}
