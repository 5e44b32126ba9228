//! One rule: the requests that it covers, and the conditions for the caller.

use super::path::decode;
use super::refusal::Refusal;
use crate::Claims;

/// A `[[rule]]` of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub(super) line: usize,
    pub(super) methods: Vec<String>,
    pub(super) path: String,
    pub(super) segments: Vec<Segment>,
    pub(super) scopes: Vec<String>,
    pub(super) roles: Vec<String>,
}

/// One segment of a rule's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Fixed text: letters, digits and punctuation that needs no encoding. Empty if the path ends
    /// in a slash.
    Literal(String),
    /// `{name}`: one segment with any text.
    Parameter {
        /// The name, without the braces.
        name: String,
        /// The claim that the segment must equal, if the rule binds it to one.
        equal: Option<Claim>,
    },
    /// `{*name}`: the rest of the path, at least one character.
    CatchAll {
        /// The name, without the braces and the asterisk.
        name: String,
    },
}

/// A claim to which a path parameter can be bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// `sub`
    Sub,
    /// `client_id`
    ClientId,
    /// `operator`
    Operator,
    /// `brandKey`
    BrandKey,
}

impl Claim {
    pub(super) const ALL: [Self; 4] = [Self::Sub, Self::ClientId, Self::Operator, Self::BrandKey];

    /// Returns the claim's name in the token and in the policy.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sub => "sub",
            Self::ClientId => "client_id",
            Self::Operator => "operator",
            Self::BrandKey => "brandKey",
        }
    }

    /// Returns the claim's value in a token, or `None` if the token lacks it.
    pub fn value_in(self, claims: &Claims) -> Option<&str> {
        match self {
            Self::Sub => Some(&claims.sub),
            Self::ClientId => Some(&claims.client_id),
            Self::Operator => claims.operator.as_deref(),
            Self::BrandKey => claims.brand_key.as_deref(),
        }
    }
}

impl Rule {
    /// Returns the line of the `[[rule]]`, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Returns the methods that the rule covers; at least one.
    pub fn methods(&self) -> &[String] {
        &self.methods
    }

    /// Returns the pattern of the paths that the rule covers, as it is written in the file.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the path's segments. A slash, followed by the segments joined by slashes, gives the
    /// path. The path `/` has one empty literal.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Returns the scopes that a caller needs, all of them. May be empty.
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// Returns the roles of which a caller needs one. If empty, no role is needed.
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// Returns the path parameters that must equal a claim, each with its claim.
    pub fn equal(&self) -> impl Iterator<Item = (&str, Claim)> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Parameter { name, equal: Some(claim) } => Some((name.as_str(), *claim)),
            _ => None,
        })
    }

    /// Returns true if a caller has the required scopes and role. It does not check the path's
    /// parameters, which takes a request ([`Policy::decide`](super::Policy::decide)).
    pub fn permits(&self, claims: &Claims) -> bool {
        self.missing_scopes(claims).next().is_none() && self.has_role(claims)
    }

    /// Checks the caller of a request that the rule covers.
    pub(super) fn authorize<'v>(
        &self,
        claims: &Claims,
        parameter: impl Fn(&str) -> Option<&'v str>,
    ) -> Result<(), Refusal<'_>> {
        if self.missing_scopes(claims).next().is_some() {
            return Err(Refusal::MissingScopes {
                rule: self,
                missing: self.missing_scopes(claims).collect(),
            });
        }
        if !self.has_role(claims) {
            return Err(Refusal::MissingRole { rule: self });
        }
        for (name, claim) in self.equal() {
            // A value that cannot be decoded was refused before; here it equals nothing.
            let sent = parameter(name).and_then(|value| decode(value).ok());
            if sent.is_none() || sent.as_deref() != claim.value_in(claims) {
                return Err(Refusal::ParameterDiffers { rule: self, parameter: name, claim });
            }
        }
        Ok(())
    }

    fn missing_scopes(&self, claims: &Claims) -> impl Iterator<Item = &str> {
        self.scopes.iter().map(String::as_str).filter(|scope| !claims.has_scope(scope))
    }

    fn has_role(&self, claims: &Claims) -> bool {
        self.roles.is_empty() || self.roles.iter().any(|role| claims.has_role(role))
    }
}
