//! The reasons for refusing a request.

use std::fmt;

use super::path::UnsafePath;
use super::rule::{Claim, Rule};

/// The reason why a policy refuses a request. As text it is for the log and for the policy's
/// author. It names rules and their lines and repeats nothing from the request or the token. The
/// caller gets 403 and the [`scope`](Self::scope), if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal<'p> {
    /// Such a path is refused whatever the rules are.
    UnsafePath(UnsafePath),
    /// The path as sent and its lenient interpretation match different rules.
    AmbiguousPath {
        /// The first rule for the path as sent.
        as_sent: Option<&'p Rule>,
        /// The first rule for the lenient interpretation: decoded, case-insensitive, without a
        /// slash at the end.
        lenient: Option<&'p Rule>,
    },
    /// No rule matches the path.
    NoRuleForPath,
    /// Rules match the path, but not the method.
    NoRuleForMethod {
        /// The methods of these rules.
        methods: Vec<&'p str>,
    },
    /// The token lacks scopes.
    MissingScopes {
        /// The rule that requires them.
        rule: &'p Rule,
        /// The scopes that the token lacks.
        missing: Vec<&'p str>,
    },
    /// The token has none of the required roles.
    MissingRole {
        /// The rule that requires one of them.
        rule: &'p Rule,
    },
    /// A path parameter differs from the claim that it must equal, or the token lacks the claim.
    ParameterDiffers {
        /// The rule that binds the parameter to the claim.
        rule: &'p Rule,
        /// The parameter's name.
        parameter: &'p str,
        /// The claim.
        claim: Claim,
    },
}

impl<'p> Refusal<'p> {
    /// Returns the rule that matched the request, if one did.
    pub fn rule(&self) -> Option<&'p Rule> {
        match self {
            Self::MissingScopes { rule, .. }
            | Self::MissingRole { rule }
            | Self::ParameterDiffers { rule, .. } => Some(rule),
            _ => None,
        }
    }

    /// Returns the `scope` of an `insufficient_scope` challenge (RFC 6750 section 3): all scopes
    /// that the rule requires, separated by spaces. Returns `None` if the reason is not a missing
    /// scope.
    pub fn scope(&self) -> Option<String> {
        match self {
            Self::MissingScopes { rule, .. } => Some(rule.scopes().join(" ")),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnsafePath(reason) => write!(f, "the path is unsafe, whatever the rules are: {reason}"),
            Self::AmbiguousPath { as_sent, lenient } => {
                write!(
                    f,
                    "the path is ambiguous: as sent it matches {}, but without encoding, case and the slash at the \
                     end it matches {}",
                    Matched(*as_sent),
                    Matched(*lenient)
                )
            }
            Self::NoRuleForPath => f.write_str("no rule matches this path"),
            Self::NoRuleForMethod { methods } => {
                write!(f, "no rule matches this method; the path has rules for {}", methods.join(", "))
            }
            Self::MissingScopes { rule, missing } => {
                write!(f, "line {}: the token lacks scope {}", rule.line(), missing.join(" "))
            }
            Self::MissingRole { rule } => {
                write!(f, "line {}: the token has none of the roles {}", rule.line(), rule.roles().join(" "))
            }
            Self::ParameterDiffers { rule, parameter, claim } => {
                let claim = claim.name();
                write!(f, "line {}: {{{parameter}}} differs from the token's {claim}", rule.line())
            }
        }
    }
}

impl std::error::Error for Refusal<'_> {}

struct Matched<'p>(Option<&'p Rule>);

impl fmt::Display for Matched<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(rule) => write!(f, "{} (line {})", rule.path(), rule.line()),
            None => f.write_str("no rule"),
        }
    }
}
