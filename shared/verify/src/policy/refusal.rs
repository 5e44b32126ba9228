//! Why a request is refused.

use std::fmt;

use super::path::UnsafePath;
use super::rule::{Claim, Rule};

/// Why a policy refuses a request. In words it is for the log and for whoever writes the policy: it names rules and their
/// lines, and repeats nothing of the request or the token. A caller is told 403 and, where there is one, the
/// [`scope`](Self::scope).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal<'p> {
    /// No path like this is judged, whatever the rules say.
    UnsafePath(UnsafePath),
    /// As it was sent the path reaches other rules than in the loosest reading of it.
    AmbiguousPath {
        /// The first rule that it reaches as it was sent.
        as_sent: Option<&'p Rule>,
        /// The first rule that it reaches decoded, without regard to case and without a slash at its end.
        loosest: Option<&'p Rule>,
    },
    /// No rule names such a path.
    NoRuleForPath,
    /// Rules name the path, but not with this method.
    NoRuleForMethod {
        /// The methods that they name.
        methods: Vec<&'p str>,
    },
    /// The token lacks scopes.
    MissingScopes {
        /// The rule that asks for them.
        rule: &'p Rule,
        /// Those that the token lacks.
        missing: Vec<&'p str>,
    },
    /// The token has none of the roles.
    MissingRole {
        /// The rule that asks for one of them.
        rule: &'p Rule,
    },
    /// A path parameter is not what a claim says, or the token does not have the claim.
    ParameterDiffers {
        /// The rule that binds them.
        rule: &'p Rule,
        /// The parameter's name.
        parameter: &'p str,
        /// The claim.
        claim: Claim,
    },
}

impl<'p> Refusal<'p> {
    /// The rule that was for the request, where one was.
    pub fn rule(&self) -> Option<&'p Rule> {
        match self {
            Self::MissingScopes { rule, .. }
            | Self::MissingRole { rule }
            | Self::ParameterDiffers { rule, .. } => Some(rule),
            _ => None,
        }
    }

    /// The `scope` of an `insufficient_scope` challenge (RFC 6750 section 3): all scopes that the rule asks for, separated
    /// by spaces. None where something else than scopes was missing.
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
            Self::UnsafePath(reason) => write!(f, "such a path is refused whatever the rules say: {reason}"),
            Self::AmbiguousPath { as_sent, loosest } => {
                write!(
                    f,
                    "the path is ambiguous: as it was sent it is for {}, read without regard to encoding, case and a \
                     slash at the end it is for {}",
                    Reached(*as_sent),
                    Reached(*loosest)
                )
            }
            Self::NoRuleForPath => f.write_str("no rule is for this path"),
            Self::NoRuleForMethod { methods } => {
                write!(f, "no rule is for this method; the path has rules for {}", methods.join(", "))
            }
            Self::MissingScopes { rule, missing } => {
                write!(f, "line {}: the token lacks scope {}", rule.line(), missing.join(" "))
            }
            Self::MissingRole { rule } => {
                write!(f, "line {}: the token has none of the roles {}", rule.line(), rule.roles().join(" "))
            }
            Self::ParameterDiffers { rule, parameter, claim } => {
                let claim = claim.name();
                write!(f, "line {}: {{{parameter}}} is not what the token's {claim} says", rule.line())
            }
        }
    }
}

impl std::error::Error for Refusal<'_> {}

struct Reached<'p>(Option<&'p Rule>);

impl fmt::Display for Reached<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(rule) => write!(f, "{} (line {})", rule.path(), rule.line()),
            None => f.write_str("no rule"),
        }
    }
}
