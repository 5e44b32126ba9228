//! The values of foreign tables, in the spellings that databases and tools give them.

mod booleans;
mod disguises;
mod durations;
mod lists;
mod nulls;
mod times;

pub(super) use self::booleans::parse_bool;
pub(super) use self::disguises::disguise;
pub(super) use self::durations::{parse_seconds, parse_whole_seconds};
pub(super) use self::lists::list;
pub(super) use self::nulls::{is_null, is_word};
pub(super) use self::times::{NOT_A_TIME, Time, parse_time};

use serde_json::Value;

/// Removes the class that Jackson writes before a value, as in `["java.time.Duration", 300.0]`.
pub(super) fn without_class(value: &Value) -> &Value {
    match value {
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(class), inner] if is_class(class) => inner,
            _ => value,
        },
        _ => value,
    }
}

fn is_class(name: &str) -> bool {
    name.starts_with("java.") || name.starts_with("org.")
}

/// Parses a column that contains JSON: text in a CSV, and text or JSON in a JSON dump.
pub(super) fn parse_json(value: &Value) -> Value {
    match value {
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
            serde_json::from_str(text).unwrap_or_else(|_| value.clone())
        }
        _ => value.clone(),
    }
}

/// A number as text without an exponent: digits, with a sign and a fraction at most. Excel and
/// pandas write whole numbers with a fraction, and Excel rounds those with an exponent. `3.600` is no
/// number, because in much of the world its point separates thousands.
fn plain_number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let has_thousands =
        digits.split_once('.').is_some_and(|(whole, rest)| whole.len() <= 3 && rest.len() == 3);
    if is_number && !has_thousands { text.parse().ok() } else { None }
}
