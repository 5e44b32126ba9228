//! Principals: users, who belong to one brand, and operators, who serve several.

use std::fmt;
use std::time::Duration;

use countersign_verify::Timestamp;
use countersign_verify::claims::{ROLE_RULE, is_role};
use precis_profiles::UsernameCaseMapped;
use precis_profiles::precis_core::profile::PrecisFastInvocation;
use serde::{Deserialize, Serialize};

use crate::records::brand::{self, ANY_BRAND, is_brand_key};

use crate::credentials::password::{self, PasswordError};
use crate::credentials::spring::{self, SpringValue};
use crate::random::{Random, RandomError};
use crate::records::validation::{BRAND_RULE, MAX_ROLE_BYTES, Problems, RecordField, RecordProblem};
use crate::store::table::{PRINCIPALS, Record};

/// The prefix of a user's stable id.
pub(crate) const USER_ID_PREFIX: &str = "usr_";
/// The prefix of an operator's stable id.
pub(crate) const OPERATOR_ID_PREFIX: &str = "opr_";

/// The key of a principal's record: `user#brand#username` or `operator#username`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrincipalKey {
    /// A user, unique within its brand.
    User {
        /// The brand.
        brand: String,
        /// The username, as [`Username`] prepares it.
        username: String,
    },
    /// An operator, unique in the deployment.
    Operator {
        /// The username, as [`Username`] prepares it.
        username: String,
    },
}

impl PrincipalKey {
    /// Parses a key. A brand has no `#`, so the second one ends it whatever the username contains.
    pub fn parse(key: &str) -> Option<Self> {
        match key.split_once('#')? {
            ("operator", username) => Some(Self::Operator { username: username.into() }),
            ("user", rest) => {
                let (brand, username) = rest.split_once('#')?;
                Some(Self::User { brand: brand.into(), username: username.into() })
            }
            _ => None,
        }
    }

    /// The username.
    pub fn username(&self) -> &str {
        match self {
            Self::User { username, .. } | Self::Operator { username } => username,
        }
    }
}

impl fmt::Display for PrincipalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User { brand, username } => write!(f, "user#{brand}#{username}"),
            Self::Operator { username } => write!(f, "operator#{username}"),
        }
    }
}

/// The text is not a username by RFC 8265 section 3.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a username: letters, digits and printable ASCII without spaces, at most 255 bytes (RFC 8265)")]
pub struct InvalidUsername;

/// A username as it is stored and compared: prepared by the `UsernameCaseMapped` profile of RFC 8265.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username(String);

impl Username {
    /// Prepares a username that a person typed.
    pub fn parse(typed: &str) -> Result<Self, InvalidUsername> {
        let prepared = UsernameCaseMapped::enforce(typed).map_err(|_| InvalidUsername)?;
        // The prepared form must be a username itself, or the name that a list shows could not be typed.
        let again = UsernameCaseMapped::enforce(prepared.as_ref()).map_err(|_| InvalidUsername)?;
        if again != prepared || prepared.len() > 255 {
            return Err(InvalidUsername);
        }
        Ok(Self(prepared.into_owned()))
    }

    /// The username as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The username as text.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A user or an operator, as stored in the `principals` table.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// [`PrincipalKey`] as a string.
    #[serde(rename = "principal")]
    key: String,
    /// The `sub` of its tokens: random and never reused, so that a username given to another person brings no rights.
    pub id: String,
    password_hash: String,
    /// The `roles` of its tokens.
    pub roles: Vec<String>,
    /// The brands that an operator serves; [`ANY_BRAND`] for all. A user has the brand of its key.
    pub brands: Vec<String>,
    /// A disabled principal is refused.
    pub enabled: bool,
    /// Refresh tokens that carry another value are refused. A password change, disabling and a logout move it.
    pub sessions_valid_from: Timestamp,
    /// The time at which the record was created.
    pub created: Timestamp,
    /// The time of its last change.
    pub updated: Timestamp,
    /// The version for optimistic locking.
    pub version: u64,
    /// The version that an import wrote. While it is the current one, another import may replace the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<u64>,
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal").field("key", &self.key).field("id", &self.id).finish_non_exhaustive()
    }
}

impl Record for Principal {
    const TABLE: &'static str = PRINCIPALS;
    const KEY: &'static str = "principal";

    fn key(&self) -> String {
        self.key.clone()
    }

    fn version(&mut self) -> &mut u64 {
        &mut self.version
    }
}

impl Principal {
    /// A new principal. A user's brand is the one of its key; `brands` apply to an operator.
    pub fn new(
        key: &PrincipalKey,
        password: &str,
        roles: Vec<String>,
        brands: Vec<String>,
        now: Timestamp,
        random: &Random,
    ) -> Result<Self, PasswordError> {
        Ok(Self::with_hash(key, password::hash_new(password, random)?, roles, brands, now, random)?)
    }

    /// A new principal without a password: it cannot log in until it has one.
    pub fn without_password(
        key: &PrincipalKey,
        roles: Vec<String>,
        brands: Vec<String>,
        now: Timestamp,
        random: &Random,
    ) -> Result<Self, RandomError> {
        Self::with_hash(key, String::new(), roles, brands, now, random)
    }

