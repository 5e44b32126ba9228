//! Input from the person: secrets, confirmations, and what is piped to standard input.

use std::io::{IsTerminal, Read};

use countersign_issuer::credentials::Secret;
use serde_json::Value;

use crate::outcome::Outcome;
use crate::output::printable;
use crate::progress;

/// Reads standard input to its end, without the last line end.
pub(crate) fn read_stdin() -> Outcome<String> {
    let mut text = String::new();
    progress::suspend(|| std::io::stdin().read_to_string(&mut text))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Reads a secret from standard input, or asks for it twice without an echo.
pub(crate) fn read_secret(what: &str, from_stdin: bool) -> Outcome<Secret> {
    if from_stdin {
        return Ok(Secret::from_string(read_stdin()?));
    }
    if !std::io::stdin().is_terminal() {
        let flag = format!("--{}-stdin", what.rsplit(' ').next().unwrap_or_default().to_lowercase());
        return Err(format!("there is no terminal to ask at; pass it on standard input with {flag}").into());
    }
    let ask = |question: String| progress::suspend(|| rpassword::prompt_password(question));
    let typed = Secret::from_string(ask(format!("{what}: "))?);
    let again = Secret::from_string(ask(format!("{what}, again: "))?);
    if typed.expose() == again.expose() {
        Ok(typed)
    } else {
        Err("the two entries differ; nothing was changed".into())
    }
}

/// Asks before something is lost; `--yes` answers in advance.
pub(crate) fn confirm(question: &str, yes: bool) -> Outcome {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(format!("{question} Repeat the command with --yes.").into());
    }
    let mut answer = String::new();
    #[expect(clippy::print_stderr, reason = "a question to the person at the terminal")]
    progress::suspend(|| {
        eprint!("{} [y/N] ", printable(question));
        std::io::stdin().read_line(&mut answer)
    })?;
    if answer.trim().eq_ignore_ascii_case("y") { Ok(()) } else { Err("nothing was changed".into()) }
}

/// Reads a token, or the `access_token` of a token response, from standard input.
pub(crate) fn read_token() -> Outcome<String> {
    let text = read_stdin()?;
    let text = text.trim();
    if !text.starts_with('{') {
        return if text.is_empty() {
            Err("there is no token on standard input".into())
        } else {
            Ok(text.to_owned())
        };
    }
    let response: Value =
        serde_json::from_str(text).map_err(|_| "standard input is neither a token nor JSON")?;
    match (&response["access_token"], &response["error"]) {
        (Value::String(token), _) => Ok(token.clone()),
        (_, Value::String(error)) => Err(format!("the token response is an error: {error}").into()),
        _ => Err("the JSON on standard input has no access_token".into()),
    }
}
