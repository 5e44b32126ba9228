//! `countersign token`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use countersign_verify::{Claims, Clock, JwkSet, Timestamp, Verifier, jws};
use serde_json::json;

use crate::outcome::Outcome;
use crate::output::{format_time, line, pretty_json, show};
use crate::prompt::read_token;

pub(super) const EXAMPLES: &str = "\
Examples:
  curl … | countersign token inspect
  curl … | countersign token verify --jwks jwks.json \\
      --issuer https://issuer.example.com --audience https://api.example.com";

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Show the header and the claims of a token without checking them
    #[command(after_help = "\
Example:
  curl … | countersign token inspect

The token, or a token response, is read from standard input.")]
    Inspect,
    /// Verify a token offline against a saved JWKS and show its claims
    #[command(after_help = "\
Example:
  curl https://issuer.example.com/.well-known/jwks.json > jwks.json
  curl … | countersign token verify --jwks jwks.json \\
      --issuer https://issuer.example.com --audience https://api.example.com

The token, or a token response, is read from standard input.

Exit code: 0 if the token is valid, 1 if it is not.")]
    Verify {
        /// The issuer's JWKS, saved from its /.well-known/jwks.json
        #[arg(long, value_name = "FILE")]
        jwks: PathBuf,
        /// Require this issuer (claim iss)
        #[arg(long, env = "COUNTERSIGN_ISSUER", value_name = "URL")]
        issuer: String,
        /// Require this audience (claim aud) [default: any, and the output says so]
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
                if json {
                    show(&shown, true);
                } else {
                    pretty_json(&shown);
                }
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
                    // No API acts on this token: a person reads that the audience was not checked.
                    None => builder.dangerously_accept_any_audience(),
                };
                let token = builder.build()?.verify_with(&read_token()?, &keys);
                let token = token.map_err(|error| format!("the token is not valid: {error}"))?;
                if json {
                    show(&json!({ "valid": true, "kid": token.kid(), "claims": *token }), true);
                } else {
                    for text in describe(&token, token.kid(), audience.is_some(), clock.now()) {
                        line(&text);
                    }
                }
                Ok(())
            }
        }
    }
}

/// The claims by their names, each on a line; absent claims are left out.
fn describe(claims: &Claims, kid: &str, audience_checked: bool, now: Timestamp) -> Vec<String> {
    let (issued, expires) = (Timestamp::from_seconds(claims.iat), Timestamp::from_seconds(claims.exp));
    let unchecked = if audience_checked { "" } else { " (not checked: no --audience)" };
    let members = [
        ("iss", Some(claims.iss.clone())),
        ("kid", Some(kid.to_owned())),
        ("sub", Some(claims.sub.clone())),
        ("client_id", Some(claims.client_id.clone())),
        ("aud", Some(format!("{}{unchecked}", claims.aud))),
        ("scope", claims.scope.clone()),
        ("roles", Some(claims.roles.join(" ")).filter(|roles| !roles.is_empty())),
        ("operator", claims.operator.clone()),
        ("brandKey", claims.brand_key.clone()),
        ("iat", Some(format_time(issued))),
        ("exp", Some(format!("{} ({} left)", format_time(expires), format_rounded(expires.since(now))))),
    ];
    let present = members.into_iter().filter_map(|(name, value)| Some(format!("{name:<9}  {}", value?)));
    std::iter::once("valid".to_owned()).chain(present).collect()
}

/// A duration in its two largest units.
fn format_rounded(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

    use super::*;

    #[test]
    fn claims_are_listed_by_name_and_absent_ones_are_left_out() {
        let mut claims = json!({
            "iss": "http://127.0.0.1:3000", "sub": "demo-service", "aud": "https://api.example.com",
            "exp": 1_795_306_932, "iat": 1_795_303_332, "jti": "j", "client_id": "demo-service",
            "scope": "reports:read reports:write", "roles": ["reporting"], "operator": "alice.ops",
            "brandKey": "acme",
        });
        let now = Timestamp::from_seconds(1_795_303_333);
        let whole = describe(&serde_json::from_value(claims.clone()).unwrap(), "3NrjDqz", true, now);
        assert_eq!(
            whole.join("\n"),
            "valid\n\
             iss        http://127.0.0.1:3000\n\
             kid        3NrjDqz\n\
             sub        demo-service\n\
             client_id  demo-service\n\
             aud        https://api.example.com\n\
             scope      reports:read reports:write\n\
             roles      reporting\n\
             operator   alice.ops\n\
             brandKey   acme\n\
             iat        2026-11-21T23:22:12Z\n\
             exp        2026-11-22T00:22:12Z (59 min 59 s left)"
        );

        claims["roles"] = json!([]);
        for absent in ["scope", "operator", "brandKey"] {
            claims.as_object_mut().unwrap().remove(absent);
        }
        let text = describe(&serde_json::from_value(claims).unwrap(), "3NrjDqz", false, now).join("\n");
        assert!(
            text.contains("\naud        https://api.example.com (not checked: no --audience)\niat "),
            "{text}"
        );
    }
}
