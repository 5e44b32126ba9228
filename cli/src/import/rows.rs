//! Rows out of CSV and JSON files, one at a time: a row that is broken is told with its line and hides no other.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde_json::{Map, Value};

/// More than any row holds: Spring's columns together have less than 16 KiB.
const MAX_ROW_BYTES: usize = 1 << 20;
/// A quoted value goes on over no more lines than this.
const MAX_ROW_LINES: usize = 200;

/// One row: its columns, named in lower case, without those that are null.
#[derive(Debug)]
pub(crate) struct Row {
    /// Where it starts, from 1.
    pub(crate) line: u64,
    pub(crate) columns: Map<String, Value>,
}

/// A row that cannot be read, or the rest of a file.
#[derive(Debug)]
pub(crate) struct BrokenRow {
    pub(crate) line: u64,
    pub(crate) problem: String,
}

type RowResult = Result<Row, BrokenRow>;
type Bytes = BufReader<File>;

/// The rows of a file, which is CSV with a heading, a JSON array of objects, or one object a line.
pub(crate) fn rows(path: &Path) -> Result<Box<dyn Iterator<Item = RowResult> + Send>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = BufReader::with_capacity(1 << 16, file);
    let start = bytes.fill_buf().map_err(|error| error.to_string())?;
    if start.starts_with(&[0xFE, 0xFF]) || start.starts_with(&[0xFF, 0xFE]) {
        return Err("it is UTF-16; convert it with: iconv -f UTF-16 -t UTF-8".into());
    }
    if start.starts_with(&[0xEF, 0xBB, 0xBF]) {
        bytes.consume(3);
    }
    let start = bytes.fill_buf().map_err(|error| error.to_string())?;
    match start.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => Err("it is empty".into()),
        Some(b'[' | b'{') => Ok(Box::new(JsonRows::new(bytes))),
        Some(_) => Ok(Box::new(CsvRows::new(bytes)?)),
    }
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| {
        let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
        format!(
            "byte 0x{byte:02X} is not UTF-8; where the file is in Latin-1, convert it with: \
             iconv -f ISO-8859-1 -t UTF-8"
        )
    })
}

/// CSV is taken apart line by line, so that a quotation mark which is never closed costs one row and not the rest.
struct CsvRows {
    bytes: Bytes,
    /// Lines that were looked at in vain, to be read again.
    again: VecDeque<Vec<u8>>,
    line: u64,
    delimiter: u8,
    heading: Vec<String>,
}

impl CsvRows {
    fn new(bytes: Bytes) -> Result<Self, String> {
        let mut rows = Self { bytes, again: VecDeque::new(), line: 0, delimiter: b',', heading: Vec::new() };
        let first = rows.read_line().ok_or("it is empty")?.map_err(|broken| broken.problem)?;
        let count = |delimiter: &u8| first.iter().filter(|byte| *byte == delimiter).count();
        rows.delimiter = b",;\t|".iter().copied().max_by_key(count).unwrap_or(b',');
        let heading = rows.split(&first)?;
        rows.heading = heading.into_iter().map(|name| name.trim().to_ascii_lowercase()).collect();
        let repeated = rows.heading.iter().enumerate().find(|(at, name)| rows.heading[..*at].contains(name));
        match repeated {
            Some((_, name)) => Err(format!("its heading has the column {name} twice")),
            None => Ok(rows),
        }
    }

    fn read_line(&mut self) -> Option<Result<Vec<u8>, BrokenRow>> {
        let mut line = Vec::new();
        if let Some(again) = self.again.pop_front() {
            line = again;
        } else {
            let limit = u64::try_from(MAX_ROW_BYTES).unwrap_or(u64::MAX);
            if let Err(error) = self.bytes.by_ref().take(limit).read_until(b'\n', &mut line) {
                return Some(Err(BrokenRow { line: self.line + 1, problem: error.to_string() }));
            }
        }
        if line.is_empty() {
            return None;
        }
        self.line += 1;
        if line.len() >= MAX_ROW_BYTES {
            // What is left of an endless line is dropped, chunk by chunk.
            return Some(Err(BrokenRow { line: self.line, problem: "the line is longer than 1 MiB".into() }));
        }
        Some(Ok(line))
    }

