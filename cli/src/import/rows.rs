//! Rows out of CSV and JSON files, one at a time: a row that is broken is told with its line and hides no other.

mod csv;
mod json;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::{Map, Value};

use self::csv::CsvRows;
use self::json::JsonRows;

/// More than any row holds: Spring's columns together have less than 16 KiB.
const MAX_ROW_BYTES: usize = 1 << 20;

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
