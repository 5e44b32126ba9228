//! Refresh tokens: signed, stateless until first used, and one conditional write for every use.

mod families;

pub(crate) use families::{Advance, Families};

use countersign_verify::{Timestamp, jws};
use serde::{Deserialize, Serialize};

use crate::Issuer;
use crate::authenticate::AuthenticatedClient;
use crate::error::{GrantRefusal, OAuthError};
use crate::mint::TokenType;
use crate::scope::Scope;

/// What a refresh token says. Its audience is the issuer itself, so that no API takes it for an access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefreshClaims {
    iss: String,
    aud: String,
    pub(crate) sub: String,
    pub(crate) client_id: String,
    pub(crate) iat: u64,
    /// Absolute from the first token of the family: a successor has its predecessor's.
    pub(crate) exp: u64,
    pub(crate) jti: String,
    /// Which tokens descend from one login.
    pub(crate) family: String,
    /// 0 for the token of the login, one more with every refresh.
    pub(crate) generation: u64,
    /// The moment of the login.
    pub(crate) started: Timestamp,
    /// The key of the user's or operator's record.
    pub(crate) principal: String,
    #[serde(rename = "brandKey", default, skip_serializing_if = "Option::is_none")]
    pub(crate) brand_key: Option<String>,
    /// What was granted at first; a refresh narrows the access token, never this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<String>,
    /// The audience that was granted at first (RFC 8707 section 2.2).
    pub(crate) resource: String,
}

/// The login that a family of refresh tokens comes from.
pub(crate) struct Login<'a> {
    pub(crate) sub: &'a str,
    pub(crate) principal: String,
    pub(crate) brand_key: Option<&'a str>,
    pub(crate) scope: &'a Scope,
    pub(crate) resource: &'a str,
}

impl Issuer {
    /// The first refresh token of a login. Nothing is written: the family gets its record when it is first used.
    pub(crate) fn first_refresh_token(
        &self,
        client: &AuthenticatedClient,
        login: Login<'_>,
    ) -> Result<RefreshClaims, OAuthError> {
        let now = self.clock.now();
        Ok(RefreshClaims {
            iss: self.url.as_str().to_owned(),
            aud: self.url.as_str().to_owned(),
            sub: login.sub.to_owned(),
            client_id: client.client_id.clone(),
            iat: now.seconds(),
            exp: now.seconds() + client.refresh_ttl.min(self.limits.refresh),
            jti: self.entropy.id()?,
            family: self.entropy.id()?,
            generation: 0,
            started: now,
            principal: login.principal,
            brand_key: login.brand_key.map(Into::into),
            scope: login.scope.to_member(),
            resource: login.resource.to_owned(),
        })
    }

    /// The token that follows `used`.
    pub(crate) fn successor(&self, used: &RefreshClaims) -> Result<RefreshClaims, OAuthError> {
        Ok(RefreshClaims {
            iat: self.clock.now().seconds(),
            jti: self.entropy.id()?,
            generation: used.generation + 1,
            ..used.clone()
        })
    }

    /// Checks signature, type, issuer, audience and expiry. Whether it may still be used is another question.
    pub(crate) async fn verify_refresh_token(&self, token: &str) -> Result<RefreshClaims, OAuthError> {
        let ring = self.signer.ring().await?;
        let (claims, _kid) =
            jws::verify::<RefreshClaims>(token, ring.verification_keys(), &[TokenType::Refresh.as_str()])
                .map_err(|error| OAuthError::InvalidGrant(GrantRefusal::BadToken(error)))?;
        let own = self.url.as_str();
        let foreign = if claims.iss != own {
            Some(countersign_verify::TokenError::WrongIssuer)
        } else if claims.aud != own {
            Some(countersign_verify::TokenError::WrongAudience)
        } else {
            None
        };
        if let Some(error) = foreign {
            return Err(OAuthError::InvalidGrant(GrantRefusal::BadToken(error)));
        }
        if claims.exp <= self.clock.now().seconds() {
            return Err(OAuthError::InvalidGrant(GrantRefusal::Expired));
        }
        Ok(claims)
    }
}
