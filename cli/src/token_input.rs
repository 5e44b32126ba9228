//! An access token as people pass it: alone, in a token response, in a header, in quotes. Anything
//! else is refused by the name of what it is, and never shown: it may be a secret.

use countersign_verify::is_generated_secret;
use serde_json::Value;

use crate::outcome::{Invalid, Outcome};
use crate::text_input::read_stdin;

/// Reads an access token from standard input.
pub(crate) fn read_token() -> Outcome<String> {
    token_from(&read_token_text()?)
}

/// Reads standard input, which may not be empty.
pub(crate) fn read_token_text() -> Outcome<String> {
    let text = read_stdin()?;
    if text.trim().is_empty() { refuse("there is no token on standard input") } else { Ok(text) }
}

/// Finds the access token in a text. The token has three parts, and nothing else is checked.
pub(crate) fn token_from(text: &str) -> Outcome<String> {
    let text = text.trim().trim_start_matches('\u{feff}');
    if text.starts_with("HTTP/") {
        // The output of `curl -i`.
        let text = text.replace("\r\n", "\n");
        return token_from(text.split_once("\n\n").map_or("", |(_, body)| body));
    }
    if text.starts_with(['{', '[']) {
        return token_in_json(text);
    }
    if text.starts_with('<') {
        return refuse(
            "this is an HTML or XML page, not a token: look at what the request was answered with",
        );
    }
    if text.contains("-----BEGIN ") {
        return refuse(if text.contains("PRIVATE KEY") {
            "this is a private key, not a token: keep it to yourself"
        } else {
            "this is a key or a certificate in PEM, not a token"
        });
    }
    let token = bare(text);
    if strip_word(token, "Basic ").is_some() {
        return refuse("these are HTTP Basic credentials, not a token");
    }
    let joined: String = token.split_whitespace().collect();
    let is_wrapped = joined.len() < token.len();
    if joined.starts_with("csgr_") {
        return refuse(
            "this is a refresh token, which only its issuer can read: an API gets the access_token of the same response",
        );
    }
    if is_generated_secret(&joined) {
        return refuse("this is a client secret, not a token: a client sends it to /oauth/token");
    }
    let is_of_a_token = |c: char| c.is_ascii_alphanumeric() || "-_.=".contains(c);
    match joined.split('.').count() {
        3 if !is_wrapped || joined.chars().all(is_of_a_token) => Ok(joined),
        5 if !is_wrapped => {
            refuse("this is an encrypted token (JWE, RFC 7516), which only its recipient can read")
        }
        _ if joined.is_empty() => refuse("the token is empty"),
        _ if is_wrapped => refuse("this is no token: it has spaces or several lines"),
        _ => refuse(
            "this is no JWT, which has three parts with dots between them: an opaque token means something only to the \
             server that issued it; ask its introspection endpoint",
        ),
    }
}

/// A token without quotes, without the name of a header and without the scheme `Bearer` around it,
/// which shells, `jq` and browsers leave there.
fn bare(text: &str) -> &str {
    let text = text.trim();
    let unquoted = ['"', '\'', '`'].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    let inner = unquoted
        .or_else(|| strip_word(text, "Authorization:"))
        .or_else(|| strip_word(text, "Bearer "))
        .or_else(|| text.strip_suffix([',', ';']));
    inner.map_or(text, bare)
}

/// Strips a word at the start, in any case (RFC 9110 section 11.1).
fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(word.len())?;
    start.eq_ignore_ascii_case(word).then_some(rest)
}

/// Returns the access token of a token response (RFC 6749 section 5.1).
fn token_in_json(text: &str) -> Outcome<String> {
    let Ok(json) = serde_json::from_str::<Value>(text) else {
        return refuse("this is neither a token nor JSON");
    };
    let has = |name: &str| json.get(name).is_some();
    match (&json["access_token"], &json["error"]) {
        (Value::String(token), _) => token_from(token),
        (_, Value::String(error)) => refuse(&format!("the token response is an error: {error}")),
        _ if has("keys") || has("kty") => refuse("this is a JWKS, not a token: pass it with --jwks FILE"),
        _ if has("id_token") || has("refresh_token") => {
            refuse("the JSON has no access_token: an API takes neither an ID token nor a refresh token")
        }
        _ if has("iss") || has("exp") => {
            refuse("these are the claims of a token: pass the token itself, which is signed")
        }
        _ => refuse("the JSON has no access_token"),
    }
}

fn refuse<T>(reason: &str) -> Outcome<T> {
    Err(Invalid(reason.into()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_in_whatever_stands_around_it() {
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln-_";
        for text in [
            token.to_owned(),
            format!("\u{feff}{token}\r\n"),
            format!("\"{token}\""),
            format!("'{token}'\n"),
            format!("\"{token}\","),
            format!("Bearer {token}"),
            format!("bearer  {token}"),
            format!("'Authorization: Bearer {token}'"),
            format!("authorization:BEARER {token}"),
            format!("{}\n{}\r\n{}\n", &token[..10], &token[10..30], &token[30..]),
            format!("{{\"access_token\":\"{token}\",\"token_type\":\"Bearer\"}}"),
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{{\"access_token\":\"{token}\"}}"
            ),
        ] {
            assert_eq!(token_from(&text).unwrap(), token, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_by_its_name_and_not_repeated() {
        let secret = countersign_verify::generated_secret(&[7; 32]);
        for (text, named) in [
            ("csgr_eyJpc3MiOiJo.c2ln", "refresh token"),
            (secret.as_str(), "client secret"),
            ("Basic eDp5", "Basic credentials"),
            ("2YotnFZFEjr1zCsicMWpAA", "no JWT"),
            ("ya29.a0AfH6SMB", "no JWT"),
            ("a.b.c.d.e", "encrypted token"),
            ("-----BEGIN EC PRIVATE KEY-----\nMHc\n-----END EC PRIVATE KEY-----", "private key"),
            ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "certificate"),
            ("<!doctype html><title>502</title>", "HTML"),
            (r#"{"keys":[]}"#, "JWKS"),
            (r#"{"error":"invalid_client"}"#, "invalid_client"),
            (r#"{"id_token":"a.b.c"}"#, "ID token"),
            (r#"{"iss":"https://i.example.com","sub":"x"}"#, "claims of a token"),
            (r#"{"access_token":"csgr_x.y"}"#, "refresh token"),
            ("[]", "no access_token"),
            ("{", "neither a token nor JSON"),
            ("a.b.c d.e.f g", "several lines"),
            ("Bearer ", "no JWT"),
            ("''", "empty"),
            ("HTTP/1.1 200 OK", "empty"),
        ] {
            let refused = token_from(text).unwrap_err().to_string();
            assert!(refused.contains(named), "{text}: {refused}");
            assert!(!refused.contains("2YotnF") && !refused.contains(&secret), "{refused}");
        }
    }
}
