//! Characters that control a terminal, or that change the order in which a line is shown.

use std::fmt::Write as _;

/// Replaces characters that control a terminal, line ends among them.
pub(crate) fn printable(text: &str) -> String {
    text.replace(is_control, "\u{fffd}")
}

/// Replaces characters that control a terminal, and keeps line ends.
pub(crate) fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// Escapes characters that control a terminal. In JSON they are always part of a string, except for
/// the line ends of pretty JSON; those in strings are escaped already (RFC 8259 section 7).
pub(crate) fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if is_control(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

fn is_control(c: char) -> bool {
    // Directional marks can make a line look like another one (Unicode Standard Annex 9, section
    // 2).
    let is_directional =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || is_directional || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn control_and_directional_characters_are_replaced_for_a_person() {
        assert_eq!(printable("a\u{1b}b\u{202e}c\u{2066}d é\n"), "a\u{fffd}b\u{fffd}c\u{fffd}d é\u{fffd}");
        assert_eq!(printable_lines("a\u{9b}\nb\u{2028}"), "a\u{fffd}\nb\u{fffd}");
    }

    #[test]
    fn json_keeps_its_value_and_has_no_control_character() {
        let value = json!({ "na\u{202e}me": "a\u{1b}b\u{7f}c\u{9b}d\u{2069}e\n\u{2028} é" });
        for text in [value.to_string(), format!("{value:#}")] {
            let escaped = escape_json(&text);
            assert!(escaped.chars().all(|c| c == '\n' || !is_control(c)), "{escaped}");
            assert_eq!(serde_json::from_str::<Value>(&escaped).unwrap(), value);
        }
    }
}
