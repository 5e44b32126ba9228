//! Text that a caller sent, made safe for a log.

/// The longest text in a log, in characters.
const MAX_CHARS: usize = 128;

/// Returns a method or a path for the log: without the query, where people put tokens, cut after
/// 128 characters, and with control, directional and other invisible characters escaped, so that it
/// cannot pass for another line or another text.
pub fn log_text(sent: &str) -> String {
    let end = sent.find(['?', '#']).unwrap_or(sent.len());
    escape_for_log(&sent[..end], MAX_CHARS)
}

/// Returns any text for the log, cut after `max_chars` and escaped as by [`log_text`].
pub fn escape_for_log(sent: &str, max_chars: usize) -> String {
    let mut characters = sent.chars();
    let mut text = String::new();
    for character in characters.by_ref().take(max_chars) {
        match character {
            '"' | '\'' => text.push(character),
            _ => text.extend(character.escape_debug()),
        }
    }
    if characters.next().is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_loses_its_query_its_end_and_its_invisible_characters() {
        for (sent, logged) in [
            ("/brands/acme's/é", "/brands/acme's/é"),
            ("/a?token=eyJ", "/a"),
            ("/a#token", "/a"),
            ("/a\nevent\u{1b}[2J\u{7f}", r"/a\nevent\u{1b}[2J\u{7f}"),
            ("/\u{202e}txt\u{2028}\u{200b}", r"/\u{202e}txt\u{2028}\u{200b}"),
            (r"/a\n", r"/a\\n"),
        ] {
            assert_eq!(log_text(sent), logged);
        }
        assert_eq!(log_text(&"é".repeat(128)), "é".repeat(128));
        assert_eq!(log_text(&"é".repeat(129)), format!("{}…", "é".repeat(128)));
    }
}
