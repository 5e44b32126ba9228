//! The rules that client and principal records share, and the problems that they report.

use std::fmt;

/// A list in a record has no more items than this.
const MAX_ITEMS: usize = crate::records::scope::MAX_SCOPES;

/// A member of a record, named as the option of the command line that sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordField {
    /// A client's id.
    ClientId,
    /// A client's name.
    Name,
    /// A client's secrets.
    Secrets,
    /// The lifetime of access tokens.
    AccessTtl,
    /// The lifetime of refresh tokens.
    RefreshTtl,
    /// The longest time between two refreshes.
    RefreshIdle,
    /// The grant types.
    Grant,
    /// The switch that makes an operator mandatory.
    RequireOperator,
    /// The scopes.
    Scope,
    /// The scopes of a request that names none.
    DefaultScope,
    /// The roles.
    Role,
    /// The brands.
    Brand,
    /// The operators on whose behalf a client may act.
    Operator,
    /// The audiences.
    Audience,
}

impl fmt::Display for RecordField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientId => "client id",
            Self::Name => "name",
            Self::Secrets => "secrets",
            Self::AccessTtl => "access-ttl",
            Self::RefreshTtl => "refresh-ttl",
            Self::RefreshIdle => "refresh-idle",
            Self::Grant => "grant",
            Self::RequireOperator => "require-operator",
            Self::Scope => "scope",
            Self::DefaultScope => "default-scope",
            Self::Role => "role",
            Self::Brand => "brand",
            Self::Operator => "operator",
            Self::Audience => "audience",
        })
    }
}

/// A rule that a record breaks. `Display` is a sentence for the administrator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordProblem {
    /// The client's id is empty, too long, or holds a character or prefix that is not allowed.
    #[error(
        "client id: 1 to 128 printable ASCII characters without space and ':', not starting with usr_ or opr_"
    )]
    InvalidClientId,
    /// The name is too long or holds control characters.
    #[error("name: at most 200 characters, no control characters")]
    InvalidName,
    /// The client has too many secrets.
    #[error("secrets: at most {max}")]
    TooManySecrets {
        /// The most that it may have.
        max: usize,
    },
    /// A lifetime is zero or too long.
    #[error("{field}: between 1 and {max} seconds")]
    LifetimeOutOfBounds {
        /// `AccessTtl`, `RefreshTtl` or `RefreshIdle`.
        field: RecordField,
        /// The longest lifetime in seconds.
        max: u64,
    },
    /// The client has no grant type.
    #[error("grant: at least one is needed")]
    NoGrant,
    /// A grant type is listed twice.
    #[error("grant: one is given twice")]
    RepeatedGrant,
    /// The password grant needs a brand.
    #[error("grant password: users belong to a brand, so the client needs one")]
    PasswordGrantWithoutBrand,
    /// The refresh grant needs a grant that issues refresh tokens.
    #[error("grant refresh_token: only password and operator_password give refresh tokens")]
    RefreshGrantWithoutLogin,
    /// An operator is mandatory, but the client may act for none.
    #[error("require-operator: the client has no operators to name")]
    RequiredOperatorWithoutOperators,
    /// A list is too long.
    #[error("{field}: at most {max}")]
    TooManyItems {
        /// The list.
        field: RecordField,
        /// The most items that it may have.
        max: usize,
    },
    /// An item of a list breaks the list's rule.
    #[error("{field} {item:?}: {rule}")]
    InvalidItem {
        /// The list.
        field: RecordField,
        /// The item.
        item: String,
        /// The rule for every item of the list.
        rule: &'static str,
    },
    /// An item is listed twice.
    #[error("{field} {item:?}: given twice")]
    RepeatedItem {
        /// The list.
        field: RecordField,
        /// The item.
        item: String,
    },
    /// The items of a list, joined with spaces as in a token, are too long.
    #[error("{field}: together at most {max_bytes} bytes")]
    TooLong {
        /// `Scope` or `Role`.
        field: RecordField,
        /// The most bytes that they may have together.
        max_bytes: usize,
    },
    /// The wildcard is listed beside other brands.
    #[error("brand: '*' stands for all brands and goes alone")]
    WildcardBesideBrands,
    /// The principal has no brand.
    #[error("brand: at least one is needed")]
    NoBrand,
    /// The client has no audience.
    #[error("audience: at least one is needed; the first is the default")]
    NoAudience,
    /// An audience is the issuer's URL.
    #[error("audience {0:?}: the issuer's own URL; name the API that the tokens are meant for")]
    IssuerAsAudience(String),
    /// The largest access token of the client is too large for the headers that most servers
    /// accept.
    #[error(
        "scope: {0}; at most {max} are allowed: give the client fewer or shorter scopes",
        max = kib(MAX_ACCESS_TOKEN_BYTES)
    )]
    TokenTooLarge(LargestToken),
}

/// The largest access token that a client can obtain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LargestToken {
    pub(crate) bytes: usize,
}

