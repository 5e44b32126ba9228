//! Booleans as databases and their tools write them.

use serde_json::Value;

/// Parses a boolean. MySQL's `bit(1)` is one byte, which each tool shows in another way.
pub(in crate::import) fn parse_bool(value: &Value) -> Option<bool> {
    let text = match value {
        Value::Bool(truth) => return Some(*truth),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim_matches(' ').to_ascii_lowercase(),
        _ => return None,
    };
    match text.as_str() {
        "true" | "t" | "1" | "1.0" | "yes" | "y" | "on" | "\u{1}" | "b'1'" | "b'\\x01'" | "0x01"
        | "\\x01" | "base64:type16:aq==" => Some(true),
        "false" | "f" | "0" | "0.0" | "no" | "n" | "off" | "\0" | "b'0'" | "b'\\x00'" | "0x00" | "\\x00"
        | "\\0" | "base64:type16:aa==" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn booleans_are_parsed_as_databases_dump_them() {
        for (value, truth) in [
            (json!(true), Some(true)),
            (json!(0), Some(false)),
            (json!(1.0), Some(true)),
            (json!("T"), Some(true)),
            (json!("\u{1}"), Some(true)),
            (json!("\0"), Some(false)),
            (json!("b'0'"), Some(false)),
            (json!("base64:type16:AQ=="), Some(true)),
            (json!("maybe"), None),
            (json!([]), None),
        ] {
            assert_eq!(parse_bool(&value), truth, "{value}");
        }
    }
}
