//! The path of a request: rejection of unsafe paths, and the lenient interpretation of the others.

use std::borrow::Cow;

use crate::percent::{self, BrokenEncoding};

/// The maximum length of a path; a longer one is refused unread.
const MAX_PATH_BYTES: usize = 8 * 1024;

/// The reason why a path is refused before the rules are consulted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnsafePath {
    /// It does not start with `/`.
    #[error("it does not start with `/`")]
    NotAbsolute,
    /// It is longer than 8 KiB.
    #[error("it is longer than 8 KiB")]
    TooLong,
    /// `//`, which some servers treat as `/`.
    #[error("it has an empty segment (`//`)")]
    EmptySegment,
    /// `.` or `..`, raw or encoded.
    #[error("it has a dot segment (`.` or `..`, raw or encoded)")]
    DotSegment,
    /// `%2F`, which some servers treat as a separator.
    #[error("it has an encoded slash (`%2F`)")]
    EncodedSlash,
    /// A backslash, raw or encoded, which some servers treat as a separator.
    #[error("it has a backslash, raw or encoded")]
    Backslash,
    /// `;`, raw or encoded: some servers drop what follows it in a segment.
    #[error("it has a `;`, raw or encoded")]
    Semicolon,
    /// `?` or `#`, raw or encoded, where some servers end the path.
    #[error("it has a `?` or `#`, raw or encoded (the query is not part of the path)")]
    QueryOrFragment,
    /// A control or invisible character, raw or encoded: some servers drop it.
    #[error("it has a control or invisible character, raw or encoded")]
    ControlCharacter,
    /// `%25`: the path may be decoded twice.
    #[error("it has an encoded `%` (`%25`)")]
    EncodedPercent,
    /// `%` without two hexadecimal digits.
    #[error("its percent-encoding is broken")]
    BrokenEncoding,
    /// The encoded bytes are not UTF-8.
    #[error("its encoded bytes are not UTF-8")]
    NotUtf8,
    /// A character that a compatibility mapping turns into ASCII, e.g. U+FF0F into `/`.
    #[error("it has a character that some servers turn into an ASCII character")]
    LooksLikeAscii,
}

/// Returns the path as the most forgiving server may read it: decoded, case-folded and without one
/// slash at the end. Does not allocate if the path is plain lower-case ASCII.
pub(super) fn interpret_leniently(path: &str) -> Result<Cow<'_, str>, UnsafePath> {
    if path.len() > MAX_PATH_BYTES {
        return Err(UnsafePath::TooLong);
    }
    if !path.starts_with('/') {
        return Err(UnsafePath::NotAbsolute);
    }
    let decoded = decode(path)?;
    // Encoded slashes are refused already, so the path as sent has the same segments.
    let mut segments = decoded[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." | ".." => return Err(UnsafePath::DotSegment),
            "" if segments.peek().is_some() => return Err(UnsafePath::EmptySegment),
            _ => {}
        }
    }
    Ok(match decoded {
        Cow::Borrowed(plain) if !plain.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            Cow::Borrowed(without_final_slash(plain))
        }
        decoded => Cow::Owned(fold(without_final_slash(&decoded))),
    })
}

/// Percent-decodes a path or a part of one. Refuses the characters on which servers disagree.
pub(super) fn decode(path: &str) -> Result<Cow<'_, str>, UnsafePath> {
    if path.bytes().all(is_plain) {
        return Ok(Cow::Borrowed(path));
    }
    let mut decoded = Vec::with_capacity(path.len());
    for byte in percent::decode(path.as_bytes()) {
        let byte = byte.map_err(|BrokenEncoding| UnsafePath::BrokenEncoding)?;
        match byte.value {
            b'/' if byte.is_encoded => return Err(UnsafePath::EncodedSlash),
            b'%' => return Err(UnsafePath::EncodedPercent),
            b'\\' => return Err(UnsafePath::Backslash),
            b';' => return Err(UnsafePath::Semicolon),
            b'?' | b'#' => return Err(UnsafePath::QueryOrFragment),
            value => decoded.push(value),
        }
    }
    let decoded = String::from_utf8(decoded).map_err(|_| UnsafePath::NotUtf8)?;
    for character in decoded.chars() {
        if character.is_control() || is_invisible(character) {
            return Err(UnsafePath::ControlCharacter);
        }
        if looks_like_ascii(character) {
            return Err(UnsafePath::LooksLikeAscii);
        }
    }
    Ok(Cow::Owned(decoded))
}

/// Folds the case. Every character that some case mapping turns into an ASCII letter becomes that
/// letter.
pub(super) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            _ if character.is_ascii() => folded.push(character.to_ascii_lowercase()),
            // Unicode's full mapping adds a combining dot. The simple mapping, which Java's
            // `equalsIgnoreCase` uses, does not.
            'İ' => folded.push('i'),
            // First to upper case, then to lower case: `ſ` and `ı` are lower-case letters with
            // ASCII capitals.
            _ => folded.extend(character.to_uppercase().flat_map(char::to_lowercase)),
        }
    }
    folded
}

/// Returns the path without one slash at the end. `/` stays `/`.
pub(super) fn without_final_slash(path: &str) -> &str {
    match path.strip_suffix('/') {
        None | Some("") => path,
        Some(stripped) => stripped,
    }
}

/// Returns true if every server reads the byte as itself.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'%' | b'\\' | b';' | b'?' | b'#')
}

/// Returns true for the characters that case folding for identifiers drops: soft hyphen, zero-width
/// and directional marks, the byte order mark.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
}

/// Returns true for characters that normalisation or a best-fit code page turns into ASCII
/// punctuation: the Greek question mark, leaders and ellipsis, mathematical slashes and backslash,
/// `℀` and similar characters; and vertical, small and full-width forms.
fn looks_like_ascii(character: char) -> bool {
    matches!(
        character,
        '\u{37e}'
            | '\u{2024}'..='\u{2026}'
            | '\u{2044}'
            | '\u{2047}'..='\u{2049}'
            | '\u{2100}'
            | '\u{2101}'
            | '\u{2105}'
            | '\u{2106}'
            | '\u{2215}'
            | '\u{2216}'
            | '\u{fe10}'..='\u{fe19}'
            | '\u{fe30}'..='\u{fe6f}'
            | '\u{ff01}'..='\u{ff5e}'
    )
}
