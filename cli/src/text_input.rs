//! Text from a file or from standard input, as shells write it.

use std::io::Read;
use std::path::Path;

use crate::outcome::{Invalid, Outcome};
use crate::progress;

/// Reads standard input to its end.
pub(crate) fn read_stdin() -> Outcome<String> {
    let mut bytes = Vec::new();
    progress::suspend(|| std::io::stdin().read_to_end(&mut bytes))?;
    decode(&bytes).ok_or_else(|| Invalid("standard input is not text".into()).into())
}

/// Reads a file.
pub(crate) fn read_file(path: &Path) -> Outcome<String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    decode(&bytes).ok_or_else(|| Invalid(format!("{}: the file is not text", path.display())).into())
}

/// Decodes UTF-8, or UTF-16 with or without a byte order mark, which Windows PowerShell writes for
/// `>`.
fn decode(bytes: &[u8]) -> Option<String> {
    let text = match bytes {
        [0xef, 0xbb, 0xbf, text @ ..] => return String::from_utf8(text.to_vec()).ok(),
        [0xff, 0xfe, text @ ..] => utf16(text, u16::from_le_bytes),
        [0xfe, 0xff, text @ ..] => utf16(text, u16::from_be_bytes),
        [0, first, ..] if *first != 0 => utf16(bytes, u16::from_be_bytes),
        [first, 0, ..] if *first != 0 => utf16(bytes, u16::from_le_bytes),
        _ => String::from_utf8(bytes.to_vec()).ok(),
    };
    text.filter(|text| !text.contains('\0'))
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Option<String> {
    let (units, rest) = bytes.as_chunks::<2>();
    let units: Vec<u16> = units.iter().map(|bytes| unit(*bytes)).collect();
    String::from_utf16(&units).ok().filter(|_| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_in_every_encoding_of_a_windows_shell() {
        let text = "{\"é\":1}\r\n";
        let units: Vec<u16> = text.encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        for bytes in [
            text.as_bytes().to_vec(),
            [&[0xef, 0xbb, 0xbf], text.as_bytes()].concat(),
            [&[0xff, 0xfe], &little[..]].concat(),
            [&[0xfe, 0xff], &big[..]].concat(),
            little.clone(),
            big.clone(),
        ] {
            assert_eq!(decode(&bytes).as_deref(), Some(text), "{bytes:?}");
        }
        assert_eq!(decode(b"").as_deref(), Some(""));
        let utf32: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        for bytes in [&b"\x1f\x8b\x08\x00"[..], b"\xff\xfe{", b"caf\xe9", &utf32] {
            assert_eq!(decode(bytes), None, "{bytes:?}");
        }
    }
}
