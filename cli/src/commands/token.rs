//! `countersign token`: what a token says, and whether it holds.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use countersign_verify::{Clock, JwkSet, Timestamp, Verified, Verifier, jws};
use serde_json::{Value, json};

use super::{Outcome, read_stdin};
use crate::output::{line, moment, show};

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Show what a token says, without checking it (token or token response on standard input)
    #[command(after_help = "Example:\n  curl … | countersign token inspect")]
    Inspect,
    /// Check a token offline and say who it is, what it may do and until when (token or token response on standard
    /// input)
    #[command(after_help = "\
Example:
  curl https://issuer.example.com/.well-known/jwks.json > jwks.json
  curl … | countersign token verify --jwks jwks.json --issuer https://issuer.example.com \\
      --audience https://api.example.com

Exit code: 0 where the token holds, 1 where it does not.")]
    Verify {
        /// The issuer's key set, saved from its /.well-known/jwks.json
        #[arg(long, value_name = "FILE")]
        jwks: PathBuf,
        /// The issuer that the token must be from
        #[arg(long, env = "COUNTERSIGN_ISSUER", value_name = "URL")]
        issuer: String,
        /// The API that the token must be meant for [default: any, and the answer says so]
        #[arg(long)]
        audience: Option<String>,
    },
}

impl TokenCommand {
    pub(super) fn run(self, clock: &Clock, json: bool) -> Outcome {
        match self {
            Self::Inspect => {
                let (header, claims) = jws::decode_unverified(&read_token()?)?;
                let shown = json!({ "verified": false, "header": header, "claims": claims });
                line(&if json { shown.to_string() } else { format!("{shown:#}") });
                Ok(())
            }
            Self::Verify { jwks, issuer, audience } => {
                let saved =
                    fs::read_to_string(&jwks).map_err(|error| format!("{}: {error}", jwks.display()))?;
                let keys =
                    JwkSet::from_json(&saved).map_err(|error| format!("{}: {error}", jwks.display()))?;
                let builder =
                    Verifier::builder(issuer).keys(keys.clone()).clock(clock.clone()).accept_typ_jwt();
                let builder = match &audience {
                    Some(audience) => builder.audience(audience),
                    // For showing to a person, who is told.
                    None => builder.dangerously_accept_any_audience(),
                };
                let token = builder.build()?.verify_with(&read_token()?, &keys);
                let token = token.map_err(|error| format!("the token is not valid: {error}"))?;
                if json {
                    show(&json!({ "valid": true, "kid": token.kid(), "claims": *token }), true);
                } else {
                    describe(&token, audience.is_some(), clock.now());
                }
                Ok(())
            }
        }
    }
}

fn describe(token: &Verified, audience_checked: bool, now: Timestamp) {
    let remaining = Timestamp::from_seconds(token.exp).since(now);
    let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
    let roles = if token.roles.is_empty() { "-".into() } else { token.roles.join(" ") };
    let unchecked = if audience_checked { "" } else { " (not checked: no --audience)" };
    line("valid");
    line(&format!("who       {} through client {}", token.sub, token.client_id));
    line(&format!("what      scope {}", or_none(&token.scope)));
    line(&format!("          roles {roles}"));
    line(&format!("operator  {}", or_none(&token.operator)));
    line(&format!("brand     {}", or_none(&token.brand_key)));
    line(&format!("for       {}{unchecked}", token.aud));
    line(&format!("from      {}, key {}", token.iss, token.kid()));
    line(&format!("issued    {}", moment(Timestamp::from_seconds(token.iat))));
    line(&format!("until     {} ({} left)", moment(Timestamp::from_seconds(token.exp)), rounded(remaining)));
}

fn rounded(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// A token as it stands, or the `access_token` of a token response.
pub(super) fn read_token() -> Outcome<String> {
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
        serde_json::from_str(text).map_err(|_| "standard input holds neither a token nor JSON")?;
    match (&response["access_token"], &response["error"]) {
        (Value::String(token), _) => Ok(token.clone()),
        (_, Value::String(error)) => Err(format!("the token response is an error: {error}").into()),
        _ => Err("the JSON on standard input has no access_token".into()),
    }
}
