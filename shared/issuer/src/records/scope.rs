//! Scope (RFC 6749 section 3.3).

use countersign_verify::claims::is_scope_token;

/// The most scopes of a request, and of a client.
pub(crate) const MAX_SCOPES: usize = 100;
// The text of `MalformedScope::TooMany` names it.
const _: () = assert!(MAX_SCOPES == 100);

/// Distinct scopes in the order in which they were named, separated by single spaces, as in a `scope` member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scope(String);

/// The reason why a text is no list of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MalformedScope {
    Spaces,
    Character,
    TooMany,
}

impl MalformedScope {
    /// A sentence for the caller.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Spaces => {
                "scope has a space too many: put one between two scopes, none at the start or the end"
            }
            Self::Character => "scope has a character that no scope may have (RFC 6749 section 3.3)",
            Self::TooMany => "scope lists more than 100 scopes",
        }
    }
}

impl Scope {
    /// Parses scope tokens separated by single spaces. Drops repeated ones.
    pub(crate) fn parse(value: &str) -> Result<Self, MalformedScope> {
        let mut scopes: Vec<&str> = Vec::new();
        for token in value.split(' ') {
            if token.is_empty() {
                return Err(MalformedScope::Spaces);
            }
            if !is_scope_token(token) {
                return Err(MalformedScope::Character);
            }
            if !scopes.contains(&token) {
                if scopes.len() == MAX_SCOPES {
                    return Err(MalformedScope::TooMany);
                }
                scopes.push(token);
            }
        }
        Ok(Self(scopes.join(" ")))
    }

    /// The scopes of a record, which were checked when it was written.
    pub(crate) fn from_record(scopes: &[String]) -> Self {
        Self(scopes.join(" "))
    }

    pub(crate) fn is_within(&self, allowed: &[String]) -> bool {
        self.tokens().all(|scope| allowed.iter().any(|known| known == scope))
    }

    pub(crate) fn is_subset_of(&self, other: &Self) -> bool {
        self.tokens().all(|scope| other.tokens().any(|known| known == scope))
    }

    /// The scopes that are also in `allowed`.
    pub(crate) fn intersection(&self, allowed: &[String]) -> Self {
        let left = self.tokens().filter(|scope| allowed.iter().any(|known| known == scope));
        Self(left.collect::<Vec<_>>().join(" "))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a `scope` member; `None` where there are no scopes.
    pub(crate) fn as_member(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(&self.0)
    }

    /// The value of a `scope` member; `None` where there are no scopes.
    pub(crate) fn into_member(self) -> Option<String> {
        (!self.0.is_empty()).then_some(self.0)
    }

    fn tokens(&self) -> impl Iterator<Item = &str> {
        self.as_member().into_iter().flat_map(|scopes| scopes.split(' '))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_scopes_are_dropped_and_malformed_ones_refused() {
        assert_eq!(Scope::parse("b a b").unwrap().as_member(), Some("b a"));
        for malformed in ["", " ", " a", "a ", "a  b"] {
            assert_eq!(Scope::parse(malformed), Err(MalformedScope::Spaces), "{malformed:?}");
        }
        for malformed in ["a\"", "a\\b", "ä", "a\tb", "a\u{a0}b"] {
            assert_eq!(Scope::parse(malformed), Err(MalformedScope::Character), "{malformed:?}");
        }
        let many = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        assert!(Scope::parse(&many(MAX_SCOPES)).is_ok());
        assert_eq!(Scope::parse(&many(MAX_SCOPES + 1)), Err(MalformedScope::TooMany));
    }
}
