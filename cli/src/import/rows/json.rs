//! JSON: a list of objects, or one object a line.

use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead, Error, ErrorKind, Read};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::{BrokenRow, Bytes, MAX_ROW_BYTES, Row, RowResult, broken_off, text};

/// The most lines that an object may have.
const MAX_ROW_LINES: u64 = 1000;

/// Cuts JSON into its objects by counting braces, because one document may contain a million of them.
pub(super) struct JsonRows {
    bytes: Bytes,
    /// Bytes of a broken object, to be read again.
    again: VecDeque<u8>,
    line: u64,
    /// The number of bytes read from this line.
    column: usize,
    /// The indentation of a broken object; text with a larger indentation is a part of it.
    broken_at: Option<usize>,
    /// The number of open lists around the objects.
    open: u32,
    /// True if nothing more is read from the file.
    ended: bool,
    /// The reason, unless it is the end of the file.
    failure: Option<Error>,
}

impl JsonRows {
    pub(super) fn new(mut bytes: Bytes) -> Self {
        // A table's export may be one object of one member: `{"oauth_client_details": [`.
        let wrapped = wrapper_length(bytes.buffer()).unwrap_or(0);
        let lines = bytes.buffer()[..wrapped].split(|byte| *byte == b'\n').count();
        bytes.consume(wrapped);
        Self {
            bytes,
            again: VecDeque::new(),
            line: u64::try_from(lines).unwrap_or(1),
            column: 0,
            broken_at: None,
            open: u32::from(wrapped > 0),
            ended: false,
            failure: None,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = self.again.pop_front().or_else(|| self.read_byte())?;
        self.line += u64::from(byte == b'\n');
        self.column = if byte == b'\n' { 0 } else { self.column + 1 };
        Some(byte)
    }

    fn read_byte(&mut self) -> Option<u8> {
        if self.ended {
            return None;
        }
        let mut byte = [0];
        match self.bytes.read_exact(&mut byte) {
            Ok(()) => Some(byte[0]),
            Err(error) => {
                self.ended = true;
                self.failure = Some(error).filter(|error| error.kind() != ErrorKind::UnexpectedEof);
                None
            }
        }
    }

    /// Returns the next object: the line where it starts, and its bytes.
    fn object(&mut self) -> Option<Result<(u64, Vec<u8>), BrokenRow>> {
        loop {
            let byte = self.byte();
            if let (Some(broken_at), Some(byte)) = (self.broken_at, byte)
                && !byte.is_ascii_whitespace()
            {
                if self.column - 1 > broken_at || !matches!(byte, b'{' | b'}' | b']' | b',') {
                    self.skip_line();
                    continue;
                }
                self.broken_at = None;
            }
            match byte {
                Some(b'{') => break,
                Some(b'[') => self.open += 1,
                Some(b']') => self.open = self.open.saturating_sub(1),
                Some(byte) if byte.is_ascii_whitespace() || matches!(byte, b',' | b'}') => {}
                Some(_) => {
                    let broken = BrokenRow { line: self.line, problem: "expected an object".into() };
                    self.skip_line();
                    return Some(Err(broken));
                }
                None => {
                    let is_open = std::mem::take(&mut self.open) > 0;
                    let problem = match self.failure.take() {
                        Some(error) => broken_off(&error),
                        None if is_open => "the list is not closed; the file may be cut off".into(),
                        None => return None,
                    };
                    return Some(Err(BrokenRow { line: self.line, problem }));
                }
            }
        }
        let (line, column) = (self.line, self.column - 1);
        let (mut object, mut depth, mut in_string, mut escaped) = (vec![b'{'], 1, false, false);
        while depth > 0 {
            let Some(byte) = self.byte() else {
                self.open = 0;
                let problem = "the object is not closed; the file may be cut off";
                return Some(Err(self.look_again(line, column, &object, problem)));
            };
            object.push(byte);
            let problem = match byte {
                b'\n' if in_string => "a text does not end in its line",
                b'\n' if self.line - line >= MAX_ROW_LINES => "the object is not closed within 1000 lines",
                _ if object.len() > MAX_ROW_BYTES => "the object is longer than 1 MiB",
                _ => "",
            };
            if !problem.is_empty() {
                return Some(Err(self.look_again(line, column, &object, problem)));
            }
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = in_string,
                b'"' => in_string = !in_string,
                b'{' if !in_string => depth += 1,
                b'}' if !in_string => depth -= 1,
                _ => {}
            }
        }
        Some(Ok((line, object)))
    }

    /// Goes back to the second line of a broken object, to search for the next object from there.
    fn look_again(&mut self, line: u64, column: usize, object: &[u8], problem: &str) -> BrokenRow {
        match object.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                let rest = &object[end + 1..];
                rest.iter().rev().for_each(|byte| self.again.push_front(*byte));
                (self.line, self.column) = (line + 1, 0);
            }
            None => self.skip_line(),
        }
        self.broken_at = Some(column);
        BrokenRow { line, problem: problem.to_owned() }
    }

    fn skip_line(&mut self) {
        while self.byte().is_some_and(|byte| byte != b'\n') {}
    }
}

/// The length of `{"…": [` at the start, if objects follow it.
fn wrapper_length(start: &[u8]) -> Option<usize> {
    let start = std::str::from_utf8(start).ok()?;
    let name = start.trim_start().strip_prefix('{')?.trim_start().strip_prefix('"')?;
    let (_, rest) = name.split_once('"')?;
    let list = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('[')?;
    list.trim_start().starts_with(['{', ']']).then(|| start.len() - list.len())
}

/// The members of an object with repeated names; `serde_json`'s map keeps only the last of each name.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Members, M::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

/// Returns the members by their names in lower case, without those that are null. A repeated name is an error.
fn columns(object: &[u8]) -> Result<Map<String, Value>, String> {
    let Members(members) = serde_json::from_str(text(object)?).map_err(|error| {
        // The position within the row is of no use: remove it.
        let position = format!(" at line {} column {}", error.line(), error.column());
        let text = error.to_string();
        format!("not JSON: {}", text.strip_suffix(&position).unwrap_or(&text))
    })?;
    let mut columns = Map::new();
    for (name, value) in members {
        let name = name.to_ascii_lowercase();
        if columns.contains_key(&name) {
            return Err(format!("the member {name} occurs twice"));
        }
        columns.insert(name, value);
    }
    columns.retain(|_, value| !value.is_null());
    Ok(columns)
}

impl Iterator for JsonRows {
    type Item = RowResult;

    fn next(&mut self) -> Option<RowResult> {
        let (line, object) = match self.object()? {
            Ok(found) => found,
            Err(broken) => return Some(Err(broken)),
        };
        Some(match columns(&object) {
            Ok(columns) => Ok(Row { line, columns, may_be_cut: false }),
            Err(problem) => Err(BrokenRow { line, problem }),
        })
    }
}
