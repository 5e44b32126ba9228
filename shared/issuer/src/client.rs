//! Clients: the record, and what a valid one looks like.

use std::fmt;
use std::str::FromStr;

use countersign_verify::Timestamp;
use serde::{Deserialize, Serialize};

use crate::brand::{ANY_BRAND, is_brand_key};
use crate::config::Lifetimes;
use crate::mint::AccessTokenType;
use crate::principal;
use crate::scope::{MAX_SCOPES, is_scope_token};
use crate::secret::ClientSecret;
use crate::store::{CLIENTS, Record};

/// A client, as the `clients` table keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// The client's identifier (RFC 6749 section 2.2).
    pub client_id: String,
    /// For people.
    pub name: String,
    /// Up to two, so that one can be replaced without downtime.
    pub secrets: Vec<ClientSecret>,
    /// What it may use at the token endpoint.
    pub grant_types: Vec<GrantType>,
    /// Every scope it may ask for.
    pub scopes: Vec<String>,
    /// What it gets when it asks for none; all its scopes where not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_scopes: Option<Vec<String>>,
    /// The roles of its own tokens (`client_credentials`).
    pub roles: Vec<String>,
    /// The brands it serves; [`ANY_BRAND`] for all.
    pub brands: Vec<String>,
    /// The usernames of the operators on whose behalf it may act.
    pub operators: Vec<String>,
    /// Whether `client_credentials` must name an operator.
    pub require_operator: bool,
    /// The APIs its tokens may be meant for; the first is the default.
    pub audiences: Vec<String>,
    /// Lifetime of its access tokens in seconds.
    pub access_ttl: u64,
    /// Lifetime of its refresh tokens in seconds, from the first of a family.
    pub refresh_ttl: u64,
    /// The `typ` header of its access tokens.
    pub typ: AccessTokenType,
    /// Whether it is let in.
    pub enabled: bool,
    /// When the record was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// The optimistic lock.
    pub version: u64,
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

/// A grant type by its wire name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// RFC 6749 section 4.4, on behalf of an operator where one is named.
    ClientCredentials,
    /// RFC 6749 section 4.3: a user of a brand.
    Password,
    /// The same for an operator.
    OperatorPassword,
    /// RFC 6749 section 6.
    RefreshToken,
}

impl GrantType {
    /// All of them, in the order in which the metadata lists them.
    pub const ALL: [Self; 4] = [
        Self::ClientCredentials,
        Self::Password,
        Self::OperatorPassword,
        Self::RefreshToken,
    ];

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
            .ok_or_else(|| {
                format!(
                    "no such grant; there are {}",
                    Self::ALL.map(Self::as_str).join(", ")
                )
            })
    }
}

/// A client may have this many secrets.
pub const MAX_SECRETS: usize = 2;
const MAX_NAMES: usize = 100;
/// Together with the roles' limit this keeps every token below [`countersign_verify::jws::MAX_TOKEN_BYTES`].
const MAX_SCOPE_BYTES: usize = 4096;
const MAX_ROLE_BYTES: usize = 2048;

