//! Reads rows from CSV and JSON files one at a time. A broken row is reported with its line and hides no other row.

mod csv;
mod json;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde_json::{Map, Value};

use self::csv::CsvRows;
use self::json::JsonRows;

/// More than any row has: Spring's columns together have less than 16 KiB.
const MAX_ROW_BYTES: usize = 1 << 20;

/// A row: its columns by their names in lower case, without those that are null.
#[derive(Debug)]
pub(crate) struct Row {
    /// The line where it starts, counted from 1.
    pub(crate) line: u64,
    pub(crate) columns: Map<String, Value>,
    /// True for the last row of a CSV without a line end: its last value may be cut off.
    pub(crate) may_be_cut: bool,
}

/// A row, or the rest of a file, that cannot be read.
#[derive(Debug)]
pub(crate) struct BrokenRow {
    pub(crate) line: u64,
    pub(crate) problem: String,
}

type RowResult = Result<Row, BrokenRow>;
type Bytes = BufReader<Box<dyn Read + Send>>;

/// Reads a file: CSV with a heading, a JSON array of objects, or one JSON object a line.
pub(crate) fn rows(path: &Path) -> Result<Box<dyn Iterator<Item = RowResult> + Send>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    rows_of(Box::new(file))
}

fn rows_of(file: Box<dyn Read + Send>) -> Result<Box<dyn Iterator<Item = RowResult> + Send>, String> {
    let mut bytes = BufReader::with_capacity(1 << 16, file);
    let start = bytes.fill_buf().map_err(|error| error.to_string())?;
    if start.starts_with(&[0xFE, 0xFF])
        || start.starts_with(&[0xFF, 0xFE])
        || start.iter().take(4).any(|byte| *byte == 0)
    {
        return Err("the file is UTF-16 or UTF-32; convert it with: iconv -f UTF-16 -t UTF-8".into());
    }
    if start.starts_with(&[0xEF, 0xBB, 0xBF]) {
        bytes.consume(3);
    }
    let start = bytes.fill_buf().map_err(|error| error.to_string())?;
    match start.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => Err("the file is empty".into()),
        Some(b'[' | b'{') => Ok(Box::new(JsonRows::new(bytes))),
        Some(_) => Ok(Box::new(CsvRows::new(bytes)?)),
    }
}

fn broken_off(error: &std::io::Error) -> String {
    format!("the file cannot be read any further: {error}")
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| {
        let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
        format!(
            "byte 0x{byte:02X} is not UTF-8; if the file is Latin-1, convert it with: \
             iconv -f ISO-8859-1 -t UTF-8"
        )
    })
}

#[cfg(test)]
mod tests {
    use std::io::Error;

    use super::*;

