//! Clients: the record and its rules.

use std::fmt;
use std::str::FromStr;

use countersign_verify::Timestamp;
use countersign_verify::claims::{ROLE_RULE, is_role, is_scope_token};
use serde::{Deserialize, Serialize};

use crate::credentials::client_secret::ClientSecret;
use crate::records::Lifetimes;
use crate::records::brand::{ANY_BRAND, is_brand_key};
use crate::records::claim_name::ClaimName;
use crate::records::principal::{self, Username};
use crate::records::validation::{BRAND_RULE, MAX_ROLE_BYTES, Problems, RecordField, RecordProblem};
use crate::store::table::{CLIENTS, Record};

/// A client, as stored in the `clients` table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// The client's identifier (RFC 6749 section 2.2).
    pub client_id: String,
    /// A name for people to read.
    pub name: String,
    /// The secrets: up to [`MAX_SECRETS`], so that one can be replaced without downtime.
    pub secrets: Vec<ClientSecret>,
    /// The grants that it may use at the token endpoint.
    pub grant_types: Vec<GrantType>,
    /// Every scope that it may ask for.
    pub scopes: Vec<String>,
    /// The scopes that it gets when it asks for none; all its scopes where not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_scopes: Option<Vec<String>>,
    /// The roles of its `client_credentials` tokens.
    pub roles: Vec<String>,
    /// The brands it serves; [`ANY_BRAND`] for all.
    pub brands: Vec<String>,
    /// The usernames of the operators on whose behalf it may act.
    pub operators: Vec<String>,
    /// `client_credentials` must name an operator.
    pub require_operator: bool,
    /// The APIs its tokens may be meant for; the first is the default.
    pub audiences: Vec<String>,
    /// Lifetime of its access tokens in seconds.
    pub access_ttl: u64,
    /// Lifetime of its refresh tokens in seconds, counted from the login.
    pub refresh_ttl: u64,
    /// For how long a refresh token may stay unused, in seconds; without a limit where not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_idle: Option<u64>,
    /// The failed logins from one address, over all names, after which further ones through this client must wait; 0
    /// switches the counter off. The deployment's limit where not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_login_failures: Option<u32>,
    /// The claim with the username in the tokens of its users and operators; none where not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username_claim: Option<ClaimName>,
    /// The `typ` header of its access tokens.
    pub typ: AccessTokenType,
    /// A disabled client is refused.
    pub enabled: bool,
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

impl Record for Client {
    const TABLE: &'static str = CLIENTS;
    const KEY: &'static str = "client_id";

    fn key(&self) -> String {
        self.client_id.clone()
    }

    fn version(&mut self) -> &mut u64 {
        &mut self.version
    }
}

/// The `typ` header of an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AccessTokenType {
    /// The type that RFC 9068 section 2.1 requires.
    #[default]
    #[serde(rename = "at+jwt")]
    AtJwt,
    /// The type for verifiers that accept no other, such as Spring's default one.
    #[serde(rename = "JWT")]
    Jwt,
}

/// A grant type by its wire name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// RFC 6749 section 4.4, on behalf of an operator where one is named.
    ClientCredentials,
    /// RFC 6749 section 4.3: a user of a brand.
    Password,
    /// The password grant for an operator.
    OperatorPassword,
    /// RFC 6749 section 6.
    RefreshToken,
}

impl AccessTokenType {
    /// The value of `typ`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AtJwt => "at+jwt",
            Self::Jwt => "JWT",
        }
    }
}

impl GrantType {
    /// Every grant type, in the order of the metadata.
    pub const ALL: [Self; 4] =
        [Self::ClientCredentials, Self::Password, Self::OperatorPassword, Self::RefreshToken];

    /// The value of `grant_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::Password => "password",
            Self::OperatorPassword => "operator_password",
            Self::RefreshToken => "refresh_token",
        }
    }
}