    /// A row's bytes and, of each of its lines after the first, where it starts in them.
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
                Quoting::Wrong => "a quotation mark stands in the middle of a quoted value".to_owned(),
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

    /// Goes back to the line after a broken row's first.
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
        let mut record = csv::StringRecord::new();
        let mut reader = csv::ReaderBuilder::new()
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
            Ok(columns) => Ok(Row { line, columns }),
            Err(problem) => Err(BrokenRow { line, problem }),
        })
    }
}

/// How a row stands at its end.
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

/// JSON is cut into its objects by counting braces, since one document may hold a million of them.
struct JsonRows {
    bytes: Bytes,
    line: u64,
    /// Lists that were opened around the objects and not closed yet.
    open: u32,
    ended: bool,
}

impl JsonRows {
    fn new(mut bytes: Bytes) -> Self {
        // A table's export may be one object of one member: `{"oauth_client_details": [`.
        let wrapped = bytes.fill_buf().ok().and_then(wrapper_length).unwrap_or(0);
        let skipped = bytes.buffer()[..wrapped].iter().filter(|byte| **byte == b'\n').count();
        bytes.consume(wrapped);
        let line = 1 + u64::try_from(skipped).unwrap_or_default();
        Self { bytes, line, open: u32::from(wrapped > 0), ended: false }
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = self.bytes.fill_buf().ok()?.first().copied()?;
        self.bytes.consume(1);
        self.line += u64::from(byte == b'\n');
        Some(byte)
    }

    /// The bytes of the next object, and the line that it starts in.
    fn object(&mut self) -> Option<Result<(u64, Vec<u8>), BrokenRow>> {
        loop {
            match self.byte() {
                Some(b'{') => break,
                Some(b'[') => self.open += 1,
                Some(b']') => self.open = self.open.saturating_sub(1),
                Some(byte) if byte.is_ascii_whitespace() || matches!(byte, b',' | b'}') => {}
                Some(_) => {
                    let broken = BrokenRow { line: self.line, problem: "an object is expected".into() };
                    self.skip_line();
                    return Some(Err(broken));
                }
                None if self.open > 0 => {
                    self.open = 0;
                    let problem = "the list is not closed; the file may be cut off".into();
                    return Some(Err(BrokenRow { line: self.line, problem }));
                }
                None => return None,
            }
        }
        let line = self.line;
        let broken = |problem: &str| Some(Err(BrokenRow { line, problem: problem.into() }));
        let (mut object, mut depth, mut in_string, mut escaped) = (vec![b'{'], 1, false, false);
        while depth > 0 {
            let Some(byte) = self.byte() else {
                self.open = 0;
                return broken("the object is not closed; the file may be cut off");
            };
            object.push(byte);
            match byte {
                b'\n' if in_string => return broken("a text is not closed in its line"),
                _ if escaped => escaped = false,
                b'\\' => escaped = in_string,
                b'"' => in_string = !in_string,
                b'{' if !in_string => depth += 1,
                b'}' if !in_string => depth -= 1,
                _ => {}
            }
            if object.len() > MAX_ROW_BYTES {
                self.ended = true;
                return broken("the object is longer than 1 MiB; the rest of the file was not read");
            }
        }
        Some(Ok((line, object)))
    }

    fn skip_line(&mut self) {
        while self.byte().is_some_and(|byte| byte != b'\n') {}
    }
}

/// How much of the start is `{"…": [`, if it is that and objects follow.
fn wrapper_length(start: &[u8]) -> Option<usize> {
    let start = std::str::from_utf8(start).ok()?;
    let name = start.trim_start().strip_prefix('{')?.trim_start().strip_prefix('"')?;
    let (_, rest) = name.split_once('"')?;
    let list = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('[')?;
    list.trim_start().starts_with(['{', ']']).then(|| start.len() - list.len())
}

