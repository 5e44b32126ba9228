//! Authorization by route: a TOML file maps method and path to the scopes and roles that a caller
//! needs.
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
//! scopes = ["reports:read"]              # the caller needs all of them
//! roles = ["reporting", "billing"]       # the caller needs one of them
//! equal = { brandKey = "brandKey" }      # path parameter -> sub, client_id, operator or brandKey
//!
//! [[rule]]
//! methods = ["GET"]                      # no other condition: any verified caller
//! path = "/whoami"
//! "#,
//! )?;
//!
//! # let claims: Claims = serde_json::from_str(
//! #     r#"{"iss":"i","sub":"s","aud":"a","exp":1,"iat":1,"jti":"j","client_id":"s",
//! #         "scope":"reports:read","roles":["billing"],"brandKey":"acme"}"#,
//! # )?;
//! // `claims` come from `Verifier::verify`. The path is the one that was sent, not decoded yet.
//! assert_eq!(policy.decide("GET", "/brands/acme/reports", &claims).map(Rule::line), Ok(2));
//! assert!(matches!(
//!     policy.decide("GET", "/brands/globex/reports", &claims),
//!     Err(Refusal::ParameterDiffers { parameter: "brandKey", .. })
//! ));
//! let refused = policy.decide("HEAD", "/whoami", &claims);
//! assert!(refused.is_err(), "a request without a rule is refused");
//! # Ok(())
//! # }
//! ```
//!
//! # Paths
//!
//! The policy and the server behind it interpret the same path. An attacker looks for a spelling
//! that the two interpret differently. So a path is matched in two interpretations, and both must
//! lead to the same rule:
//!
//! - **as sent**: byte by byte, against the patterns as they are written;
//! - **lenient**, as the most forgiving server may read it: percent-decoded, case-insensitive (also
//!   for `ſ`, `ı`, `İ` and `K`, which some case mappings turn into ASCII letters) and without one
//!   slash at the end, against patterns that are folded in the same way.
//!
//! Example: one rule protects `/files/secret`, and a less strict one covers `/files/{name}`. Then
//! the paths `/files/%73ecret`, `/Files/secret` and `/files/secret/` are refused as ambiguous; they
//! do not pass as some other file. Loading fails if two patterns are equal in the lenient
//! interpretation. If several patterns match, a static segment wins over a parameter, and a
//! parameter over a catch-all.
//!
//! Some paths are refused whatever the rules are ([`UnsafePath`]), because servers disagree on
//! them:
//!
//! - a path that does not start with `/` or is longer than 8 KiB;
//! - empty segments, except for one slash at the end, and dot segments;
//! - percent-encoded `/` and `%`;
//! - backslash, `;`, `?`, `#` and control characters, raw or encoded;
//! - look-alikes that normalisation turns into ASCII punctuation (full-width forms, `…`, `⁄` and
//!   similar characters);
//! - percent-encoding that is broken or not UTF-8.
//!
//! `equal` compares the percent-decoded parameter of the path as sent with the claim, exactly. An
//! absent claim equals nothing.
//!
//! # Limits
//!
//! The policy cannot protect a server that routes by more than method and path, for example by a
//! method in a header or a form field. Nor can it protect one that treats two paths as equal that
//! differ in more than spelling: a server that drops an extension (`/reports.json` for `/reports`),
//! trailing dots and spaces (Windows), or accents and styles of letters. Switch such features off
//! if rules depend on them.

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

/// The rules of one API. A request that no rule covers is refused.
#[derive(Debug, Clone)]
pub struct Policy {
    rules: Vec<Rule>,
    /// For each distinct pattern, the indices of its rules: one for each set of methods.
    patterns: Vec<Vec<usize>>,
    /// Maps a path as sent to an index into `patterns`.
    as_sent: Router<usize>,
    /// Maps a path in its lenient interpretation to an index into `patterns`.
    lenient: Router<usize>,
}

impl Policy {
    /// Parses a policy. The error has every problem with its line.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        load::load(text)
    }

    /// Returns the rules in the order of the file.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Decides if a caller with these claims may send this request. Returns the rule that allows
    /// it, or the reason for refusing it.
    ///
    /// `method` is compared exactly. `path` is the path as it was sent, without the query. A path
    /// that was decoded or normalised before cannot be checked for ambiguity. The claims must come
    /// from a verified token.
    pub fn decide<'p>(&'p self, method: &str, path: &str, claims: &Claims) -> Result<&'p Rule, Refusal<'p>> {
        let lenient_path = path::interpret_leniently(path).map_err(Refusal::UnsafePath)?;
        let as_sent = self.as_sent.at(path).ok();
        let lenient = self.lenient.at(&lenient_path).ok().map(|found| *found.value);
        let found = match (as_sent, lenient) {
            (Some(found), Some(lenient)) if *found.value == lenient => found,
            (None, None) => return Err(Refusal::NoRuleForPath),
            (as_sent, lenient) => {
                return Err(Refusal::AmbiguousPath {
                    as_sent: as_sent.and_then(|found| self.rules_of(*found.value).next()),
                    lenient: lenient.and_then(|pattern| self.rules_of(pattern).next()),
                });
            }
        };
        let rule = self
            .rules_of(*found.value)
            .find(|rule| rule.methods().iter().any(|one| one == method))
            .ok_or_else(|| Refusal::NoRuleForMethod {
                methods: self.rules_of(*found.value).flat_map(Rule::methods).map(String::as_str).collect(),
            })?;
        rule.authorize(claims, |parameter| found.params.get(parameter))?;
        Ok(rule)
    }

    fn rules_of(&self, pattern: usize) -> impl Iterator<Item = &Rule> {
        self.patterns[pattern].iter().map(|&rule| &self.rules[rule])
    }
}