impl fmt::Display for LargestToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the client's largest access token would have {}, counted with all its scopes, its longest audience, and \
             in a login with the {} of roles that a user or operator may have",
            kib(self.bytes),
            kib(MAX_ROLE_BYTES)
        )
    }
}

/// Formats a number of bytes, with one decimal unless it is a whole number of KiB.
fn kib(bytes: usize) -> String {
    match (bytes / 1024, bytes % 1024 * 10 / 1024) {
        (whole, 0) => format!("{whole} KiB"),
        (whole, tenths) => format!("{whole}.{tenths} KiB"),
    }
}

impl RecordProblem {
    /// The member of the record that breaks the rule.
    pub fn field(&self) -> RecordField {
        match self {
            Self::InvalidClientId => RecordField::ClientId,
            Self::InvalidName => RecordField::Name,
            Self::TooManySecrets { .. } => RecordField::Secrets,
            Self::NoGrant
            | Self::RepeatedGrant
            | Self::PasswordGrantWithoutBrand
            | Self::RefreshGrantWithoutLogin => RecordField::Grant,
            Self::RequiredOperatorWithoutOperators => RecordField::RequireOperator,
            Self::LifetimeOutOfBounds { field, .. }
            | Self::TooManyItems { field, .. }
            | Self::InvalidItem { field, .. }
            | Self::RepeatedItem { field, .. }
            | Self::TooLong { field, .. } => *field,
            Self::WildcardBesideBrands | Self::NoBrand => RecordField::Brand,
            Self::NoAudience | Self::IssuerAsAudience(_) => RecordField::Audience,
            Self::TokenTooLarge(_) => RecordField::Scope,
        }
    }
}

/// Collects a record's problems.
#[derive(Default)]
pub(crate) struct Problems(pub(crate) Vec<RecordProblem>);

impl Problems {
    pub(crate) fn unless(&mut self, condition: bool, problem: RecordProblem) {
        if !condition {
            self.0.push(problem);
        }
    }

    /// Reports a list that is too long, every item that breaks `rule`, and every repeated item.
    pub(crate) fn check_list(
        &mut self,
        field: RecordField,
        list: &[String],
        rule: &'static str,
        holds: impl Fn(&str) -> bool,
    ) {
        self.unless(list.len() <= MAX_ITEMS, RecordProblem::TooManyItems { field, max: MAX_ITEMS });
        for (at, item) in list.iter().enumerate() {
            if !holds(item) {
                self.0.push(RecordProblem::InvalidItem { field, item: item.clone(), rule });
            }
            if list[..at].contains(item) {
                self.0.push(RecordProblem::RepeatedItem { field, item: item.clone() });
            }
        }
    }
}

pub(crate) const BRAND_RULE: &str = "1 to 64 of A-Z a-z 0-9 . _ -";
pub(crate) const MAX_ROLE_BYTES: usize = 2048;
/// A larger access token does not fit into the header of a request to many servers.
pub(crate) const MAX_ACCESS_TOKEN_BYTES: usize = 8 * 1024;

/// Roles that take as much room in a token as any that a record may have: as many as it may have,
/// because each one adds its quotation marks.
pub(crate) fn largest_roles() -> Vec<String> {
    let bytes = MAX_ROLE_BYTES - (MAX_ITEMS - 1);
    let length = |n| bytes / MAX_ITEMS + usize::from(n < bytes % MAX_ITEMS);
    (0..MAX_ITEMS).map(|n| "r".repeat(length(n))).collect()
}

#[cfg(test)]
mod tests {
    use countersign_verify::claims::{ROLE_RULE, is_role};

    use super::*;

    #[test]
    fn a_problem_begins_with_the_name_of_its_field() {
        let mut problems = Problems::default();
        let list = ["a b".to_owned(), "a b".to_owned()];
        problems.check_list(RecordField::Role, &list, ROLE_RULE, is_role);
        problems.unless(false, RecordProblem::InvalidClientId);
        problems.unless(false, RecordProblem::PasswordGrantWithoutBrand);
        problems.unless(true, RecordProblem::NoAudience);
        problems.unless(false, RecordProblem::LifetimeOutOfBounds { field: RecordField::AccessTtl, max: 9 });
        let largest = LargestToken { bytes: 8_900 };
        problems.unless(false, RecordProblem::TokenTooLarge(largest));
        problems.unless(false, RecordProblem::IssuerAsAudience("https://issuer.example.com".into()));
        assert_eq!(problems.0.len(), 8);
        for problem in problems.0 {
            assert!(problem.to_string().starts_with(&problem.field().to_string()), "{problem}");
        }
    }

    #[test]
    fn no_roles_take_more_room_than_the_largest_ones() {
        let largest = largest_roles();
        assert_eq!((largest.len(), largest.join(" ").len()), (MAX_ITEMS, MAX_ROLE_BYTES));
        assert!(largest.iter().all(|role| is_role(role)));
    }
}