impl Iterator for JsonRows {
    type Item = RowResult;

    fn next(&mut self) -> Option<RowResult> {
        if self.ended {
            return None;
        }
        let (line, object) = match self.object()? {
            Ok(found) => found,
            Err(broken) => return Some(Err(broken)),
        };
        let columns = text(&object).and_then(|text| {
            serde_json::from_str::<Map<String, Value>>(text).map_err(|error| {
                let said = error.to_string();
                format!("not JSON: {}", said.split(" at line ").next().unwrap_or_default())
            })
        });
        Some(match columns {
            Ok(columns) => {
                let given = columns.into_iter().filter(|(_, value)| !value.is_null());
                let columns = given.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
                Ok(Row { line, columns })
            }
            Err(problem) => Err(BrokenRow { line, problem }),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// What is read, as `line: id` or `line! problem`.
    fn read(content: &[u8]) -> Vec<String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let rows = match rows(file.path()) {
            Ok(rows) => rows,
            Err(problem) => return vec![problem],
        };
        rows.map(|row| match row {
            Ok(row) => format!("{}: {}", row.line, row.columns["id"].as_str().unwrap_or_default()),
            Err(broken) => format!("{}! {}", broken.line, broken.problem),
        })
        .collect()
    }

    #[test]
    fn a_broken_csv_row_costs_itself_alone() {
        let read = read(b"ID,x\r\na,1\r\nb,\"2\r\nc,3\r\n\r\nd,\"4\n5\"\r\ne\r\nf,\"6\r\nf\xFC,7\r\ng,8");
        assert_eq!(
            read,
            [
                "2: a",
                "3! a quotation mark stands in the middle of a quoted value",
                "4: c",
                "6: d",
                "8! 1 columns where the heading has 2",
                "9! a quotation mark is not closed; the file may be cut off",
                "10! byte 0xFC is not UTF-8; where the file is in Latin-1, convert it with: iconv -f ISO-8859-1 -t UTF-8",
                "11: g",
            ]
        );
    }

    #[test]
    fn a_broken_object_costs_itself_alone() {
        let list = b"[\n{\"ID\":\"a\",\"x\":{\"y\":\"}\\\"\"}},\n{\"id\":\"b},\n{\"id\" \"c\"},{\"id\":\"d\"},\nnonsense\n{\"id\":\"e\"}]";
        assert_eq!(
            read(list),
            [
                "2: a",
                "3! a text is not closed in its line",
                "4! not JSON: expected `:`",
                "4: d",
                "5! an object is expected",
                "6: e",
            ]
        );
        assert_eq!(read(b"{\"id\":\"a\"}\n{\"id\":\"b\"}"), ["1: a", "2: b"]);
        assert_eq!(read(b"{ \"t\": [\n{\"id\":\"a\"},\n{\"id\":\"b\"}\n]}"), ["2: a", "3: b"]);
        let cut = "the file may be cut off";
        assert_eq!(
            read(b"[{\"id\":\"a\"},\n"),
            ["1: a".to_owned(), format!("2! the list is not closed; {cut}")]
        );
        assert_eq!(
            read(b"[{\"id\":\"a\"},\n{\"id"),
            ["1: a".to_owned(), format!("2! the object is not closed; {cut}")]
        );
    }

    #[test]
    fn what_no_row_can_be_read_from_is_told() {
        assert_eq!(read(b"\xFF\xFEi\0d\0"), ["it is UTF-16; convert it with: iconv -f UTF-16 -t UTF-8"]);
        assert_eq!(read(b" \n"), ["it is empty"]);
        assert_eq!(read(b"id,ID\n"), ["its heading has the column id twice"]);
        assert_eq!(read(b"\xEF\xBB\xBFid;x\na;1\n"), ["2: a"]);
    }
}
