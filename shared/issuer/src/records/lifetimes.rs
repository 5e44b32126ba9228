//! The longest lifetimes that tokens may have.

const DAY_SECONDS: u64 = 24 * 3600;

/// The longest lifetimes that any client may have, in seconds. They apply when a client is written and again when a
/// token is issued. Every signing key keeps those that it was made under and signs nothing that lives longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of an access token.
    pub access: u64,
    /// Of a refresh token, counted from the first of its family.
    pub refresh: u64,
}

impl Lifetimes {
    /// The shorter one of each pair.
    #[must_use]
    pub fn within(self, others: Self) -> Self {
        Self { access: self.access.min(others.access), refresh: self.refresh.min(others.refresh) }
    }
}

impl Default for Lifetimes {
    /// A day and ninety days.
    fn default() -> Self {
        Self { access: DAY_SECONDS, refresh: 90 * DAY_SECONDS }
    }
}