impl Client {
    /// Everything that is wrong with the record, in words for the administrator; nothing where it may be stored.
    pub fn problems(&self, limits: Lifetimes) -> Vec<String> {
        let mut problems = Vec::new();
        let mut require = |condition: bool, problem: String| {
            if !condition {
                problems.push(problem);
            }
        };

        require(is_client_id(&self.client_id), CLIENT_ID_RULE.into());
        require(
            self.name.len() <= 200 && !self.name.chars().any(char::is_control),
            "name: at most 200 characters, no control characters".into(),
        );
        require(
            self.secrets.len() <= MAX_SECRETS,
            format!("secrets: at most {MAX_SECRETS}"),
        );
        require(
            !self.grant_types.is_empty(),
            "grant: at least one is needed".into(),
        );

        let lists = [
            ("scope", &self.scopes),
            ("role", &self.roles),
            ("brand", &self.brands),
            ("operator", &self.operators),
            ("audience", &self.audiences),
        ];
        for (what, list) in lists {
            require(
                list.len() <= MAX_NAMES.min(MAX_SCOPES),
                format!("{what}: at most {MAX_NAMES}"),
            );
            let repeated = list
                .iter()
                .enumerate()
                .find(|(at, name)| list[..*at].contains(name));
            require(
                repeated.is_none(),
                format!(
                    "{what}: {:?} is given twice",
                    repeated.map_or("", |(_, name)| name)
                ),
            );
        }
        for scope in &self.scopes {
            require(
                is_scope_token(scope),
                format!(
                    "scope {scope:?}: printable ASCII without space, '\"' and '\\' (RFC 6749 section 3.3)"
                ),
            );
        }
        require(
            self.scopes.join(" ").len() <= MAX_SCOPE_BYTES,
            format!("scope: together at most {MAX_SCOPE_BYTES} bytes"),
        );
        for scope in self.default_scopes.iter().flatten() {
            require(
                self.scopes.contains(scope),
                format!("default scope {scope:?} is not one of the client's scopes"),
            );
        }
        for role in &self.roles {
            require(is_role(role), format!("role {role:?}: {ROLE_RULE}"));
        }
        require(
            self.roles.join(" ").len() <= MAX_ROLE_BYTES,
            format!("role: together at most {MAX_ROLE_BYTES} bytes"),
        );
        for brand in &self.brands {
            require(
                brand == ANY_BRAND || is_brand_key(brand),
                format!("brand {brand:?}: {BRAND_RULE}"),
            );
        }
        require(
            self.brands.len() <= 1 || !self.brands.iter().any(|brand| brand == ANY_BRAND),
            "brand '*' stands for all brands and goes alone".into(),
        );
        for operator in &self.operators {
            require(
                principal::username(operator).as_ref() == Ok(operator),
                format!("operator {operator:?} is not a username as operators have them"),
            );
        }
        require(
            !self.require_operator || !self.operators.is_empty(),
            "require-operator: the client has no operators to name".into(),
        );
        require(
            !self.audiences.is_empty(),
            "audience: at least one is needed; the first is the default".into(),
        );
        for audience in &self.audiences {
            require(
                is_audience(audience),
                format!("audience {audience:?}: printable ASCII without spaces, at most 255"),
            );
        }

        let has = |grant| self.grant_types.contains(&grant);
        require(
            !has(GrantType::Password) || !self.brands.is_empty(),
            "grant password: users belong to a brand, so the client needs one".into(),
        );
        require(
            !has(GrantType::RefreshToken) || has(GrantType::Password) || has(GrantType::OperatorPassword),
            "grant refresh_token: only password and operator_password give refresh tokens".into(),
        );
        for (what, ttl, longest) in [
            ("access-ttl", self.access_ttl, limits.access),
            ("refresh-ttl", self.refresh_ttl, limits.refresh),
        ] {
            require(
                (1..=longest).contains(&ttl),
                format!("{what}: between 1 and {longest} seconds"),
            );
        }
        problems
    }

    /// What the client gets when it asks for no scope.
    pub(crate) fn default_scopes(&self) -> &[String] {
        self.default_scopes.as_ref().unwrap_or(&self.scopes)
    }
}

const CLIENT_ID_RULE: &str =
    "client id: 1 to 128 printable ASCII characters without space and ':', not starting with usr_ or opr_";
pub(crate) const BRAND_RULE: &str = "1 to 64 of A-Z a-z 0-9 . _ -";
pub(crate) const ROLE_RULE: &str =
    "1 to 64 printable ASCII characters without space, '\"', '\\', '*' and '?'";

fn is_client_id(value: &str) -> bool {
    // RFC 9700 section 4.15: a client that chose a user's `sub` as its id would pass for that user.
    let taken = [principal::USER_ID_PREFIX, principal::OPERATOR_ID_PREFIX]
        .iter()
        .any(|p| value.starts_with(p));
    (1..=128).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic() && b != b':') && !taken
}

pub(crate) fn is_role(value: &str) -> bool {
    (1..=64).contains(&value.len())
        && value
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"\"\\*?".contains(&b))
}

fn is_audience(value: &str) -> bool {
    (1..=255).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic())
}
