//! Searches the log and the error responses of every test for secrets. A secret there ends the run.

use std::io::Write;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use tracing_subscriber::filter::LevelFilter;

use crate::encode;
use crate::in_process::{APP_SECRET, CHOSEN_SECRET, PASSWORD, SERVICE_SECRET};

/// The secrets of the tests and of the demo records. None of them may appear in the log of any
/// test.
const SECRETS: [&str; 9] = [
    APP_SECRET,
    SERVICE_SECRET,
    CHOSEN_SECRET,
    PASSWORD,
    "correct horse battery staple",
    "operator-passphrase",
    "demo-app-secret",
    "demo-service-secret",
    "demo-voice-secret",
];

/// Finds all encodings of all secrets in one pass, for every line of every test.
static ENCODINGS: LazyLock<AhoCorasick> =
    LazyLock::new(|| AhoCorasick::new(SECRETS.iter().flat_map(|secret| encodings(secret))).unwrap());

/// Returns the encodings of a secret: raw, URL-encoded, and in base64 at each of its three possible
/// offsets.
pub fn encodings(secret: &str) -> Vec<String> {
    let mut encodings =
        vec![secret.to_owned(), encode(&[("", secret)])[1..].to_owned(), secret.replace(' ', "+")];
    for shift in 0..3 {
        let padded = [&vec![b'x'; shift], secret.as_bytes()].concat();
        for encoded in [STANDARD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
            // The first and the last characters contain bits of the neighbouring bytes.
            encodings.push(encoded[4..encoded.trim_end_matches('=').len() - 2].to_owned());
        }
    }
    encodings
}

/// Searches everything that this process logs from now on, at the most verbose level of the
/// functions.
pub fn watch() {
    let lines = tracing_subscriber::fmt().with_max_level(LevelFilter::DEBUG).with_writer(|| Watch);
    // Another test may already have installed it for the whole process.
    let _ = lines.try_init();
}

/// Ends the process if `text` contains a secret or a whole token.
pub fn check(what: &str, text: &str) {
    if let Some(found) = found_in(text) {
        // The test harness captures `eprintln`, and the process ends before it prints.
        let _ = writeln!(std::io::stderr(), "{found} in {what}: {text}");
        std::process::abort();
    }
}

fn found_in(text: &str) -> Option<&str> {
    ENCODINGS.find(text).map(|found| &text[found.range()]).or_else(|| token_in(text))
}

/// Finds a token with its signature, which is the secret part of it.
fn token_in(text: &str) -> Option<&str> {
    if !text.contains("eyJ") {
        return None;
    }
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)));
    let mut tokens = words.filter(|word| word.starts_with("eyJ"));
    tokens.find(|word| word.rsplit_once('.').is_some_and(|(_, signature)| signature.len() >= 86))
}

/// Searches each line and stores none.
struct Watch;

impl Write for Watch {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        check("the log", &String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_encoding() {
        for encoded in [
            "password=correct+horse+battery+staple&",
            "correct%20horse",
            &STANDARD.encode("demo-app:demo-app-secret"),
            &format!("token=eyJhbGciOiJFUzI1NiJ9.e30.{}\"", "A".repeat(86)),
        ] {
            assert!(found_in(encoded).is_some(), "{encoded}");
        }
        assert_eq!(
            found_in("client_id=\"demo-app\" jti=\"oGUmhwEX7kVa9gir3FtqJw\" eyJhbGciOiJFUzI1NiJ9.e30"),
            None
        );
    }
}