impl fmt::Display for GrantType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for GrantType {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|grant| grant.as_str() == value)
            .ok_or_else(|| format!("no such grant; there are {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

/// The lifetime of an access token where a client sets none, in seconds.
pub const DEFAULT_ACCESS_TTL: u64 = 3600;
/// The lifetime of a refresh token where a client sets none, in seconds.
pub const DEFAULT_REFRESH_TTL: u64 = 30 * 24 * 3600;
/// The most secrets of a client.
pub const MAX_SECRETS: usize = 2;
/// With the limit on roles this keeps every token, refresh tokens included, below
/// [`countersign_verify::jws::MAX_TOKEN_BYTES`]. The limit on access tokens is
/// [`ClientRules`](crate::tokens::ClientRules)'.
const MAX_SCOPE_BYTES: usize = 4096;

impl Client {
    /// A new, enabled client without secrets, grants and rights; its tokens live for [`DEFAULT_ACCESS_TTL`] and
    /// [`DEFAULT_REFRESH_TTL`].
    pub fn new(client_id: impl Into<String>, now: Timestamp) -> Self {
        let client_id = client_id.into();
        Self {
            name: client_id.clone(),
            client_id,
            secrets: Vec::new(),
            grant_types: Vec::new(),
            scopes: Vec::new(),
            default_scopes: None,
            roles: Vec::new(),
            brands: Vec::new(),
            operators: Vec::new(),
            require_operator: false,
            audiences: Vec::new(),
            access_ttl: DEFAULT_ACCESS_TTL,
            refresh_ttl: DEFAULT_REFRESH_TTL,
            refresh_idle: None,
            max_login_failures: None,
            username_claim: None,
            typ: AccessTokenType::default(),
            enabled: true,
            created: now,
            updated: now,
            version: 1,
            imported: None,
        }
    }

    /// Every rule that the record breaks by itself. [`ClientRules`](crate::tokens::ClientRules)
    /// adds those for its tokens.
    pub(crate) fn problems(&self, limits: Lifetimes) -> Vec<RecordProblem> {
        let mut problems = Problems::default();
        problems.unless(is_client_id(&self.client_id), RecordProblem::InvalidClientId);
        problems.unless(is_name(&self.name), RecordProblem::InvalidName);
        problems
            .unless(self.secrets.len() <= MAX_SECRETS, RecordProblem::TooManySecrets { max: MAX_SECRETS });
        for (field, ttl, max) in [
            (RecordField::AccessTtl, Some(self.access_ttl), limits.access),
            (RecordField::RefreshTtl, Some(self.refresh_ttl), limits.refresh),
            (RecordField::RefreshIdle, self.refresh_idle, limits.refresh),
        ] {
            let Some(ttl) = ttl else { continue };
            problems.unless((1..=max).contains(&ttl), RecordProblem::LifetimeOutOfBounds { field, max });
        }
        self.check_grants(&mut problems);
        self.check_lists(&mut problems);
        problems.0
    }

    fn check_grants(&self, problems: &mut Problems) {
        let has = |grant| self.grant_types.contains(&grant);
        let gives_refresh_tokens = has(GrantType::Password) || has(GrantType::OperatorPassword);
        let is_repeated = |(at, grant)| self.grant_types[..at].contains(grant);
        problems.unless(!self.grant_types.iter().enumerate().any(is_repeated), RecordProblem::RepeatedGrant);
        problems.unless(!self.grant_types.is_empty(), RecordProblem::NoGrant);
        problems.unless(
            !has(GrantType::Password) || !self.brands.is_empty(),
            RecordProblem::PasswordGrantWithoutBrand,
        );
        problems.unless(
            !has(GrantType::RefreshToken) || gives_refresh_tokens,
            RecordProblem::RefreshGrantWithoutLogin,
        );
        problems.unless(
            !self.require_operator || !self.operators.is_empty(),
            RecordProblem::RequiredOperatorWithoutOperators,
        );
    }

    fn check_lists(&self, problems: &mut Problems) {
        let is_brand = |brand: &str| brand == ANY_BRAND || is_brand_key(brand);
        let is_operator =
            |operator: &str| Username::parse(operator).is_ok_and(|username| username.as_str() == operator);
        let is_known_scope = |scope: &str| self.scopes.iter().any(|known| known == scope);
        let default_scopes = self.default_scopes.as_deref().unwrap_or_default();
        problems.check_list(RecordField::Scope, &self.scopes, SCOPE_RULE, is_scope_token);
        problems.check_list(
            RecordField::DefaultScope,
            default_scopes,
            "not one of the client's scopes",
            is_known_scope,
        );
        problems.check_list(RecordField::Role, &self.roles, ROLE_RULE, is_role);
        problems.check_list(RecordField::Brand, &self.brands, BRAND_RULE, is_brand);
        problems.check_list(RecordField::Operator, &self.operators, "a username in lower case", is_operator);
        problems.check_list(RecordField::Audience, &self.audiences, AUDIENCE_RULE, is_audience);
        for (field, list, max_bytes) in [
            (RecordField::Scope, &self.scopes, MAX_SCOPE_BYTES),
            (RecordField::Role, &self.roles, MAX_ROLE_BYTES),
        ] {
            problems.unless(list.join(" ").len() <= max_bytes, RecordProblem::TooLong { field, max_bytes });
        }
        let has_wildcard = self.brands.iter().any(|brand| brand == ANY_BRAND);
        problems.unless(self.brands.len() <= 1 || !has_wildcard, RecordProblem::WildcardBesideBrands);
        problems.unless(!self.audiences.is_empty(), RecordProblem::NoAudience);
    }

    /// The scopes of a request that names none.
    pub(crate) fn default_scopes(&self) -> &[String] {
        self.default_scopes.as_ref().unwrap_or(&self.scopes)
    }
}

const SCOPE_RULE: &str = "printable ASCII without space, '\"' and '\\' (RFC 6749 section 3.3)";
const AUDIENCE_RULE: &str = "1 to 255 printable ASCII characters without space";

fn is_name(value: &str) -> bool {
    value.len() <= 200 && !value.chars().any(char::is_control)
}

/// A client's id: 1 to 128 printable ASCII characters without space and `:`, not starting as the id of a user or an
/// operator does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientId(String);

/// The text cannot be a client's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", RecordProblem::InvalidClientId)]
pub struct InvalidClientId;

impl ClientId {
    /// Parses a client's id.
    pub fn parse(text: &str) -> Result<Self, InvalidClientId> {
        if is_client_id(text) { Ok(Self(text.to_owned())) } else { Err(InvalidClientId) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_client_id(value: &str) -> bool {
    // RFC 9700 section 4.15: a client whose id is a user's `sub` could impersonate that user.
    let taken =
        [principal::USER_ID_PREFIX, principal::OPERATOR_ID_PREFIX].iter().any(|p| value.starts_with(p));
    (1..=128).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic() && b != b':') && !taken
}

fn is_audience(value: &str) -> bool {
    (1..=255).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic())
}