    /// The rows as `line: id` or `line! problem`.
    fn read(content: impl Read + Send + 'static) -> Vec<String> {
        let rows = match rows_of(Box::new(content)) {
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
    fn a_broken_csv_row_hides_no_other_row() {
        let read =
            read(&b"ID,x\r\na,1\r\nb,\"2\r\nc,3\r\n\r\nd,\"4\n5\"\r\ne\r\nf,\"6\r\nf\xFC,7\r\ng,8"[..]);
        assert_eq!(
            read,
            [
                "2: a",
                "3! a quotation mark in the middle of a quoted value is not doubled",
                "4: c",
                "6: d",
                "8! 1 columns where the heading has 2",
                "9! a quotation mark is not closed; the file may be cut off",
                "10! byte 0xFC is not UTF-8; if the file is Latin-1, convert it with: iconv -f ISO-8859-1 -t UTF-8",
                "11: g",
            ]
        );
    }

    #[test]
    fn a_broken_object_hides_no_other_object() {
        let list = b"[\n{\"ID\":\"a\",\"x\":{\"y\":\"}\\\"\"}},\n{\"id\":\"b},\n{\"id\" \"c\"},{\"id\":\"d\"},\nnonsense\n{\"id\":\"e\"}]";
        assert_eq!(
            read(&list[..]),
            [
                "2: a",
                "3! a text does not end in its line",
                "4! not JSON: expected `:`",
                "4: d",
                "5! expected an object",
                "6: e",
            ]
        );
        assert_eq!(read(&b"{\"id\":\"a\"}\n{\"id\":\"b\"}"[..]), ["1: a", "2: b"]);
        assert_eq!(read(&b"{ \"t\": [\n{\"id\":\"a\"},\n{\"id\":\"b\"}\n]}"[..]), ["2: a", "3: b"]);
        let cut = "the file may be cut off";
        assert_eq!(
            read(&b"[{\"id\":\"a\"},\n"[..]),
            ["1: a".to_owned(), format!("2! the list is not closed; {cut}")]
        );
        assert_eq!(
            read(&b"[{\"id\":\"a\"},\n{\"id"[..]),
            ["1: a".to_owned(), format!("2! the object is not closed; {cut}")]
        );
    }

    #[test]
    fn an_object_that_is_not_closed_hides_no_other_object() {
        let open = "the object is not closed";
        assert_eq!(
            read(&b"{\"id\":\"a\"}\n{\"id\":\"b\"\n{\"id\":\"c\"}\n{\"id\":\"d\"}"[..]),
            ["1: a".to_owned(), format!("2! {open}; the file may be cut off"), "3: c".into(), "4: d".into()]
        );
        let lines = "{\"id\":\"a\"}\n".repeat(3000);
        let many = read(std::io::Cursor::new(format!("{{\"id\":\n{lines}")));
        assert_eq!(many[0], "1! the object is not closed within 1000 lines");
        assert_eq!((many.len(), many[1].as_str()), (1 + 3000, "2: a"));
        let long = format!("{{\"id\":\"{}\"}}\n{{\"id\":\"b\"}}", "x".repeat(MAX_ROW_BYTES));
        assert_eq!(read(std::io::Cursor::new(long)), ["1! the object is longer than 1 MiB", "2: b"]);
        assert_eq!(
            read(&b"[\n  {\n    \"id\": \"a\"\n  },\n  {\n    \"id\": \"b\",\n    \"x\": {\"y\": 1},\n"[..]),
            ["2: a".to_owned(), format!("5! {open}; the file may be cut off")]
        );
    }

    #[test]
    fn a_part_of_a_broken_object_is_not_read_as_a_row() {
        let nested = b"[\n  {\n    \"id\": \"a,\n    \"client_settings\":\n    {\n      \"id\": \"evil\"\n    }\n  },\n  {\n    \"id\": \"b\"\n  }, {\n    \"id\": \"c\"\n  }\n]";
        assert_eq!(read(&nested[..]), ["2! a text does not end in its line", "9: b", "11: c"]);
    }

    #[test]
    fn a_repeated_member_is_reported() {
        for twice in ["{\"id\":\"a\",\"id\":\"s3cret\"}", "{\"id\":\"s3cret\",\"ID\":null}"] {
            assert_eq!(
                read(std::io::Cursor::new(format!("{twice}\n{{\"id\":\"b\"}}"))),
                ["1! the member id occurs twice", "2: b"]
            );
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_to_its_end_is_reported() {
        struct Spoilt;
        impl Read for Spoilt {
            fn read(&mut self, _: &mut [u8]) -> Result<usize, Error> {
                Err(Error::other("spoilt"))
            }
        }
        let said = "the file cannot be read any further: spoilt";
        assert_eq!(read(b"{\"id\":\"a\"}\n".chain(Spoilt)), ["1: a".to_owned(), format!("2! {said}")]);
        assert_eq!(
            read(b"{\"id\":\"a\"}\n{\"id\"".chain(Spoilt)),
            [
                "1: a".to_owned(),
                "2! the object is not closed; the file may be cut off".into(),
                format!("2! {said}")
            ]
        );
        assert_eq!(
            read(b"id\na\nb\n".chain(Spoilt)),
            ["2: a".to_owned(), "3: b".into(), format!("4! {said}")]
        );
    }

    #[test]
    fn a_file_without_readable_rows_is_reported() {
        let wide = "the file is UTF-16 or UTF-32; convert it with: iconv -f UTF-16 -t UTF-8";
        for start in [&b"\xFF\xFEi\0d\0"[..], b"i\0d\0", b"\0i\0d", b"\0\0\0i\0\0\0d", b"\xFF\xFE\0\0i\0\0\0"]
        {
            assert_eq!(read(start), [wide]);
        }
        assert_eq!(read(&b"a,,b,\n"[..]), ["the heading has columns without a name"]);
        assert_eq!(read(&b" \n"[..]), ["the file is empty"]);
        assert_eq!(read(&b"id,ID\n"[..]), ["the heading has the same name in columns 1 and 2"]);
        assert_eq!(read(&b"\xEF\xBB\xBFid;x\na;1\n"[..]), ["2: a"]);
    }
}
