//! The rules for a client that is written: its own, and those for the tokens that it can obtain.

use std::borrow::Cow;

use crate::keys::token_len;
use crate::records::principal::{OPERATOR_ID_PREFIX, USER_ID_PREFIX};
use crate::records::scope::Scope;
use crate::records::validation::{MAX_ACCESS_TOKEN_BYTES, largest_roles};
use crate::records::{ANY_BRAND, Client, GrantType, LargestToken, Lifetimes, RecordProblem};
use crate::tokens::IssuerUrl;
use crate::tokens::access::Authorization;

/// A larger access token leaves little room for the other headers of a request.
const LARGE_TOKEN_BYTES: usize = 6 * 1024;

/// The longest brand and username.
const BRAND_BYTES: usize = 64;
const USERNAME_BYTES: usize = 255;
/// The length that the issuer's URL is assumed to have where it is not known.
const ASSUMED_ISSUER_BYTES: usize = 128;

/// The rules for a client of one issuer.
#[derive(Debug, Clone)]
pub struct ClientRules {
    limits: Lifetimes,
    issuer: Option<IssuerUrl>,
}

impl ClientRules {
    /// The rules under these longest lifetimes. Without the issuer's URL it is not compared with
    /// the audiences, and counts as 128 bytes in a token.
    pub fn new(limits: Lifetimes, issuer: Option<IssuerUrl>) -> Self {
        Self { limits, issuer }
    }

    /// The longest token lifetimes that a client may have.
    pub fn limits(&self) -> Lifetimes {
        self.limits
    }

    /// Every rule that the client breaks; none if it may be stored.
    pub fn problems(&self, client: &Client) -> Vec<RecordProblem> {
        let mut problems = client.problems(self.limits);
        let is_issuer = |audience: &&String| self.issuer.as_ref().is_some_and(|url| url.is_same(audience));
        problems
            .extend(client.audiences.iter().filter(is_issuer).cloned().map(RecordProblem::IssuerAsAudience));
        let largest = self.largest_token(client);
        if largest.bytes > MAX_ACCESS_TOKEN_BYTES {
            problems.push(RecordProblem::TokenTooLarge(largest));
        }
        problems
    }

    /// The client's largest token, if it is so large that an administrator should know.
    pub fn large_token(&self, client: &Client) -> Option<LargestToken> {
        Some(self.largest_token(client)).filter(|largest| largest.bytes > LARGE_TOKEN_BYTES)
    }

    fn largest_token(&self, client: &Client) -> LargestToken {
        let assumed = || IssuerUrl::placeholder(ASSUMED_ISSUER_BYTES);
        let issuer = self.issuer.clone().unwrap_or_else(assumed);
        let length = |grant: &GrantType| {
            let authorization = largest_authorization(client, *grant)?;
            let random_id = "i".repeat(22);
            let claims = authorization.into_claims(&issuer, client, random_id, 9_999_999_999, 9_999_999_999);
            token_len(client.typ.as_str(), &claims).ok()
        };
        LargestToken { bytes: client.grant_types.iter().filter_map(length).max().unwrap_or_default() }
    }
}

/// The outcome of a grant that makes the largest token. A refresh makes none that is larger than
/// that of the login.
fn largest_authorization(client: &Client, grant: GrantType) -> Option<Authorization<'_>> {
    let principal_id = |prefix: &str| Cow::Owned(format!("{prefix}{}", "i".repeat(22)));
    // JSON doubles a quotation mark, which a username may contain.
    let longest_username = || Some(Cow::Owned("\"".repeat(USERNAME_BYTES)));
    let (sub, roles, username, operator) = match grant {
        GrantType::ClientCredentials => (
            Cow::Borrowed(client.client_id.as_str()),
            Cow::Borrowed(client.roles.as_slice()),
            None,
            longest(&client.operators).map(Cow::Borrowed),
        ),
        GrantType::Password => {
            (principal_id(USER_ID_PREFIX), Cow::Owned(largest_roles()), longest_username(), None)
        }
        GrantType::OperatorPassword => (
            principal_id(OPERATOR_ID_PREFIX),
            Cow::Owned(largest_roles()),
            longest_username(),
            longest_username(),
        ),
        GrantType::RefreshToken => return None,
    };
    let brand_key = longest(&client.brands).map(|brand| match brand {
        ANY_BRAND => Cow::Owned("b".repeat(BRAND_BYTES)),
        brand => Cow::Borrowed(brand),
    });
    Some(Authorization {
        sub,
        roles,
        username,
        operator,
        brand_key,
        scope: Scope::from_record(&client.scopes),
        audience: Cow::Borrowed(longest(&client.audiences).unwrap_or_default()),
        refresh: None,
    })
}

/// The text that takes the most room in JSON.
fn longest(texts: &[String]) -> Option<&str> {
    let length = |text: &&String| serde_json::to_string(text).map_or(0, |json| json.len());
    texts.iter().max_by_key(length).map(String::as_str)
}
