//! The token itself: from what was granted to the signed answer (RFC 6749 section 5.1, RFC 9068).

use std::borrow::Cow;
use std::sync::Arc;

use countersign_verify::Claims;
use serde::Serialize;

use crate::Issuer;
use crate::audit_events as audit;
use crate::authn::client::AuthenticatedClient;
use crate::keys::SigningKey;
use crate::records::AccessTokenType;
use crate::records::scope::Scope;
use crate::request::error::OAuthError;
use crate::tokens::refresh::RefreshClaims;

/// The `typ` header: what keeps one kind of token from passing for another (RFC 8725 section 3.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenType {
    Access(AccessTokenType),
    Refresh,
}

impl TokenType {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Access(AccessTokenType::AtJwt) => "at+jwt",
            Self::Access(AccessTokenType::Jwt) => "JWT",
            Self::Refresh => "rt+jwt",
        }
    }
}

/// What a grant has come to: everything that the tokens will say.
#[derive(Debug)]
pub(crate) struct Authorization<'client> {
    pub(crate) sub: Cow<'client, str>,
    pub(crate) roles: Cow<'client, [String]>,
    pub(crate) operator: Option<Cow<'client, str>>,
    pub(crate) brand_key: Option<Cow<'client, str>>,
    pub(crate) scope: Scope,
    pub(crate) audience: Cow<'client, str>,
    /// The refresh token that goes with it, if one does.
    pub(crate) refresh: Option<RefreshClaims>,
    /// What it is to be signed with, where a refresh token was used up for it: nothing may fail after that.
    pub(crate) key: Option<Arc<SigningKey>>,
}

/// The successful answer.
#[derive(Serialize)]
pub(crate) struct TokenResponse {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

impl Issuer {
    /// Signs what was granted. Needs the store only where no key is in memory yet.
    pub(crate) async fn mint(
        &self,
        client: &AuthenticatedClient,
        authorization: Authorization<'_>,
    ) -> Result<TokenResponse, OAuthError> {
        let key = match authorization.key {
            Some(key) => key,
            None => self.signer.signing_key(self.clock.now()).await?,
        };
        let now = self.clock.now().seconds();
        // The caps of now, and those that the key was made under: the key set keeps it for no longer.
        let max_lifetimes = self.limits.within(key.max_lifetimes());
        let expires_in = client.access_ttl.min(max_lifetimes.access);
        let jti = self.random.id()?;
        let claims = Claims {
            iss: self.url.as_str(),
            sub: &authorization.sub,
            aud: &authorization.audience,
            exp: now.saturating_add(expires_in),
            iat: now,
            jti: &jti,
            client_id: &client.client_id,
            scope: authorization.scope.as_member(),
            roles: authorization.roles.iter().map(String::as_str).collect(),
            operator: authorization.operator.as_deref(),
            brand_key: authorization.brand_key.as_deref(),
        };
        let access_token = key.sign(TokenType::Access(client.typ).as_str(), &claims)?;
        let refresh = authorization
            .refresh
            .map(|refresh| refresh.under(key.seq(), now.saturating_add(max_lifetimes.refresh)));
        let refresh_token = match &refresh {
            Some(refresh) => Some(key.sign(TokenType::Refresh.as_str(), refresh)?),
            None => None,
        };
        audit::issued(client, &claims, key.kid(), refresh.as_ref());
        Ok(TokenResponse {
            access_token,
            token_type: "Bearer",
            expires_in,
            scope: authorization.scope.into_member(),
            refresh_token,
        })
    }
}
