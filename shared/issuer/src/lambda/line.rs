//! A line of the log: a JSON object, built member by member in one buffer.

use std::fmt;
use std::io;
use std::ops::Range;

use serde::Serialize;
use tracing::field::{Field, Visit};

/// Members of a JSON object. Of two with one name the later one counts.
#[derive(Default)]
pub(super) struct Members {
    /// Where in `values` the value of each stands.
    places: Vec<(&'static str, Range<usize>)>,
    /// JSON values, one after the other.
    values: Vec<u8>,
}

impl Members {
    /// With room for a line such as most are.
    pub(super) fn for_a_line() -> Self {
        Self { places: Vec::with_capacity(32), values: Vec::with_capacity(1024) }
    }

    pub(super) fn add(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) {
        self.write(name, |values| serde_json::to_writer(values, value).map_err(io::Error::from));
    }

    /// Adds a text that `write` writes, and that needs no escaping.
    pub(super) fn add_text(&mut self, name: &'static str, write: impl FnOnce(&mut Text<'_>) -> fmt::Result) {
        self.write(name, |values| {
            values.push(b'"');
            write(&mut Text(values)).map_err(io::Error::other)?;
            values.push(b'"');
            Ok(())
        });
    }

    pub(super) fn add_all(&mut self, others: &Self) {
        for (name, place) in &others.places {
            self.write(name, |values| {
                values.extend_from_slice(&others.values[place.clone()]);
                Ok(())
            });
        }
    }

    /// A member's value, as JSON.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, place) = self.places.iter().find(|(known, _)| *known == name)?;
        std::str::from_utf8(&self.values[place.clone()]).ok()
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.places.retain(|(known, _)| *known != name);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The whole object, and the end of the line.
    pub(super) fn into_line(self) -> Vec<u8> {
        let names: usize = self.places.iter().map(|(name, _)| name.len() + r#""":,"#.len()).sum();
        let mut line = Vec::with_capacity(self.values.len() + names + "{}\n".len());
        for (at, (name, place)) in self.places.into_iter().enumerate() {
            line.extend_from_slice(if at == 0 { b"{\"" } else { b",\"" });
            // Names are our own, and those of fields in the code of others: none needs escaping.
            line.extend_from_slice(name.as_bytes());
            line.extend_from_slice(b"\":");
            line.extend_from_slice(&self.values[place]);
        }
        line.extend_from_slice(b"}\n");
        line
    }

    fn write(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) {
        let start = self.values.len();
        if write(&mut self.values).is_err() {
            self.values.truncate(start);
            return;
        }
        let place = start..self.values.len();
        match self.places.iter_mut().find(|(known, _)| *known == name) {
            Some((_, earlier)) => *earlier = place,
            None => self.places.push((name, place)),
        }
    }
}

impl Visit for Members {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field.name(), &format_args!("{value:?}"));
    }
}

/// A buffer that takes formatted text.
pub(super) struct Text<'a>(&'a mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_whatever_its_values_hold_and_the_later_of_two_counts() {
        let mut earlier = Members::default();
        earlier.add("name", "earlier");
        earlier.add("odd", "\"\\\n\u{2028}ü");
        let mut line = Members::for_a_line();
        line.add_text("time", |text| fmt::Write::write_str(text, "12:00"));
        line.add("name", &0);
        line.add_all(&earlier);
        line.add("number", &1.5);
        line.add("gone", &true);
        line.remove("gone");
        assert_eq!(line.get("name"), Some("\"earlier\""));
        let line = String::from_utf8(line.into_line()).unwrap();
        assert!(line.ends_with("}\n") && line.matches('\n').count() == 1, "{line}");
        let expected =
            serde_json::json!({"time": "12:00", "name": "earlier", "odd": "\"\\\n\u{2028}ü", "number": 1.5});
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), expected);
    }
}