    fn with_hash(
        key: &PrincipalKey,
        password_hash: String,
        roles: Vec<String>,
        brands: Vec<String>,
        now: Timestamp,
        random: &Random,
    ) -> Result<Self, RandomError> {
        let (prefix, brands) = match key {
            PrincipalKey::User { brand, .. } => (USER_ID_PREFIX, vec![brand.clone()]),
            PrincipalKey::Operator { .. } => (OPERATOR_ID_PREFIX, brands),
        };
        Ok(Self {
            key: key.to_string(),
            id: format!("{prefix}{}", random.id()?),
            password_hash,
            roles,
            brands,
            enabled: true,
            sessions_valid_from: now,
            created: now,
            updated: now,
            version: 1,
            imported: None,
        })
    }

    /// Sets its password and ends its sessions.
    pub fn set_password(
        &mut self,
        password: &str,
        now: Timestamp,
        random: &Random,
    ) -> Result<(), PasswordError> {
        self.password_hash = password::hash_new(password, random)?;
        self.end_sessions(now);
        Ok(())
    }

    /// Sets the password that Spring stored as `value`, and ends its sessions.
    pub fn set_imported_password(
        &mut self,
        value: &SpringValue,
        now: Timestamp,
        random: &Random,
    ) -> Result<(), PasswordError> {
        self.password_hash = value.to_stored(random)?;
        self.end_sessions(now);
        Ok(())
    }

    /// Copies the password hash of another version of the same record.
    pub fn copy_password(&mut self, other: &Self) {
        self.password_hash.clone_from(&other.password_hash);
    }

    /// Compares the stored password hashes.
    pub fn has_password_of(&self, other: &Self) -> bool {
        self.password_hash == other.password_hash
    }

    /// Disables it and ends its sessions.
    pub fn disable(&mut self, now: Timestamp) {
        self.enabled = false;
        self.end_sessions(now);
    }

    /// Ends its sessions: every refresh token issued so far is refused from now on. The moment always moves, because
    /// a session is valid for as long as `sessions_valid_from` equals the value that it began under.
    pub fn end_sessions(&mut self, now: Timestamp) {
        self.sessions_valid_from = now.max(self.sessions_valid_from.plus(Duration::from_millis(1)));
    }

    /// Every rule that the record breaks; none if it may be stored.
    pub fn problems(&self) -> Vec<RecordProblem> {
        let mut problems = Problems::default();
        // A user logs in to the brand of its key, which is never the wildcard.
        let is_operator = matches!(PrincipalKey::parse(&self.key), Some(PrincipalKey::Operator { .. }));
        let is_brand = |brand: &str| (is_operator && brand == ANY_BRAND) || is_brand_key(brand);
        problems.check_list(RecordField::Brand, &self.brands, BRAND_RULE, is_brand);
        problems.check_list(RecordField::Role, &self.roles, ROLE_RULE, is_role);
        problems.unless(!self.brands.is_empty(), RecordProblem::NoBrand);
        problems.unless(
            self.roles.join(" ").len() <= MAX_ROLE_BYTES,
            RecordProblem::TooLong { field: RecordField::Role, max_bytes: MAX_ROLE_BYTES },
        );
        problems.0
    }

    /// Reports whether its id has the form of the generated ones. A token whose `sub` has the form
    /// of a client's id, or of the other kind of principal, could pass for one of theirs (RFC 9700
    /// section 4.15).
    pub fn has_generated_id(&self) -> bool {
        let prefix = match PrincipalKey::parse(&self.key) {
            Some(PrincipalKey::User { .. }) => USER_ID_PREFIX,
            Some(PrincipalKey::Operator { .. }) => OPERATOR_ID_PREFIX,
            None => return false,
        };
        self.id.strip_prefix(prefix).is_some_and(Random::is_id)
    }

    /// Reports whether the stored password can be verified, and within the cost limits of a function.
    pub fn has_verifiable_password(&self) -> bool {
        spring::is_verifiable(&self.password_hash)
    }

    /// Reports whether the stored password was made from `value`.
    pub fn holds(&self, value: &SpringValue) -> bool {
        value.matches_stored(&self.password_hash)
    }

    /// Reports whether verifying the stored password takes so long that a login is noticeably slow.
    pub fn has_costly_password(&self) -> bool {
        spring::is_costly(&self.password_hash)
    }

    /// Reports whether it may act for `brand`. A token without a brand is valid for every brand, so only a principal of
    /// all brands may have one.
    pub(crate) fn serves(&self, brand: Option<&str>) -> bool {
        match brand {
            Some(brand) => brand::allows(&self.brands, brand),
            None => self.brands.iter().any(|brand| brand == ANY_BRAND),
        }
    }

    pub(crate) fn password_hash(&self) -> &str {
        &self.password_hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_are_compared_without_case_or_width_and_spaces_are_refused() {
        assert_eq!(Username::parse("Jane@Example.com").unwrap().as_str(), "jane@example.com");
        assert_eq!(Username::parse("ＪＡＮＥ").unwrap().as_str(), "jane");
        for refused in ["", "jane doe", "jane\u{0}", "\u{200b}"] {
            assert_eq!(Username::parse(refused), Err(InvalidUsername), "{refused:?}");
        }
    }

    #[test]
    fn a_hash_sign_in_a_username_moves_no_boundary() {
        let key = PrincipalKey::User { brand: "acme".into(), username: "a#b".into() };
        assert_eq!(PrincipalKey::parse(&key.to_string()), Some(key));
    }
}
