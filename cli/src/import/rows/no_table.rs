//! Exports that are no table: each is named, with the command that exports the table.

use super::json;
use crate::import::columns::{KNOWN, canonical_name};

/// A file that is no table, and the way to the table.
struct NoTable {
    what: &'static str,
    remedy: Remedy,
}

#[derive(Clone, Copy)]
enum Remedy {
    PostgreSql,
    MySql,
    Sqlite,
    H2,
    /// The command depends on the database, which the file does not tell.
    AnyDatabase,
    /// The program that unpacks the file.
    UnpackWith(&'static str),
    /// The whole advice.
    Advice(&'static str),
}

const UNPACK: Remedy = Remedy::Advice("Unpack it, and import the table inside.");
const SAVE_AS_CSV: Remedy = Remedy::Advice("Save the sheet as \"CSV UTF-8\".");
const PHP_MY_ADMIN: Remedy =
    Remedy::Advice("In phpMyAdmin, export the table as CSV, with \"Put columns names in the first row\".");
const SQLCL: Remedy =
    Remedy::Advice("In SQLcl: set sqlformat csv, then spool TABLE.csv, SELECT * FROM TABLE; and spool off.");
const PANDAS: Remedy =
    Remedy::Advice("In pandas: to_csv(\"TABLE.csv\", index=False), or to_json(…, orient=\"records\").");

/// How a file starts that is no text.
const SIGNATURES: &[(&[u8], &str, Remedy)] = &[
    (b"\x1F\x8B", "compressed with gzip", Remedy::UnpackWith("gunzip")),
    (b"BZh", "compressed with bzip2", Remedy::UnpackWith("bunzip2")),
    (b"\xFD7zXZ\0", "compressed with xz", Remedy::UnpackWith("unxz")),
    (b"\x28\xB5\x2F\xFD", "compressed with zstd", Remedy::UnpackWith("unzstd")),
    (b"7z\xBC\xAF\x27\x1C", "a 7z archive", UNPACK),
    (b"PGDMP", "an archive by pg_dump", Remedy::PostgreSql),
    (b"PGCOPY\n\xFF\r\n\0", "COPY's binary format", Remedy::PostgreSql),
    (b"SQLite format 3\0", "an SQLite database", Remedy::Sqlite),
    (b"H:2,block:", "an H2 database", Remedy::H2),
    (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", "an Excel workbook (xls)", SAVE_AS_CSV),
    (b"PAR1", "a Parquet file", PANDAS),
    (b"ARROW1", "an Arrow file", PANDAS),
    (b"\x80\x04\x95", "a pickle", PANDAS),
    (b"\x80\x05\x95", "a pickle", PANDAS),
    (b"\x80\x02", "a pickle", PANDAS),
    (b"\x80\x03", "a pickle", PANDAS),
    (b"\x89HDF", "an HDF5 file", PANDAS),
    (b"ORC", "an ORC file", PANDAS),
    (b"Obj\x01", "an Avro file", Remedy::AnyDatabase),
    (b"\x04\x22\x4D\x18", "compressed with lz4", Remedy::UnpackWith("unlz4")),
    (b"\x1F\x9D", "compressed with compress", Remedy::UnpackWith("uncompress")),
    (b"Rar!\x1A\x07", "a RAR archive", UNPACK),
    (b"PK\x05\x06", "an empty zip archive", Remedy::AnyDatabase),
    (
        b"\0\x01\0\0Standard ",
        "an Access database",
        Remedy::Advice("In Access, export the table as a text file with field names, in UTF-8."),
    ),
    (b"\xAC\xED\0\x05", "a serialized Java object", Remedy::AnyDatabase),
    (b"\x89PNG", "a picture", Remedy::AnyDatabase),
    (b"\xFF\xD8\xFF", "a picture", Remedy::AnyDatabase),
    (b"%PDF", "a PDF", Remedy::AnyDatabase),
];

/// How a text starts, apart from case and white space.
const STARTS: &[(&str, &str, Remedy)] = &[
    (
        "sep=",
        "a CSV for Excel, whose first line is `sep=…`",
        Remedy::Advice("Delete that line: sed -i 1d FILE"),
    ),
    (
        "#type ",
        "a CSV by PowerShell, whose first line is `#TYPE …`",
        Remedy::Advice("Delete that line, or export with Export-Csv -NoTypeInformation."),
    ),
    ("\u{1e}", "a JSON text sequence", Remedy::Advice("Leave out --seq: jq -c '.[]' FILE")),
    ("-[ record", "psql's expanded output (-x)", Remedy::PostgreSql),
    ("─[ record", "psql's expanded output (-x)", Remedy::PostgreSql),
    ("┌─[ record", "psql's expanded output (-x)", Remedy::PostgreSql),
    ("+-[ record", "psql's expanded output (-x)", Remedy::PostgreSql),
    ("****", "the vertical output of mysql (-E, \\G)", Remedy::MySql),
    ("<?mso-application", "an Excel workbook in XML", SAVE_AS_CSV),
    ("<!doctype html", "HTML", Remedy::AnyDatabase),
    ("<html", "HTML", Remedy::AnyDatabase),
    ("<table border=1>", "the HTML output of mysql (-H)", Remedy::MySql),
    ("<table border=\"", "the HTML output of psql (-H)", Remedy::PostgreSql),
    ("<tr", "the HTML output of sqlite3", Remedy::Sqlite),
    ("<", "XML", Remedy::AnyDatabase),
    ("\\begin{", "the LaTeX output of psql", Remedy::PostgreSql),
    (".lp", "the troff output of psql", Remedy::PostgreSql),
    (".ts", "the troff output of psql", Remedy::PostgreSql),
    ("[options=", "the AsciiDoc output of psql", Remedy::PostgreSql),
];

/// Words that say more about a text that starts as XML or SQL does.
const MARKS: &[(&str, &str, Remedy)] = &[
    ("class=\"dataframe\"", "HTML by pandas", PANDAS),
    ("<pma_xml_export", "XML by phpMyAdmin", PHP_MY_ADMIN),
    ("<mysqldump", "XML by mysqldump", Remedy::MySql),
    ("<resultset", "the XML output of mysql (-X)", Remedy::MySql),
    ("urn:schemas-microsoft-com:office", "an Excel workbook in XML", SAVE_AS_CSV),
    ("postgresql database", "SQL by pg_dump", Remedy::PostgreSql),
    ("phpmyadmin sql dump", "SQL by phpMyAdmin", PHP_MY_ADMIN),
    ("mariadb dump", "SQL by mysqldump", Remedy::MySql),
    ("mysql dump", "SQL by mysqldump", Remedy::MySql),
    ("-- h2 ", "SQL by H2's SCRIPT", Remedy::H2),
    ("create cached table", "SQL by H2's SCRIPT", Remedy::H2),
    ("create user if not exists", "SQL by H2's SCRIPT", Remedy::H2),
    ("pragma foreign_keys", "SQL by sqlite3's .dump", Remedy::Sqlite),
    ("insert into \"table\"", "SQL by sqlite3's .mode insert", Remedy::Sqlite),
    ("from stdin;", "SQL for PostgreSQL", Remedy::PostgreSql),
    ("pg_catalog", "SQL for PostgreSQL", Remedy::PostgreSql),
    ("insert into `", "SQL for MySQL", Remedy::MySql),
    ("/*m!", "SQL by mysqldump", Remedy::MySql),
    ("/*!40", "SQL by mysqldump", Remedy::MySql),
    ("set define off", "SQL for Oracle", SQLCL),
];

/// The first words of SQL statements that dumps contain.
const STATEMENTS: &[&str] = &[
    "--",
    "/*",
    "\\restrict",
    "insert into ",
    "insert all",
    "replace into ",
    "merge into ",
    "create ",
    "drop ",
    "set ",
    "begin;",
    "begin\n",
    "begin transaction",
    "start transaction",
    "pragma ",
    "copy ",
    "alter ",
    "lock tables",
    "use ",
    "select ",
    "rem ",
    "delete from ",
    "truncate ",
    "go\n",
];

/// Refuses a file that is no text.
pub(super) fn check_bytes(bytes: &[u8]) -> Result<(), String> {
    let is_wide = bytes.starts_with(&[0xFE, 0xFF])
        || bytes.starts_with(&[0xFF, 0xFE])
        || (bytes.iter().take(4).any(|byte| *byte == 0) && !bytes.starts_with(b"PGCOPY"));
    let has = |part: &[u8]| bytes.windows(part.len()).take(1 << 16).any(|window| window == part);
    let found = if bytes.starts_with(b"PK\x03\x04") {
        let (what, remedy) = if has(b"xl/") || has(b"[Content_Types].xml") {
            ("an Excel workbook (xlsx)", SAVE_AS_CSV)
        } else if has(b"opendocument") {
            ("an OpenDocument file", SAVE_AS_CSV)
        } else {
            ("a zip archive", UNPACK)
        };
        Some(NoTable { what, remedy })
    } else if bytes.get(257..262) == Some(b"ustar") {
        let (what, remedy) = if bytes.starts_with(b"toc.dat") {
            ("an archive by pg_dump", Remedy::PostgreSql)
        } else {
            ("a tar archive", UNPACK)
        };
        Some(NoTable { what, remedy })
    } else if let Some((_, what, remedy)) = SIGNATURES.iter().find(|(start, ..)| bytes.starts_with(start)) {
        Some(NoTable { what, remedy: *remedy })
    } else if is_wide {
        let remedy = Remedy::Advice("Convert it with: iconv -f UTF-16 -t UTF-8");
        Some(NoTable { what: "UTF-16 or UTF-32", remedy })
    } else {
        None
    };
    found.map_or(Ok(()), |found| Err(found.message("")))
}

/// Refuses a text that is no table.
pub(super) fn check_text(text: &str) -> Result<(), String> {
    if let Some(found) = find(text) {
        return Err(found.message(text));
    }
    let first = text.lines().position(|line| !line.trim().is_empty());
    match late_heading(text) {
        Some(line) if Some(line) != first => Err(format!(
            "the heading is line {}, below lines that are no part of the table\nDelete those lines: sed -i 1,{line}d FILE",
            line + 1
        )),
        _ => Ok(()),
    }
}

fn find(text: &str) -> Option<NoTable> {
    let start = beginning(text).trim_start().to_lowercase();
    let is_sql = STATEMENTS.iter().any(|word| start.starts_with(word));
    let has_marks = is_sql || start.starts_with('<');
    let mark = MARKS.iter().find(|(mark, ..)| has_marks && start.contains(mark));
    let named = mark.or_else(|| STARTS.iter().find(|(word, ..)| start.starts_with(word)));
    if let Some((_, what, remedy)) = named {
        return Some(NoTable { what, remedy: *remedy });
    }
    if is_sql {
        return Some(NoTable { what: "SQL statements", remedy: Remedy::AnyDatabase });
    }
    let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let (first, second) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    if is_ruler(first) || is_ruler(second) || first.starts_with('│') {
        let is_psql = second.contains("-+-") && !first.starts_with('+');
        let remedy = if is_psql { Remedy::PostgreSql } else { Remedy::AnyDatabase };
        return Some(NoTable { what: "a table drawn for people, with lines and padding", remedy });
    }
    if is_padded(first, second) {
        return Some(NoTable { what: "a table drawn for people, with padding", remedy: Remedy::AnyDatabase });
    }
    if text.lines().take(5).filter(|line| is_name_and_value(line)).count() >= 2 {
        return Some(NoTable { what: "a list with one value a line", remedy: Remedy::AnyDatabase });
    }
    if first.contains('\u{1f}') || first.starts_with('\'') || first.contains("\" \"") {
        return Some(NoTable {
            what: "an output mode of sqlite3 for other programs",
            remedy: Remedy::Sqlite,
        });
    }
    let is_json = |line: &str| line.trim_start().starts_with(['{', '[']) && json::is_json_or_escaped(line);
    if is_json(second) && !first.trim_start().starts_with(['{', '[']) {
        let remedy = Remedy::Advice("Leave the heading out: mysql --raw -N -B -e …, or psql -At -c …");
        return Some(NoTable { what: "JSON below a heading", remedy });
    }
    if first.starts_with("\"{\"\"") || first.starts_with("\"[{\"\"") {
        let remedy = Remedy::Advice("Export the JSON alone: psql -At -c …, or mysql --raw -N -B -e …");
        return Some(NoTable { what: "JSON inside a CSV", remedy });
    }
    None
}

/// Returns true for a line that separates a heading from its rows.
fn is_ruler(line: &str) -> bool {
    let is_drawn =
        |c: char| matches!(c, '-' | '+' | '|' | '=' | ':' | ' ' | '\t' | ',' | '\u{2500}'..='\u{257f}');
    let dashes =
        line.chars().filter(|c| matches!(c, '-' | '=' | '\u{2500}' | '\u{2501}' | '\u{2550}')).count();
    dashes >= 3 && line.chars().all(is_drawn) && !line.starts_with("-,")
}

/// Returns true for the name of a column of Spring's tables.
fn is_known(name: &str) -> bool {
    KNOWN.contains(&name.to_ascii_lowercase().as_str())
}

/// Returns true if the values are padded to columns, as H2's shell and pandas write them.
fn is_padded(first: &str, second: &str) -> bool {
    if !first.contains([',', ';', '\t', '|'])
        && first.split_whitespace().filter(|name| is_known(name)).count() >= 2
    {
        return true;
    }
    let bars = |line: &str| line.match_indices(" | ").map(|(at, _)| at).collect::<Vec<_>>();
    !bars(first).is_empty() && bars(first).first() == bars(second).first()
}

/// Returns true for `client_id | x`, `client_id = x` and `client_id: x`.
fn is_name_and_value(line: &str) -> bool {
    let name = line.trim_start().split(['|', '=', ':', ',', '\t', ' ']).next().unwrap_or_default();
    let rest = line.trim_start()[name.len()..].trim_start();
    let value = rest.trim_start_matches(['|', '=', ':', ',']).trim();
    let is_one_value =
        !value.split(['|', '\t', ',', ';']).any(|part| is_known(part.trim().trim_matches('"')));
    is_known(name) && rest.len() > value.len() && is_one_value && !value.is_empty()
}

/// The problem of a table whose first line is no heading.
pub(super) fn no_heading(text: &str, keys: &str) -> String {
    let what = "the first line is no heading: it names none of the columns of Spring's tables";
    format!("{what}, not even {keys}\n{}", Remedy::AnyDatabase.text(text))
}

/// Names JSON in which the rows are not objects of a list.
pub(super) fn foreign_json(first: &str) -> Option<String> {
    let start = beginning(first).split_whitespace().collect::<String>().to_lowercase();
    let found = if start.contains("phpmyadmin") && start.contains("\"type\":\"header\"") {
        NoTable { what: "JSON by phpMyAdmin", remedy: PHP_MY_ADMIN }
    } else if start.starts_with("{\"results\":[{") || start.starts_with("{\"columns\":[{\"name\"") {
        NoTable { what: "JSON by SQLcl", remedy: SQLCL }
    } else if start.starts_with("{\"schema\":{")
        || start.starts_with("{\"columns\":[")
        || is_object_of_objects(&start)
    {
        NoTable { what: "JSON by pandas, with another orient than records", remedy: PANDAS }
    } else if start.starts_with('[') {
        NoTable { what: "a list of lists: its values have no names", remedy: Remedy::AnyDatabase }
    } else {
        return None;
    };
    Some(found.message(first))
}

/// Returns true for `{"0":{…` and `{"client_id":{"0":…`.
fn is_object_of_objects(start: &str) -> bool {
    let is_number = |text: &str| text.split('"').next().is_some_and(|key| key.parse::<u64>().is_ok());
    let first = start.strip_prefix("{\"").unwrap_or_default();
    let second = first.split_once("\":{\"").map_or("", |(_, second)| second);
    (is_number(first) && first.contains("\":{")) || is_number(second)
}

/// Refuses a first object that is no row.
pub(super) fn check_object(object: &str) -> Result<(), String> {
    if let Some(name) = json::list_name(object) {
        return Err(format!(
            "its rows are a list in the member {name} of an object\nTake the list out: jq '.[\"{name}\"]' FILE"
        ));
    }
    if let Some(problem) = control_character(object) {
        return Err(problem.into());
    }
    Ok(())
}

/// The problem of JSON that contains MySQL's `bit(1)` as the byte that it is.
fn control_character(text: &str) -> Option<&'static str> {
    let is_control = |c: char| c.is_ascii_control() && !c.is_ascii_whitespace();
    text.contains(is_control).then_some(
        "not JSON: it contains a control character, as json_object of MariaDB writes bit(1)\nMake the column a number in the \
         query, as in: 'enabled', enabled + 0",
    )
}

/// Finds a heading that stands below other lines, such as warnings and titles.
fn late_heading(text: &str) -> Option<usize> {
    let is_heading = |line: &str| {
        let names =
            line.split([',', ';', '\t', '|']).map(|name| canonical_name(name.trim().trim_matches('"')));
        names.filter(|name| KNOWN.contains(&name.as_str())).count() >= 2
    };
    text.lines().take(8).position(is_heading)
}

/// The problem of a file that is no JSON as a whole.
pub(super) fn broken_json(text: &str, error: &serde_json::Error) -> String {
    if text.lines().any(json::is_escaped_twice) {
        return escaped_json(text);
    }
    if let Some(problem) = control_character(text) {
        return problem.into();
    }
    let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
    if line.trim_end().ends_with('+') {
        let remedy = Remedy::Advice("Add -A: psql -At -c …");
        return NoTable { what: "JSON in psql's aligned output", remedy }.message(text);
    }
    let cut = if error.is_eof() { "; the file may be cut off" } else { "" };
    format!(
        "not JSON: {error}{cut}\nExport the table again, as a list of objects, one object a line, or CSV with a heading.",
    )
}

/// The problem of JSON whose backslashes a tool has escaped once more.
pub(super) fn escaped_json(text: &str) -> String {
    let remedy = Remedy::Advice(
        "Repeat the export with: mysql --raw -N -B -e …, or psql -At -c … instead of COPY. docs/migrate-from-spring.md has \
         the whole commands.",
    );
    let what = "JSON whose backslashes are escaped once more, as mysql -B without --raw and COPY do it";
    NoTable { what, remedy }.message(text)
}

impl NoTable {
    fn message(&self, text: &str) -> String {
        format!("{}, which cannot be imported\n{}", self.what, self.remedy.text(text))
    }
}

impl Remedy {
    fn text(self, text: &str) -> String {
        let table = table_name(text);
        let psql = format!("psql -c \"\\copy {table} TO {table}.csv CSV HEADER\"");
        let mysql = format!("mysql -B -e \"SELECT * FROM {table}\" DATABASE > {table}.tsv");
        let sqlite = format!("sqlite3 -header -csv DATABASE \"SELECT * FROM {table}\" > {table}.csv");
        let h2 = format!("CALL CSVWRITE('{table}.csv', 'SELECT * FROM {table}')");
        match self {
            Self::PostgreSql => format!("Export the table: {psql}"),
            Self::MySql => format!("Export the table: {mysql}"),
            Self::Sqlite => format!("Export the table: {sqlite}"),
            Self::H2 => format!("Export the table: {h2}"),
            Self::AnyDatabase => {
                format!(
                    "Export the table with a heading:\n  PostgreSQL: {psql}\n  MySQL: {mysql}\n  SQLite: {sqlite}\n  H2: {h2}"
                )
            }
            Self::UnpackWith(program) => format!("Unpack it with {program}, and import the table inside."),
            Self::Advice(advice) => advice.to_owned(),
        }
    }
}

/// The table that a text is about, if it names one of Spring's.
fn table_name(text: &str) -> &'static str {
    let start = beginning(text).to_lowercase();
    let known = ["oauth2_registered_client", "oauth_client_details"];
    known.into_iter().find(|name| start.contains(name)).unwrap_or("TABLE")
}

/// The first 64 KiB or so.
fn beginning(text: &str) -> &str {
    let mut end = text.len().min(1 << 16);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
