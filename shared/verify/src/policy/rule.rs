//! One rule: for which requests, and what it asks of the caller.

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

/// A part of a rule's path between slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// This text: letters, digits and punctuation that needs no encoding. Empty where the path ends in a slash.
    Literal(String),
    /// `{name}`: any one segment.
    Parameter {
        /// The name, without the braces.
        name: String,
        /// The claim that it must equal, where the rule binds it to one.
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

    /// Its name in the token and in the policy.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sub => "sub",
            Self::ClientId => "client_id",
            Self::Operator => "operator",
            Self::BrandKey => "brandKey",
        }
    }

    /// Its value in a token; none where the token does not have it.
    pub fn of(self, claims: &Claims) -> Option<&str> {
        match self {
            Self::Sub => Some(&claims.sub),
            Self::ClientId => Some(&claims.client_id),
            Self::Operator => claims.operator.as_deref(),
            Self::BrandKey => claims.brand_key.as_deref(),
        }
    }
}

impl Rule {
    /// The line of its `[[rule]]`, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The methods that it is for; at least one.
    pub fn methods(&self) -> &[String] {
        &self.methods
    }

    /// The pattern of the paths that it is for, as the file has it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path's segments. Joined by slashes, behind a slash, they are the path; that of `/` is one empty literal.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The scopes that a caller needs, all of them; none asks for no scope.
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// The roles of which a caller needs one; none asks for no role.
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// The path parameters that must equal a claim, with the claim.
    pub fn equal(&self) -> impl Iterator<Item = (&str, Claim)> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Parameter { name, equal: Some(claim) } => Some((name.as_str(), *claim)),
            _ => None,
        })
    }

    /// Whether a caller has the scopes and the role asked for. The path's parameters are another question, which only a
    /// request can answer ([`Policy::decide`](super::Policy::decide)).
    pub fn permits(&self, claims: &Claims) -> bool {
        self.missing_scopes(claims).next().is_none() && self.has_role(claims)
    }

    /// Judges a request that the rule is for.
    pub(super) fn check<'v>(
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
            // What cannot be decoded was refused before; here it equals nothing.
            let sent = parameter(name).and_then(|value| decode(value).ok());
            if sent.is_none() || sent.as_deref() != claim.of(claims) {
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
