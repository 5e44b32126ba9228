//! Which routes a caller may use: a TOML file that maps method and path to the scopes and roles asked for.
//!
//! ```
//! use countersign_verify::Claims;
//! use countersign_verify::policy::{Policy, Refusal, Rule};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let policy = Policy::from_toml(
//!     r#"
//! [[rule]]
//! methods = ["GET"]                      # upper case and exact: HEAD is not implied by GET
//! path = "/brands/{brandKey}/reports"    # `{name}` is one segment, `{*rest}` the rest of the path
//! scopes = ["reports:read"]              # all of them
//! roles = ["reporting", "billing"]       # any of them
//! equal = { brandKey = "brandKey" }      # path parameter -> sub, client_id, operator or brandKey
//!
//! [[rule]]
//! methods = ["GET"]                      # nothing else asked for: any verified caller
//! path = "/whoami"
//! "#,
//! )?;
//!
//! # let claims: Claims = serde_json::from_str(
//! #     r#"{"iss":"i","sub":"s","aud":"a","exp":1,"iat":1,"jti":"j","client_id":"s","scope":"reports:read",
//! #         "roles":["billing"],"brandKey":"acme"}"#,
//! # )?;
//! // `claims` come from `Verifier::verify`; the path is the request's own, before anything has decoded it.
//! assert_eq!(policy.decide("GET", "/brands/acme/reports", &claims).map(Rule::line), Ok(2));
//! assert!(matches!(
//!     policy.decide("GET", "/brands/globex/reports", &claims),
//!     Err(Refusal::ParameterDiffers { parameter: "brandKey", .. })
//! ));
//! assert!(policy.decide("HEAD", "/whoami", &claims).is_err(), "what no rule names is refused");
//! # Ok(())
//! # }
//! ```
//!
//! # Paths
//!
//! A policy and the server behind it read the same path, and an attacker looks for a spelling that the two read
//! differently. So a path is matched twice, and both readings must reach the same rule:
//!
//! - **as sent**: byte by byte, against the patterns as they are written;
//! - **as loosely as any server may read it**: percent-decoded, without regard to case (also that of `ſ`, `ı`, `İ` and
//!   `K`, which some case mappings turn into ASCII letters), without one slash at its end, against patterns folded in
//!   the same way.
//!
//! With a strict rule for `/files/secret` beside a looser one for `/files/{name}`, the paths `/files/%73ecret`,
//! `/Files/secret` and `/files/secret/` are refused as ambiguous instead of passing as some other file. Patterns that
//! are alike in the second reading are refused at load. Where several patterns fit, a static segment wins over a
//! parameter, and a parameter over a catch-all.
//!
//! Refused outright ([`UnsafePath`]), whatever the rules say, is what servers are known to disagree on: a path that does
//! not start with `/` or is longer than 8 KiB; empty segments, but for one slash at the end; dot segments; `/` and `%`
//! percent-encoded; backslash, `;`, `?`, `#` and control characters, raw or encoded; look-alikes that normalisation turns
//! into ASCII punctuation (full-width forms, `…`, `⁄` and their kin); percent-encoding that is broken or not UTF-8.
//!
//! `equal` compares the percent-decoded parameter of the first reading with the claim, exactly; an absent claim equals
//! nothing.
//!
//! Not covered is a server that goes by more than method and path (a method in a header or a form field), or that takes
//! two paths for one that differ in more than spelling: one that drops an extension (`/reports.json` for `/reports`),
//! trailing dots and spaces (Windows), or accents and styles of letters. Such habits are to be switched off where rules depend on them.

mod load;
mod path;
mod pattern;
mod refusal;
mod rule;

use matchit::Router;

use crate::Claims;

pub use load::{PolicyError, Problem};
pub use path::UnsafePath;
pub use refusal::Refusal;
pub use rule::{Claim, Rule, Segment};

/// The rules of one API. What no rule names is refused.
#[derive(Debug, Clone)]
pub struct Policy {
    rules: Vec<Rule>,
    /// For each distinct pattern, the places of its rules: one for each set of methods.
    patterns: Vec<Vec<usize>>,
    /// From a path as it was sent to its place in `patterns`.
    as_sent: Router<usize>,
    /// From a path in its loosest reading to its place in `patterns`.
    loosest: Router<usize>,
}

impl Policy {
    /// Reads a policy. The error names every problem that was found, with its line.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        load::load(text)
    }

    /// The rules, in the order of the file.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether a caller with these claims may send this request: the rule that lets it through, or why none does.
    ///
    /// `method` is compared exactly. `path` is the request's own, without the query, as it came over the wire: decoded or
    /// cleaned up by something in between it could no longer be judged. The claims must come from a verified token.
    pub fn decide<'p>(&'p self, method: &str, path: &str, claims: &Claims) -> Result<&'p Rule, Refusal<'p>> {
        let loosest_path = path::loosest(path).map_err(Refusal::UnsafePath)?;
        let as_sent = self.as_sent.at(path).ok();
        let loosest = self.loosest.at(&loosest_path).ok().map(|found| *found.value);
        let found = match (as_sent, loosest) {
            (Some(found), Some(loosest)) if *found.value == loosest => found,
            (None, None) => return Err(Refusal::NoRuleForPath),
            (as_sent, loosest) => {
                return Err(Refusal::AmbiguousPath {
                    as_sent: as_sent.and_then(|found| self.at_pattern(*found.value).next()),
                    loosest: loosest.and_then(|pattern| self.at_pattern(pattern).next()),
                });
            }
        };
        let rule = self
            .at_pattern(*found.value)
            .find(|rule| rule.methods().iter().any(|one| one == method))
            .ok_or_else(|| Refusal::NoRuleForMethod {
                methods: self.at_pattern(*found.value).flat_map(Rule::methods).map(String::as_str).collect(),
            })?;
        rule.check(claims, |parameter| found.params.get(parameter))?;
        Ok(rule)
    }

    fn at_pattern(&self, pattern: usize) -> impl Iterator<Item = &Rule> {
        self.patterns[pattern].iter().map(|&rule| &self.rules[rule])
    }
}
