//! Reads a file whole, recognises what it is, and yields its rows. A file that is no table is
//! refused once, before anything is written; a row that cannot be read hides no other row.

mod dialect;
mod json;
mod no_table;
mod separated;

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use self::dialect::Dialect;
use super::columns::{KNOWN, canonical_name};
use super::values::{is_null, is_word};
use crate::outcome::{ExitError, Outcome};

/// The columns that name a record.
const NAMES: [&str; 2] = ["client_id", "username"];

/// The largest file. A million clients have a third of it.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// A row: its columns by their canonical names, without those that are null.
#[derive(Debug)]
pub(crate) struct Row {
    /// The line where it starts, counted from 1.
    pub(crate) line: u64,
    pub(crate) columns: Map<String, Value>,
    /// The columns that are null.
    pub(crate) nulls: Vec<String>,
    is_json: bool,
    /// True for the last row of a table without a line end: its last value may be cut off.
    pub(crate) may_be_cut: bool,
}

impl Row {
    fn new(line: u64, mut columns: Map<String, Value>) -> Self {
        let nulls =
            columns.iter().filter(|(_, value)| value.is_null()).map(|(name, _)| name.clone()).collect();
        columns.retain(|_, value| !value.is_null());
        Self { line, columns, nulls, is_json: false, may_be_cut: false }
    }

    /// Removes the texts that are spellings of NULL. An export of Countersign keeps them, because
    /// there they are values. JSON has a null, so a name there may be `nan` or `nil`.
    pub(crate) fn drop_nulls(&mut self) {
        let (is_json, nulls) = (self.is_json, &mut self.nulls);
        self.columns.retain(|column, value| {
            let is_name = |text: &str| is_json && NAMES.contains(&column.as_str()) && is_word(text);
            let is_null = value.as_str().is_some_and(|text| is_null(text) && !is_name(text));
            if is_null {
                nulls.push(column.clone());
            }
            !is_null
        });
    }
}

/// A row that cannot be read.
#[derive(Debug)]
pub(crate) struct BrokenRow {
    pub(crate) line: u64,
    pub(crate) problem: String,
}

type RowResult = Result<Row, BrokenRow>;

/// A file that was read and recognised as a table.
#[derive(Debug)]
pub(crate) struct TableFile {
    path: PathBuf,
    text: String,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Separated(Dialect),
    /// The place of each object, with its line.
    Json(Vec<(u64, Range<usize>)>),
}

impl TableFile {
    /// Reads a table: values separated by a character below a heading, a JSON array of objects, or
    /// JSON objects one after another. `keys` are the columns of which a table has one.
    pub(crate) fn open(path: &Path, keys: &[&str]) -> Outcome<Self> {
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        file.take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Self::recognise(path, bytes, keys).map_err(|problem| {
            ExitError::new(4, format!("{}: {problem}\nNothing was imported.", path.display())).into()
        })
    }

    fn recognise(path: &Path, bytes: Vec<u8>, keys: &[&str]) -> Result<Self, String> {
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err("larger than 1 GiB; export it in parts".into());
        }
        no_table::check_bytes(&bytes)?;
        let mut text = text(bytes)?;
        // A table starts behind the mark, so that columns and lines are counted without it.
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        // Old programs for the Mac end lines with CR alone.
        if !text.contains('\n') {
            text = text.replace('\r', "\n");
        }
        let is_json = text.trim_start().starts_with(['[', '{']);
        // A name in JSON may look like a part of such a text.
        if !is_json || text.trim_start().starts_with("[options=") {
            no_table::check_text(&text)?;
        }
        let form = match text.trim_start().bytes().next() {
            None => return Err("the file is empty".into()),
            Some(b'[' | b'{') => Form::Json(json::places(&text)?),
            Some(_) => Form::Separated(dialect::recognise(&text)?),
        };
        let file = Self { path: path.to_owned(), text, form };
        file.check_keys(keys)?;
        Ok(file)
    }

    /// Returns true if the table has one of the columns; in JSON, if an object has it.
    pub(crate) fn has_column(&self, columns: &[&str]) -> bool {
        let is_one = |name: &String| columns.contains(&name.as_str());
        match &self.form {
            Form::Separated(dialect) => dialect.heading.iter().any(is_one),
            Form::Json(places) => {
                places.iter().any(|(_, place)| json::names(&self.text[place.clone()]).iter().any(is_one))
            }
        }
    }

    /// Refuses a table that has none of the columns that identify a record.
    fn check_keys(&self, keys: &[&str]) -> Result<(), String> {
        let is_json = matches!(self.form, Form::Json(_));
        if self.has_column(keys) || (is_json && self.len() == 0) {
            return Ok(());
        }
        if let Form::Json(places) = &self.form {
            let first = places.first().map(|(_, place)| &self.text[place.clone()]).unwrap_or_default();
            no_table::check_object(first)?;
        }
        let all = keys.join(" or ");
        if is_json || self.has_column(KNOWN) {
            let first = keys.first().copied().unwrap_or_default();
            return Err(format!(
                "it has no column {all}; give it that name in the query: SELECT … AS {first}"
            ));
        }
        // Without a heading its names are values, and one may be a secret: show none.
        Err(no_table::no_heading(&self.text, &all))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The number of rows, broken ones included.
    pub(crate) fn len(&self) -> usize {
        match &self.form {
            Form::Separated(dialect) => dialect.rows,
            Form::Json(places) => places.len(),
        }
    }

    pub(crate) fn rows(&self) -> Box<dyn Iterator<Item = RowResult> + Send + '_> {
        match &self.form {
            Form::Separated(dialect) => Box::new(separated::rows(&self.text, dialect)),
            Form::Json(places) => Box::new(places.iter().map(|(line, place)| {
                json::columns(&self.text[place.clone()])
                    .map(|columns| Row { is_json: true, ..Row::new(*line, columns) })
                    .map_err(|problem| BrokenRow { line: *line, problem })
            })),
        }
    }
}

/// Returns the bytes as text, or the line that is none.
fn text(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| {
        let valid_up_to = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        if bytes.contains(&0) {
            return "it is no text\nExport the table as a CSV with a heading.".to_owned();
        }
        let byte = bytes.get(valid_up_to).copied().unwrap_or_default();
        let line = bytes[..valid_up_to].split(|byte| *byte == b'\n').count();
        format!(
            "line {line}: byte 0x{byte:02X} is not UTF-8\nIf the file is Latin-1 (Windows-1252), convert it with: \
             iconv -f WINDOWS-1252 -t UTF-8"
        )
    })
}

/// Makes the canonical names of a row unique. The error never repeats an unknown name.
fn unique_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<Vec<String>, (usize, usize)> {
    let mut unique: Vec<String> = Vec::new();
    for (at, name) in names.enumerate() {
        let name = match canonical_name(name) {
            name if name.is_empty() => format!("column {}", at + 1),
            name => name,
        };
        if let Some(first) = unique.iter().position(|known| *known == name) {
            return Err((first, at));
        }
        unique.push(name);
    }
    Ok(unique)
}

#[cfg(test)]
mod tests;
