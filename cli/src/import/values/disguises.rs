//! Secrets and passwords that a tool has wrapped, encoded or masked, so that they look like plain
//! text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_issuer::credentials::SpringValue;

const WRAPPED: &str = "a hash in quotation marks, escapes or a prefix; export the value as it is";
const ENCODED: &str = "in hexadecimal or base64, so its column is binary; export it as text, in PostgreSQL with \
                       convert_from(…, 'UTF8'), in MySQL with CONVERT(… USING utf8mb4)";
const MASKED: &str = "a mask or a placeholder; export the value itself";

/// Words that tools write for a value that they do not show.
const PLACEHOLDERS: [&str; 10] =
    ["blob", "clob", "nclob", "binary", "bytea", "hidden", "masked", "protected", "redacted", "long binary"];

/// Names what a text is that would pass for a secret in plain text, with the remedy.
pub(in crate::import) fn disguise(text: &str) -> Option<&'static str> {
    if contains_hash(&text.replace('\\', "")) {
        return Some(WRAPPED);
    }
    if is_encoded(text) {
        return Some(ENCODED);
    }
    (is_mask(text) || is_handle(text)).then_some(MASKED)
}

fn contains_hash(text: &str) -> bool {
    let has_scheme = ["$2a$", "$2b$", "$2x$", "$2y$", "$argon2"].iter().any(|scheme| text.contains(scheme));
    has_scheme || text.match_indices('{').any(|(at, _)| SpringValue::is_marked(&text[at..]))
}

/// Returns true for the hexadecimal or base64 form of a hash, and for any value that a tool marks as
/// such: `0x…`, `\x…`, `X'…'`, `base64:…`.
fn is_encoded(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let hex = ["\\x", "\\\\x", "0x", "x'"].iter().find_map(|prefix| lower.strip_prefix(prefix));
    let digits = hex.unwrap_or(&lower).trim_end_matches('\'');
    let bytes = from_hex(digits);
    if lower.starts_with("base64:") || (hex.is_some() && bytes.is_some()) {
        return true;
    }
    let characters: String = text.split_whitespace().collect();
    let bytes = bytes.or_else(|| STANDARD.decode(characters).ok());
    bytes.is_some_and(|bytes| contains_hash(&String::from_utf8_lossy(&bytes)))
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let digits: Vec<u8> = digits.as_bytes().iter().map(digit).collect::<Option<_>>()?;
    let is_whole = !digits.is_empty() && digits.len().is_multiple_of(2);
    is_whole.then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Returns true for `****`, `ab***yz`, `<hidden>`, `[BLOB]` and the like.
fn is_mask(text: &str) -> bool {
    let mut chars = text.chars();
    let first = chars.next().filter(|first| !first.is_alphanumeric() || matches!(first, 'x' | 'X'));
    let is_repeated = first.is_some_and(|first| chars.all(|c| c == first));
    let brackets = [('<', '>'), ('[', ']'), ('(', ')')];
    let inner = brackets.into_iter().find_map(|(start, end)| text.strip_prefix(start)?.strip_suffix(end));
    let is_placeholder = PLACEHOLDERS.iter().any(|word| word.eq_ignore_ascii_case(text));
    is_repeated
        || inner.is_some()
        || is_placeholder
        || text.contains("***")
        || text.contains("\u{2022}\u{2022}")
}

/// Returns true for a Java object that was written instead of its content: `oracle.sql.CLOB@1f`,
/// `[B@6d06d69c`.
fn is_handle(text: &str) -> bool {
    let starts = ["[B", "[C", "oracle.", "org.", "java.", "com.", "net."];
    text.split_once('@').is_some_and(|(class, hash)| {
        starts.iter().any(|start| class.starts_with(start))
            && !hash.is_empty()
            && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disguised_hash_is_no_plain_text() {
        let hash = "{scrypt}$e0801$c2FsdA==$MhOTem5TYzo=";
        let hex: String = hash.bytes().map(|byte| format!("{byte:02X}")).collect();
        for text in [
            format!("\"{hash}\""),
            format!("b'{hash}'"),
            "\\{bcrypt\\}$2a$10$x".into(),
            "bcrypt:$2a$10$x".into(),
            "\\$2b\\$10\\$x".into(),
            "'{noop}secret'".into(),
            hex.clone(),
            format!("0x{hex}"),
            format!("\\x{}", hex.to_lowercase()),
            format!("X'{hex}'"),
            STANDARD.encode(hash),
            "base64:type15:c2VjcmV0".into(),
            "********".into(),
            "xxxxxxxx".into(),
            "ab****yz".into(),
            "<hidden>".into(),
            "[PROTECTED]".into(),
            "CLOB".into(),
            "oracle.sql.CLOB@1".into(),
            "[B@6d06d69c".into(),
        ] {
            assert!(disguise(&text).is_some(), "{text}");
        }
        for plain in
            ["s3cret", "pa$2word", "deadbeef", "c2VjcmV0", "com.example@home", "a{b}c", "äöü", "<a", ""]
        {
            assert_eq!(disguise(plain), None, "{plain}");
        }
    }
}
