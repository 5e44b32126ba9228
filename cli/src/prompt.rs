//! Input from the person: secrets and confirmations.

use std::io::{IsTerminal, Read};

use countersign_issuer::credentials::Secret;

use crate::outcome::{Invalid, Outcome, usage_error};
use crate::output::printable;
use crate::progress;
use crate::streams;

/// Reads standard input to its end, without the last line end.
fn read_stdin() -> Outcome<String> {
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
        return Err(usage_error(format!(
            "there is no terminal to ask at; pass it on standard input with {flag}"
        )));
    }
    let ask = |question: String| progress::suspend(|| rpassword::prompt_password(question));
    let typed = Secret::from_string(ask(format!("{what}: "))?);
    let again = Secret::from_string(ask(format!("{what}, again: "))?);
    if typed.expose() == again.expose() {
        Ok(typed)
    } else {
        Err(Invalid("the two entries differ; nothing was changed".into()).into())
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
    streams::print_error(&format!("{} [y/N] ", printable(question)));
    let mut answer = String::new();
    progress::suspend(|| std::io::stdin().read_line(&mut answer))?;
    if answer.trim().eq_ignore_ascii_case("y") { Ok(()) } else { Err("nothing was changed".into()) }
}
