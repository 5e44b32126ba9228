//! Scope (RFC 6749 section 3.3).

use std::fmt;

/// A request may ask for no more scopes than this, and a client may have no more.
pub(crate) const MAX_SCOPES: usize = 100;

/// Distinct scopes in the order in which they were named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scope(Vec<String>);

/// The value is not a list of scope tokens, or too long a one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MalformedScope;

impl Scope {
    /// Reads scope tokens separated by single spaces. Repeats collapse.
    pub(crate) fn parse(value: &str) -> Result<Self, MalformedScope> {
        let mut scopes: Vec<String> = Vec::new();
        for token in value.split(' ') {
            if !is_scope_token(token) {
                return Err(MalformedScope);
            }
            if !scopes.iter().any(|known| known == token) {
                if scopes.len() == MAX_SCOPES {
                    return Err(MalformedScope);
                }
                scopes.push(token.to_owned());
            }
        }
        Ok(Self(scopes))
    }

    /// These scopes, taken as they stand in a record.
    pub(crate) fn of(scopes: &[String]) -> Self {
        Self(scopes.to_vec())
    }

    pub(crate) fn is_within(&self, allowed: &[String]) -> bool {
        self.0.iter().all(|scope| allowed.contains(scope))
    }

    pub(crate) fn is_subset_of(&self, other: &Self) -> bool {
        self.is_within(&other.0)
    }

    /// Those of these scopes that `allowed` has too.
    pub(crate) fn shrink_to(&self, allowed: &[String]) -> Self {
        Self(self.0.iter().filter(|scope| allowed.contains(scope)).cloned().collect())
    }

    /// The value of a `scope` member; none where there are no scopes.
    pub(crate) fn to_member(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.to_string())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )`
pub(crate) fn is_scope_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_collapse_and_what_is_no_scope_token_is_refused() {
        assert_eq!(Scope::parse("b a b").unwrap().to_string(), "b a");
        for malformed in ["", " a", "a ", "a  b", "a\"", "a\\b", "ä", "a\tb"] {
            assert_eq!(Scope::parse(malformed), Err(MalformedScope), "{malformed:?}");
        }
        let many = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        assert!(Scope::parse(&many(MAX_SCOPES)).is_ok());
        assert_eq!(Scope::parse(&many(MAX_SCOPES + 1)), Err(MalformedScope));
    }
}
