#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use super::*;

fn open(content: &[u8]) -> Result<TableFile, String> {
    TableFile::recognise(Path::new("file"), content.to_vec(), &["id"])
}

/// The rows as `line: id` or `line! problem`, or the problem of the file.
fn read(content: &[u8]) -> Vec<String> {
    let file = match open(content) {
        Ok(file) => file,
        Err(problem) => return vec![problem],
    };
    let rows = file.rows().map(|row| match row {
        Ok(row) => format!("{}: {}", row.line, row.columns["id"].as_str().unwrap_or_default()),
        Err(broken) => format!("{}! {}", broken.line, broken.problem),
    });
    let rows: Vec<String> = rows.collect();
    assert_eq!(rows.len(), file.len());
    rows
}

/// The values of a column.
fn values(content: &str, column: &str) -> Vec<Option<String>> {
    let file = open(content.as_bytes()).unwrap();
    let rows = file.rows().map(Result::unwrap).map(|mut row| {
        row.drop_nulls();
        row
    });
    rows.map(|row| row.columns.get(column).and_then(Value::as_str).map(str::to_owned)).collect()
}

fn some(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|value| Some((*value).to_owned())).collect()
}

#[test]
fn a_row_with_other_columns_than_the_heading_hides_no_other_row() {
    assert_eq!(
        read(b"ID,x\r\na,1\r\n\r\nd,\"4\n5\"\r\ne\r\nf,\"6,7\"\"\"\r\ng,8,9\r\nh,i\r\nj"),
        [
            "2: a",
            "4: d",
            "6! 1 columns where the heading has 2",
            "7: f",
            "8! 3 columns where the heading has 2",
            "9: h",
            "10! 1 columns where the heading has 2; the file may be cut off",
        ]
    );
    assert!(open(b"id,x\na,b\n").unwrap().rows().all(|row| !row.unwrap().may_be_cut));
    assert!(open(b"id,x\na,b").unwrap().rows().all(|row| row.unwrap().may_be_cut));
}

#[test]
fn a_file_with_a_quotation_mark_that_is_not_closed_or_not_doubled_is_refused() {
    for (content, line) in [
        ("id,x\na,1\nb,\"2\nc,3\n", 3),
        ("id,x\na,1\nb,\"2\"3\nc,3\n", 3),
        ("id,x\na,\"1\nb\",\"2\nc,3\n", 2),
        ("id\tx\na\t1\nb\t\"2\nc\t3\n", 3),
        ("id|x\na|1\nb|\"2\nc|3\n", 3),
        // Read leniently, this swallows a row and has the right number of columns.
        ("id,x,y\na,\"b,c\nd,\"e,f\",g\n", 2),
    ] {
        let problem = read(content.as_bytes());
        assert!(
            problem[0].starts_with(&format!("line {line}: a quotation mark is not closed")),
            "{problem:?}"
        );
        assert_eq!(problem.len(), 1);
    }
}

#[test]
fn backslash_escapes_are_read_as_the_tool_that_wrote_them_means_them() {
    // COPY, mysql --batch, jq's @tsv; \N is NULL.
    let tabs = "id\tname\tjson\na\tSão Paulo\\\\Zürich\t{\"a\":\"\\\\\"\\\\n\"}\nb\ttwo\\nlines\\tx\t\\N\n";
    assert_eq!(values(tabs, "name"), some(&["São Paulo\\Zürich", "two\nlines\tx"]));
    assert_eq!(values(tabs, "json"), [Some("{\"a\":\"\\\"\\n\"}".to_owned()), None]);
    // INTO OUTFILE escapes the line end and the delimiter themselves, with any delimiter.
    let outfile = "id\tname\na\ttwo\\\nlines\\\tx\nb\ty\n";
    assert_eq!(values(outfile, "name"), some(&["two\nlines\tx", "y"]));
    assert_eq!(read(outfile.as_bytes()), ["2: a", "4: b"]);
    assert_eq!(values("id,scope,x\na,read\\,write,\\N\n", "scope"), some(&["read,write"]));
    // ENCLOSED BY '"', and COPY's ESCAPE '\'.
    let enclosed =
        "\"id\",\"name\",\"json\"\n\"a\",\"two\\\nlines \\\"q\\\" \\\\\",\"{\\\"a\\\":1}\"\n\"b\",\\N,\\N\n";
    assert_eq!(values(enclosed, "name"), [Some("two\nlines \"q\" \\".to_owned()), None]);
    assert_eq!(values(enclosed, "json"), [Some("{\"a\":1}".to_owned()), None]);
    assert_eq!(
        values("\"id\",\"name\",\"x\"\n\"a\",\"São Paulo\\\\Zürich\",\\N\n", "name"),
        some(&["São Paulo\\Zürich"])
    );
}

