//! Rows out of CSV and JSON files, one at a time: a row that is broken is told with its line and hides no other.

mod csv;
mod json;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
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
    /// It is a CSV's last and has no line end, so that its last value may lack something.
    pub(crate) may_be_cut: bool,
}

/// A row that cannot be read, or the rest of a file.
#[derive(Debug)]
pub(crate) struct BrokenRow {
    pub(crate) line: u64,
    pub(crate) problem: String,
}

type RowResult = Result<Row, BrokenRow>;
type Bytes = BufReader<Box<dyn Read + Send>>;

/// The rows of a file, which is CSV with a heading, a JSON array of objects, or one object a line.
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
        return Err("it is UTF-16 or UTF-32; convert it with: iconv -f UTF-16 -t UTF-8".into());
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

fn broken_off(error: &std::io::Error) -> String {
    format!("the file cannot be read any further: {error}")
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
    use std::io::Error;

    use super::*;

    /// What is read, as `line: id` or `line! problem`.
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
    fn a_broken_csv_row_costs_itself_alone() {
        let read =
            read(&b"ID,x\r\na,1\r\nb,\"2\r\nc,3\r\n\r\nd,\"4\n5\"\r\ne\r\nf,\"6\r\nf\xFC,7\r\ng,8"[..]);
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
            read(&list[..]),
            [
                "2: a",
                "3! a text is not closed in its line",
                "4! not JSON: expected `:`",
                "4: d",
                "5! an object is expected",
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
    fn an_object_that_is_not_closed_swallows_no_other() {
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
    fn a_part_of_a_broken_object_is_no_row() {
        let nested = b"[\n  {\n    \"id\": \"a,\n    \"client_settings\":\n    {\n      \"id\": \"evil\"\n    }\n  },\n  {\n    \"id\": \"b\"\n  }, {\n    \"id\": \"c\"\n  }\n]";
        assert_eq!(read(&nested[..]), ["2! a text is not closed in its line", "9: b", "11: c"]);
    }

    #[test]
    fn a_member_that_is_given_twice_is_told() {
        for twice in ["{\"id\":\"a\",\"id\":\"s3cret\"}", "{\"id\":\"s3cret\",\"ID\":null}"] {
            assert_eq!(
                read(std::io::Cursor::new(format!("{twice}\n{{\"id\":\"b\"}}"))),
                ["1! the member id is given twice", "2: b"]
            );
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_to_its_end_is_told() {
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
    fn what_no_row_can_be_read_from_is_told() {
        let wide = "it is UTF-16 or UTF-32; convert it with: iconv -f UTF-16 -t UTF-8";
        for start in [&b"\xFF\xFEi\0d\0"[..], b"i\0d\0", b"\0i\0d", b"\0\0\0i\0\0\0d", b"\xFF\xFE\0\0i\0\0\0"]
        {
            assert_eq!(read(start), [wide]);
        }
        assert_eq!(read(&b"a,,b,\n"[..]), ["its heading has columns without a name"]);
        assert_eq!(read(&b" \n"[..]), ["it is empty"]);
        assert_eq!(read(&b"id,ID\n"[..]), ["its heading has the same name in columns 1 and 2"]);
        assert_eq!(read(&b"\xEF\xBB\xBFid;x\na;1\n"[..]), ["2: a"]);
    }
}
