//! `countersign policy`: whether a file is a policy, and what it says of a request.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use countersign_verify::policy::{Policy, PolicyError, Problem, Refusal, Rule};
use countersign_verify::{Claims, jws};
use serde_json::{Map, Value, json};

use super::{Outcome, token::read_token};
use crate::output::{line, show};

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Check a policy file and name every problem with its line
    #[command(after_help = "\
A policy is a TOML file of rules; what no rule names is refused:
  [[rule]]
  methods = [\"GET\"]
  path = \"/brands/{brandKey}/reports\"     # {name} is one segment, {*rest} the rest of the path
  scopes = [\"reports:read\"]               # all of them
  roles = [\"reporting\", \"billing\"]        # any of them
  equal = { brandKey = \"brandKey\" }       # path parameter -> sub, client_id, operator or brandKey

Example:
  countersign policy check policy.toml

Exit code: 0 where it is a policy, 1 where it is not.")]
    Check {
        /// The policy
        file: PathBuf,
    },
    /// Say which rule a request comes under, what it asks for, what a token has, and whether that is enough
    #[command(after_help = "\
Examples:
  countersign policy explain policy.toml GET /brands/acme/reports --token eyJhbGciOi…
  curl … | countersign policy explain policy.toml GET /brands/acme/reports --token -

The path is judged as it stands, without a query: percent-encoding, case and slashes count.
Nothing about the token is checked; `countersign token verify` does that.

Exit code: 0 where the request is let through, 1 where it is refused.")]
    Explain {
        /// The policy
        file: PathBuf,
        /// The request's method, as GET
        method: String,
        /// The request's path, as /brands/acme/reports
        path: String,
        /// The caller's access token; - reads a token or a token response from standard input
        #[arg(long)]
        token: String,
    },
}

impl PolicyCommand {
    pub(super) fn run(self, json: bool) -> Outcome {
        match self {
            Self::Check { file } => match Policy::from_toml(&read(&file)?) {
                Ok(policy) => {
                    let rules = policy.rules().len();
                    let noun = if rules == 1 { "rule" } else { "rules" };
                    let words = format!("{}: {rules} {noun}, no problems", file.display());
                    line(&if json { json!({ "valid": true, "rules": rules }).to_string() } else { words });
                    Ok(())
                }
                Err(error) => {
                    if json {
                        let problem = |one: &Problem| json!({ "line": one.line(), "problem": one.message() });
                        let problems: Vec<Value> = error.problems().iter().map(problem).collect();
                        line(&json!({ "valid": false, "problems": problems }).to_string());
                    }
                    Err(located(&file, &error).into())
                }
            },
            Self::Explain { file, method, path, token } => {
                let policy = Policy::from_toml(&read(&file)?).map_err(|error| located(&file, &error))?;
                let token = if token == "-" { read_token()? } else { token };
                let (_, claims) = jws::decode_unverified(&token)?;
                let claims: Claims = serde_json::from_value(claims)
                    .map_err(|error| format!("these are not the claims of an access token: {error}"))?;
                let decision = policy.decide(&method, &path, &claims);
                if json {
                    show(&record(&method, &path, &claims, &decision), true);
                } else {
                    describe(&method, &path, &claims, &decision);
                }
                // Why is in what was printed.
                decision.map(|_| ()).map_err(|_| "the request is refused".into())
            }
        }
    }
}

fn read(file: &Path) -> Outcome<String> {
    Ok(fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?)
}

/// The problems as editors find them.
fn located(file: &Path, error: &PolicyError) -> String {
    let problems = error.problems();
    let located: Vec<String> = problems
        .iter()
        .map(|problem| format!("{}:{}: {}", file.display(), problem.line(), problem.message()))
        .collect();
    let count = match problems.len() {
        1 => "a problem".to_owned(),
        count => format!("{count} problems"),
    };
    format!("{count} in the policy\n{}", located.join("\n"))
}

type Decision<'p> = Result<&'p Rule, Refusal<'p>>;

/// The rule that the request comes under, whether it lets it through or not.
fn rule_of<'p>(decision: &Decision<'p>) -> Option<&'p Rule> {
    match decision {
        Ok(rule) => Some(rule),
        Err(refusal) => refusal.rule(),
    }
}

fn record(method: &str, path: &str, claims: &Claims, decision: &Decision<'_>) -> Value {
    let rule = rule_of(decision).map(|rule| {
        let equal: Map<String, Value> =
            rule.equal().map(|(parameter, claim)| (parameter.into(), claim.name().into())).collect();
        json!({
            "line": rule.line(), "methods": rule.methods(), "path": rule.path(), "scopes": rule.scopes(),
            "roles": rule.roles(), "equal": equal,
        })
    });
    let refusal = decision.as_ref().err();
    json!({
        "allowed": refusal.is_none(),
        "reason": refusal.map(ToString::to_string),
        "method": method,
        "path": path,
        "rule": rule,
        "claims": claims,
        "verified": false,
    })
}

fn describe(method: &str, path: &str, claims: &Claims, decision: &Decision<'_>) {
    let roles = if claims.roles.is_empty() { "-".to_owned() } else { claims.roles.join(" ") };
    line(&format!("request   {method} {path}"));
    if let Some(rule) = rule_of(decision) {
        line(&format!("rule      line {}: {} {}", rule.line(), rule.methods().join(" "), rule.path()));
        for asked in asked_by(rule) {
            line(&format!("asks      {asked}"));
        }
    } else {
        line("rule      none");
    }
    line(&format!("token     sub {}, client_id {}", claims.sub, claims.client_id));
    line(&format!("          scope {}", claims.scope.as_deref().unwrap_or("-")));
    line(&format!("          roles {roles}"));
    line(&format!("          operator {}", claims.operator.as_deref().unwrap_or("-")));
    line(&format!("          brandKey {}", claims.brand_key.as_deref().unwrap_or("-")));
    line("          not checked: signature, issuer, audience and times");
    match decision {
        Ok(_) => line("allowed"),
        Err(refusal) => line(&format!("refused   {refusal}")),
    }
}

/// What a rule asks of a caller, in words.
fn asked_by(rule: &Rule) -> Vec<String> {
    let mut asked = Vec::new();
    if !rule.scopes().is_empty() {
        asked.push(format!("every scope of {}", rule.scopes().join(" ")));
    }
    if !rule.roles().is_empty() {
        asked.push(format!("one role of {}", rule.roles().join(" ")));
    }
    asked.extend(rule.equal().map(|(parameter, claim)| format!("{{{parameter}}} equal to {}", claim.name())));
    if asked.is_empty() {
        asked.push("nothing but a valid token".into());
    }
    asked
}
