//! `countersign policy`: checks a policy file, and explains its decision on a request.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use countersign_verify::policy::{Policy, PolicyError, Problem, Refusal, Rule};
use countersign_verify::{Claims, jws};
use serde_json::{Map, Value, json};

use crate::outcome::{Invalid, Outcome};
use crate::output::{BAD, GOOD, Output, line, line_with, show};
use crate::text_input::read_file;
use crate::token_input::{read_token, token_from};

pub(super) const EXAMPLES: &str = "\
Examples:
  countersign policy check policy.toml
  curl … | countersign policy explain policy.toml \\
      GET /brands/acme/reports --token -";

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Check a policy file; report every problem with its line
    #[command(after_help = "\
Example:
  countersign policy check policy.toml

A policy is a TOML file of rules. A request that matches no rule is refused. This rule requires all of its scopes and one \
of its roles, and compares a path parameter with sub, client_id, operator or brandKey; {name} matches one segment of the \
path, {*rest} all that follow:
  [[rule]]
  methods = [\"GET\"]
  path = \"/brands/{brandKey}/reports\"
  scopes = [\"reports:read\"]
  roles = [\"reporting\", \"billing\"]
  equal = { brandKey = \"brandKey\" }

Exit code: 0 if the file is a valid policy, 1 if it is not.")]
    Check {
        /// Policy file
        file: PathBuf,
    },
    /// Explain the decision on a request: the rule that matches, its requirements, and the token's
    /// claims
    #[command(override_usage = "countersign policy explain [OPTIONS] --token <TOKEN> \\
           <FILE> <METHOD> <PATH>")]
    #[command(after_help = "\
Examples:
  curl … | countersign policy explain policy.toml \\
      GET /brands/acme/reports --token -
  countersign policy explain policy.toml GET /brands/acme/reports \\
      --token - < token.txt

A token in the command line stays in the shell's history, and other users of the machine see it in the list of processes.

The path is compared as given, without a query: percent-encoding, case and slashes count. The token is not verified: use \
`countersign token verify` for that.

Exit code: 0 if the request is allowed, 1 if it is refused.")]
    Explain {
        /// Policy file
        file: PathBuf,
        /// Method of the request, such as GET
        method: String,
        /// Path of the request, such as /brands/acme/reports
        path: String,
        /// Access token of the caller; give - to read a token or a token response from standard
        /// input, so that the token does not get into the shell's history
        #[arg(long)]
        token: String,
    },
}

impl PolicyCommand {
    pub(super) fn run(self, output: &Output) -> Outcome {
        let json = output.is_json();
        match self {
            Self::Check { file } => match Policy::from_toml(&read_file(&file)?) {
                Ok(policy) => {
                    let rules = policy.rules().len();
                    let noun = if rules == 1 { "rule" } else { "rules" };
                    let words = format!("{}: {rules} {noun}, no problems", file.display());
                    if json {
                        show(&json!({ "valid": true, "rules": rules }), true);
                    } else {
                        line(&words);
                    }
                    Ok(())
                }
                Err(error) => {
                    if json {
                        let problem = |one: &Problem| json!({ "line": one.line(), "problem": one.message() });
                        let problems: Vec<Value> = error.problems().iter().map(problem).collect();
                        show(&json!({ "valid": false, "problems": problems }), true);
                    }
                    Err(Invalid(located(&file, &error)).into())
                }
            },
            Self::Explain { file, method, path, token } => {
                let policy =
                    Policy::from_toml(&read_file(&file)?).map_err(|error| Invalid(located(&file, &error)))?;
                let token = if token == "-" { read_token()? } else { token_from(&token)? };
                let (_, claims) = jws::decode_unverified(&token)
                    .map_err(|error| Invalid(format!("this is no JWT: {error}")))?;
                let claims: Claims = serde_json::from_value(claims).map_err(|error| {
                    Invalid(format!("these are not the claims of an access token: {error}"))
                })?;
                let decision = policy.decide(&method, &path, &claims);
                if json {
                    show(&record(&method, &path, &claims, &decision), true);
                } else {
                    describe(&method, &path, &claims, &decision);
                }
                // The reason has been printed.
                decision.map(|_| ()).map_err(|_| "the request is refused".into())
            }
        }
    }
}

/// The problems with file and line, in the form that editors understand.
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

/// The rule that matches the request, if there is one.
fn matching_rule<'p>(decision: &Decision<'p>) -> Option<&'p Rule> {
    match decision {
        Ok(rule) => Some(rule),
        Err(refusal) => refusal.rule(),
    }
}

fn record(method: &str, path: &str, claims: &Claims, decision: &Decision<'_>) -> Value {
    let rule = matching_rule(decision).map(|rule| {
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
    if let Some(rule) = matching_rule(decision) {
        line(&format!("rule      line {}: {} {}", rule.line(), rule.methods().join(" "), rule.path()));
        for requirement in requirements(rule) {
            line(&format!("requires  {requirement}"));
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
        Ok(_) => line_with(GOOD, "allowed", ""),
        Err(refusal) => line_with(BAD, "refused", &format!("   {refusal}")),
    }
}

/// The requirements of a rule as text.
fn requirements(rule: &Rule) -> Vec<String> {
    let mut requirements = Vec::new();
    if !rule.scopes().is_empty() {
        requirements.push(format!("every scope of {}", rule.scopes().join(" ")));
    }
    if !rule.roles().is_empty() {
        requirements.push(format!("one role of {}", rule.roles().join(" ")));
    }
    requirements
        .extend(rule.equal().map(|(parameter, claim)| format!("{{{parameter}}} equal to {}", claim.name())));
    if requirements.is_empty() {
        requirements.push("nothing but a valid token".into());
    }
    requirements
}
