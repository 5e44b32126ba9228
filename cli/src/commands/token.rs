//! `countersign token`.

mod diagnosis;
mod key_set;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use countersign_verify::{Claims, Clock, Timestamp, Verified, Verifier, jws};
use serde_json::json;

use self::diagnosis::{Diagnosis, Expected};
use crate::outcome::{Invalid, Outcome, with_remedy};
use crate::output::{GOOD, Output, line, line_with, pretty_json};
use crate::token_input::{read_token, read_token_text, token_from};

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

The token is read from standard input, alone, in a token response, or after `Bearer`. If it is not valid, the claims that \
differ are shown.

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
    pub(super) fn run(self, clock: &Clock, output: &Output) -> Outcome {
        match self {
            Self::Inspect => {
                let (header, claims) = jws::decode_unverified(&read_token()?)
                    .map_err(|error| Invalid(format!("this is no JWT: {error}")))?;
                let shown = json!({ "verified": false, "header": header, "claims": claims });
                if output.is_json() {
                    output.show(&shown);
                } else {
                    pretty_json(&shown);
                }
                Ok(())
            }
            Self::Verify { jwks, issuer, audience } => {
                let token = match verify(&jwks, &issuer, audience.as_deref(), clock, output)? {
                    Ok(token) => token,
                    Err(diagnosis) => {
                        if output.is_json() {
                            output.show(&diagnosis.as_json());
                        }
                        return Err(with_remedy(Invalid(diagnosis.message()), diagnosis.remedy()));
                    }
                };
                if output.is_json() {
                    output.show(&json!({ "valid": true, "kid": token.kid(), "claims": *token }));
                } else {
                    line_with(GOOD, "valid", "");
                    for text in describe(&token, token.kid(), audience.is_some(), output) {
                        line(&text);
                    }
                }
                Ok(())
            }
        }
    }
}

/// Verifies the token on standard input. The inner result is that of the verification.
fn verify(
    jwks: &Path,
    issuer: &str,
    audience: Option<&str>,
    clock: &Clock,
    output: &Output,
) -> Outcome<Result<Verified, Diagnosis>> {
    let keys = key_set::read(jwks)?;
    let builder = Verifier::builder(issuer).keys(keys.clone()).clock(clock.clone()).accept_typ_jwt();
    let builder = match audience {
        Some(audience) => builder.audience(audience),
        // No API acts on this token: a person reads that the audience was not checked.
        None => builder.dangerously_accept_any_audience(),
    };
    let verifier = builder.build()?;
    let token = match token_from(&read_token_text()?) {
        Ok(token) => token,
        Err(error) => return Ok(Err(Diagnosis::unreadable(error.to_string()))),
    };
    Ok(verifier.verify_with(&token, &keys).map_err(|error| {
        let expected = Expected { issuer, audience, keys: &keys, now: clock.now() };
        Diagnosis::new(&token, error, &expected, output)
    }))
}

/// The claims by their names, each on a line; absent claims are left out.
fn describe(claims: &Claims, kid: &str, audience_checked: bool, output: &Output) -> Vec<String> {
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
        ("iat", Some(output.time(issued))),
        ("exp", Some(output.time(expires))),
    ];
    members.into_iter().filter_map(|(name, value)| Some(format!("{name:<9}  {}", value?))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn claims_are_listed_by_name_and_absent_ones_are_left_out() {
        let mut claims = json!({
            "iss": "http://127.0.0.1:3000", "sub": "demo-service", "aud": "https://api.example.com",
            "exp": 1_795_306_932, "iat": 1_795_303_332, "jti": "j", "client_id": "demo-service",
            "scope": "reports:read reports:write", "roles": ["reporting"], "operator": "alice.ops",
            "brandKey": "acme",
        });
        let clock = Clock::new(|| Timestamp::from_seconds(1_795_303_333));
        let output = Output::new(false, clock, TimeZone::UTC);
        let whole = describe(&serde_json::from_value(claims.clone()).unwrap(), "3NrjDqz", true, &output);
        assert_eq!(
            whole.join("\n"),
            "iss        http://127.0.0.1:3000\n\
             kid        3NrjDqz\n\
             sub        demo-service\n\
             client_id  demo-service\n\
             aud        https://api.example.com\n\
             scope      reports:read reports:write\n\
             roles      reporting\n\
             operator   alice.ops\n\
             brandKey   acme\n\
             iat        2026-11-21 23:22:12 +00:00 (1 s ago)\n\
             exp        2026-11-22 00:22:12 +00:00 (in 59 min 59 s)"
        );

        claims["roles"] = json!([]);
        for absent in ["scope", "operator", "brandKey"] {
            claims.as_object_mut().unwrap().remove(absent);
        }
        let text = describe(&serde_json::from_value(claims).unwrap(), "3NrjDqz", false, &output).join("\n");
        assert!(
            text.contains("\naud        https://api.example.com (not checked: no --audience)\niat "),
            "{text}"
        );
    }
}
