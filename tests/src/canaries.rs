//! Watches what every test makes the issuer log, and answer where it refuses: a secret in it ends the run.

use std::io::Write;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use tracing_subscriber::filter::LevelFilter;

use crate::encode;
use crate::in_process::{APP_SECRET, CHOSEN_SECRET, PASSWORD, SERVICE_SECRET};

/// What the tests, and the demo records, have for secrets. Each is in the log of no test.
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

/// All of them at once, for every line of every test.
static WRITINGS: LazyLock<AhoCorasick> =
    LazyLock::new(|| AhoCorasick::new(SECRETS.iter().flat_map(|secret| writings(secret))).unwrap());

/// A secret as it stands, URL-encoded, and in base64 at each of the three offsets that it may have there.
pub fn writings(secret: &str) -> Vec<String> {
    let mut writings =
        vec![secret.to_owned(), encode(&[("", secret)])[1..].to_owned(), secret.replace(' ', "+")];
    for shift in 0..3 {
        let padded = [&vec![b'x'; shift], secret.as_bytes()].concat();
        for encoded in [STANDARD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
            // The first and the last characters hold bits of the neighbours.
            writings.push(encoded[4..encoded.trim_end_matches('=').len() - 2].to_owned());
        }
    }
    writings
}

/// From now on this process looks at all that it logs, as loud as a function can be told to.
pub(crate) fn watch() {
    let lines = tracing_subscriber::fmt().with_max_level(LevelFilter::DEBUG).with_writer(|| Watch);
    // The first test of a process has set it for all.
    let _ = lines.try_init();
}

/// Ends the process where there is a secret, or a whole token, in `text`.
pub fn check(what: &str, text: &str) {
    if let Some(found) = found_in(text) {
        // Not by `eprintln`, which the test's harness keeps to itself.
        let _ = writeln!(std::io::stderr(), "{found} in {what}: {text}");
        std::process::abort();
    }
}

fn found_in(text: &str) -> Option<&str> {
    WRITINGS.find(text).map(|found| &text[found.range()]).or_else(|| token_in(text))
}

/// A token with its signature, which is the secret part of it.
fn token_in(text: &str) -> Option<&str> {
    if !text.contains("eyJ") {
        return None;
    }
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)));
    let mut tokens = words.filter(|word| word.starts_with("eyJ"));
    tokens.find(|word| word.rsplit_once('.').is_some_and(|(_, signature)| signature.len() >= 86))
}

/// Keeps nothing.
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
    fn a_secret_is_found_however_it_is_written() {
        for written in [
            "password=correct+horse+battery+staple&",
            "correct%20horse",
            &STANDARD.encode("demo-app:demo-app-secret"),
            &format!("token=eyJhbGciOiJFUzI1NiJ9.e30.{}\"", "A".repeat(86)),
        ] {
            assert!(found_in(written).is_some(), "{written}");
        }
        assert_eq!(
            found_in("client_id=\"demo-app\" jti=\"oGUmhwEX7kVa9gir3FtqJw\" eyJhbGciOiJFUzI1NiJ9.e30"),
            None
        );
    }
}