#[test]
fn backslashes_that_escape_nothing_are_kept() {
    // mysql --raw, SQLite's tabs, psql -A.
    for (content, name) in [
        ("id\tname\na\tSão Paulo\\Zürich\n", "São Paulo\\Zürich"),
        ("id\tname\tx\na\tA\\\\B\t{\"n\":\"\\\"q\\\"\"}\n", "A\\\\B"),
        ("id\tname\tx\na\tb\t{\"n\":\"two\\nlines\"}\n", "b"),
        ("id|name\na|A\\\\B\n(1 row)\n", "A\\\\B"),
        // RFC 4180 around JSON with its own backslashes.
        ("id,name\na,\"{\"\"n\"\":\"\"\\\"\"q\\\"\" \\\\ \"\"}\"\n", "{\"n\":\"\\\"q\\\" \\\\ \"}"),
        ("id,name\na,\"x\\\"\n", "x\\"),
        ("id\tname\na\t\"Acme\"\\Q\n", "\"Acme\"\\Q"),
        ("id\tname\na\t\"Acme\"\n", "\"Acme\""),
        ("id\tname\na\t\"Ac\"\"me\"\n", "Ac\"me"),
    ] {
        assert_eq!(values(content, "name"), some(&[name]), "{content}");
    }
}

#[test]
fn a_count_of_rows_below_a_table_is_no_row() {
    for count in [
        "(2 rows)",
        "2 rows selected.",
        "(2 rows affected)",
        "2 rows in set (0.00 sec)\n",
        "\n(2 rows, 17 ms)\n\n",
    ] {
        assert_eq!(read(format!("id|x\na|1\nb|2\n{count}").as_bytes()), ["2: a", "3: b"], "{count}");
    }
}

#[test]
fn json_is_read_as_a_list_in_an_object_or_one_after_another() {
    assert_eq!(read(b"[\n{\"ID\":\"a\",\"x\":{\"y\":\"}\\\"\"}},\n{\"id\":\"b\"}]"), ["2: a", "3: b"]);
    assert_eq!(read(b"{ \"t\": [\n{\"id\":\"a\"},\n{\"id\":\"b\"}\n]}"), ["2: a", "3: b"]);
    assert_eq!(read(b"{\"t\":[{\"id\":\"a\"},\n{\"id\":\"b\"}]}"), ["1: a", "2: b"]);
    assert_eq!(read(b"{\n\"id\": \"a\"\n}\n{\n\"id\": \"b\"\n}\n"), ["1: a", "4: b"]);
    assert_eq!(read(b"[{\"id\":\"a\"}]\n[{\"id\":\"b\"}]"), ["1: a", "2: b"]);
    assert_eq!(read(b"{\"id\":\"a\"}"), ["1: a"]);
}

#[test]
fn a_broken_line_of_json_hides_no_other_line() {
    assert_eq!(
        read(b"{\"id\":\"a\"}\n{\"id\":\"b\"\n{\"id\" \"c\"}\nnonsense\n{\"id\":\"d\"}\n{\"id\":\"e"),
        [
            "1: a",
            "2! not JSON: EOF while parsing an object; the file may be cut off",
            "3! not JSON: expected `:`",
            "4! not a JSON object",
            "5: d",
            "6! not JSON: EOF while parsing a string; the file may be cut off",
        ]
    );
    for twice in ["{\"id\":\"a\",\"id\":\"s3cret\"}", "{\"id\":\"s3cret\",\"ID\":null}"] {
        assert_eq!(
            read(format!("{twice}\n{{\"id\":\"b\"}}").as_bytes()),
            ["1! the member id occurs twice", "2: b"]
        );
    }
}

#[test]
fn a_list_that_is_not_json_as_a_whole_is_refused() {
    for (content, problem) in [
        (
            &b"[{\"id\":\"a\"},\n"[..],
            "not JSON: EOF while parsing a value at line 2 column 0; the file may be cut off",
        ),
        (
            b"[{\"id\":\"a\"},\n{\"id",
            "not JSON: EOF while parsing a string at line 2 column 4; the file may be cut off",
        ),
        (b"[\n{\"id\":\"a\"},\n{\"id\" \"b\"}]", "not JSON: expected `:` at line 3 column 7"),
    ] {
        let read = read(content);
        assert!(read.len() == 1 && read[0].starts_with(problem), "{read:?}");
    }
    assert_eq!(read(b"[{\"id\":\"a\"},5,{\"id\":\"b\"}]"), ["1: a", "1! not a JSON object", "1: b"]);
}

#[test]
fn a_file_without_readable_rows_is_refused() {
    let wide = "UTF-16 or UTF-32, which cannot be imported\nConvert it with: iconv -f UTF-16 -t UTF-8";
    for start in [&b"\xFF\xFEi\0d\0"[..], b"i\0d\0", b"\0i\0d", b"\0\0\0i\0\0\0d", b"\xFF\xFE\0\0i\0\0\0"] {
        assert_eq!(read(start), [wide]);
    }
    assert_eq!(read(b" \n"), ["the file is empty"]);
    assert_eq!(read(b"id,ID\n"), ["the heading has the same name in columns 1 and 2"]);
    assert_eq!(
        read(b"client_name,x\na,b\n")[0].lines().next().unwrap(),
        "it has no column id; give it that name in the query: SELECT \u{2026} AS id"
    );
    assert_eq!(read(b"\xEF\xBB\xBFid;x\na;1\n"), ["2: a"]);
    assert_eq!(read(b",id,,\n1,a,,\n"), ["2: a"]);
    let latin = read(b"id,x\na,1\nb,f\xFC\n");
    assert!(
        latin[0].starts_with("line 3: byte 0xFC is not UTF-8") && latin[0].contains("iconv -f WINDOWS-1252"),
        "{latin:?}"
    );
}
