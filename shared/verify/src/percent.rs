//! Percent-encoding (RFC 3986 section 2.1), decoded strictly.

/// One decoded byte. The origin lets a caller treat an encoded delimiter differently from a raw
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Byte {
    /// The byte.
    pub value: u8,
    /// True if the byte was written as `%XX`.
    pub is_encoded: bool,
}

/// The text has a `%` that two hexadecimal digits do not follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the percent-encoding is broken")]
pub struct BrokenEncoding;

/// Decodes the text byte by byte. `+` stays `+`: only forms use it for a space.
pub fn decode(text: &[u8]) -> impl Iterator<Item = Result<Byte, BrokenEncoding>> {
    let mut rest = text.iter().copied();
    std::iter::from_fn(move || {
        let first = rest.next()?;
        let is_encoded = first == b'%';
        let value = if is_encoded { hex_pair(rest.next(), rest.next()) } else { Some(first) };
        Some(value.map(|value| Byte { value, is_encoded }).ok_or(BrokenEncoding))
    })
}

/// Decodes a name or a value of a form (`application/x-www-form-urlencoded`): `+` is a space.
pub fn decode_form(text: &[u8]) -> Result<Vec<u8>, BrokenEncoding> {
    let space_or = |byte: Byte| if byte.value == b'+' && !byte.is_encoded { b' ' } else { byte.value };
    decode(text).map(|byte| byte.map(space_or)).collect()
}

fn hex_pair(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high?)? * 16 + digit(low?)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_bytes_are_told_apart_from_raw_ones() {
        let decoded: Result<Vec<Byte>, BrokenEncoding> = decode(b"a+%2f%2F/").collect();
        let expected = [(b'a', false), (b'+', false), (b'/', true), (b'/', true), (b'/', false)];
        assert_eq!(decoded, Ok(expected.map(|(value, is_encoded)| Byte { value, is_encoded }).to_vec()));
    }

    #[test]
    fn a_raw_plus_of_a_form_is_a_space() {
        assert_eq!(decode_form(b"a+b%2B%20c"), Ok(b"a b+ c".to_vec()));
        assert_eq!(decode_form(b"%2"), Err(BrokenEncoding));
    }

    #[test]
    fn broken_encoding_is_an_error() {
        for text in ["%", "a%7", "%zz", "%+1", "%u0073", "%%41"] {
            let decoded: Result<Vec<Byte>, BrokenEncoding> = decode(text.as_bytes()).collect();
            assert_eq!(decoded, Err(BrokenEncoding), "{text}");
        }
    }
}
