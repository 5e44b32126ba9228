//! JSON: a list of objects, or one object a line.

use std::io::BufRead;

use serde_json::{Map, Value};

use super::{BrokenRow, Bytes, MAX_ROW_BYTES, Row, RowResult, text};

/// JSON is cut into its objects by counting braces, since one document may hold a million of them.
pub(super) struct JsonRows {
    bytes: Bytes,
    line: u64,
    /// Lists that were opened around the objects and not closed yet.
    open: u32,
    ended: bool,
}

impl JsonRows {
    pub(super) fn new(mut bytes: Bytes) -> Self {
        // A table's export may be one object of one member: `{"oauth_client_details": [`.
        let wrapped = bytes.fill_buf().ok().and_then(wrapper_length).unwrap_or(0);
        let lines = bytes.buffer()[..wrapped].split(|byte| *byte == b'\n').count();
        bytes.consume(wrapped);
        let line = u64::try_from(lines).unwrap_or(1);
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
