//! Refresh tokens: signed, stateless until first used, and one conditional write for every use.

use countersign_verify::{Timestamp, TokenError, jws};
use serde::{Deserialize, Serialize};

use crate::Issuer;
use crate::authn::client::AuthenticatedClient;
use crate::keys::Ring;
use crate::records::principal::Principal;
use crate::records::scope::Scope;
use crate::request::error::{GrantRefusal, OAuthError};
use crate::store::table::Record;
use crate::tokens::access::TokenType;

/// What a refresh token says. Its audience is the issuer itself, so that no API takes it for an access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefreshClaims {
    iss: String,
    aud: String,
    pub(crate) sub: String,
    pub(crate) client_id: String,
    pub(crate) iat: u64,
    /// Absolute from the login: a successor has its predecessor's, unless a cap has been lowered since.
    pub(crate) exp: u64,
    pub(crate) jti: String,
    /// Which tokens descend from one login.
    pub(crate) family: String,
    /// 0 for the token of the login, one more with every refresh.
    pub(crate) generation: u64,
    /// When the user or operator logged in, in seconds (`auth_time` is the name that OIDC gives it).
    pub(crate) auth_time: u64,
    /// The numbers of the keys that this session has been under: when one of them is found to be compromised, the
    /// session may be a forged one's child.
    pub(crate) keys: Vec<u64>,
    /// The key of the user's or operator's record.
    pub(crate) principal: String,
    /// `sessions_valid_from` of the record whose password was verified. Compared for equality, so that no clock and
    /// no race lets a session outlive a password change.
    pub(crate) sessions_valid_from: Timestamp,
    /// `created` of the client's record: a client of the same name is another client.
    pub(crate) client_created: Timestamp,
    #[serde(rename = "brandKey", default, skip_serializing_if = "Option::is_none")]
    pub(crate) brand_key: Option<String>,
    /// What was granted at first; a refresh narrows the access token, never this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<String>,
    /// The audience that was granted at first (RFC 8707 section 2.2).
    pub(crate) resource: String,
}

impl RefreshClaims {
    /// The same, as the key with the number `seq` may sign it: living no longer than until `latest`.
    pub(crate) fn under(self, seq: u64, latest: u64) -> Self {
        Self { exp: self.exp.min(latest), ..self.having_been_under(seq) }
    }

    pub(crate) fn next_generation(&self) -> u64 {
        self.generation.saturating_add(1)
    }

    fn having_been_under(mut self, seq: u64) -> Self {
        if !self.keys.contains(&seq) {
            self.keys.push(seq);
        }
        self
    }
}

/// The login that a family of refresh tokens comes from.
pub(crate) struct Login<'a> {
    pub(crate) principal: &'a Principal,
    pub(crate) brand_key: Option<&'a str>,
    pub(crate) scope: &'a Scope,
    pub(crate) resource: &'a str,
}

impl Issuer {
    /// The first refresh token of a login. Nothing is written: the family gets its record when it is first used.
    pub(crate) fn first_refresh_token(
        &self,
        client: &AuthenticatedClient,
        login: &Login<'_>,
    ) -> Result<RefreshClaims, OAuthError> {
        let now = self.clock.now();
        Ok(RefreshClaims {
            iss: self.url.as_str().to_owned(),
            aud: self.url.as_str().to_owned(),
            sub: login.principal.id.clone(),
            client_id: client.client_id.clone(),
            iat: now.seconds(),
            exp: now.seconds().saturating_add(client.refresh_ttl.min(self.limits.refresh)),
            jti: self.random.id()?,
            family: self.random.id()?,
            generation: 0,
            auth_time: now.seconds(),
            keys: Vec::new(),
            principal: login.principal.key(),
            sessions_valid_from: login.principal.sessions_valid_from,
            client_created: client.created,
            brand_key: login.brand_key.map(Into::into),
            scope: login.scope.as_member().map(Into::into),
            resource: login.resource.to_owned(),
        })
    }

    /// The token that follows `used`.
    pub(crate) fn successor(&self, used: &RefreshClaims) -> Result<RefreshClaims, OAuthError> {
        Ok(RefreshClaims {
            iat: self.clock.now().seconds(),
            exp: used.exp.min(used.auth_time.saturating_add(self.limits.refresh)),
            jti: self.random.id()?,
            generation: used.next_generation(),
            ..used.clone()
        })
    }

    /// Checks signature, type, issuer, audience and expiry. Whether it may still be used is another question.
    pub(crate) async fn verify_refresh_token(&self, token: &str) -> Result<RefreshClaims, OAuthError> {
        let verify = |ring: &Ring| {
            let keys = ring.accepted_at_refresh(self.clock.now());
            jws::verify::<RefreshClaims>(token, &keys, &[TokenType::Refresh.as_str()])
        };
        let (ring, verified) = self.signer.ring().verify_against_ring(verify).await?;
        let (claims, kid) =
            verified.map_err(|error| OAuthError::InvalidGrant(GrantRefusal::BadToken(error)))?;
        let own = self.url.as_str();
        let foreign = if claims.iss != own {
            Some(TokenError::WrongIssuer)
        } else if claims.aud != own {
            Some(TokenError::WrongAudience)
        } else {
            None
        };
        if let Some(error) = foreign {
            return Err(OAuthError::InvalidGrant(GrantRefusal::BadToken(error)));
        }
        // What a token says of its keys is as good as the key that signed it, so that one counts in any case: a
        // forger would leave it out, and have an honest key sign the successor.
        let claims = ring.seq_of(&kid).map(|seq| claims.having_been_under(seq));
        let claims = claims.filter(|claims| ring.vouches_for(&claims.keys));
        let claims = claims.ok_or(OAuthError::InvalidGrant(GrantRefusal::KeyWithdrawn))?;
        if claims.exp <= self.clock.now().seconds() {
            return Err(OAuthError::InvalidGrant(GrantRefusal::Expired));
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fuzzer_starts_from_claims_that_parse() {
        let seed = include_bytes!("../../../../fuzz/seeds/refresh_token/good");
        serde_json::from_slice::<RefreshClaims>(&seed[1..]).unwrap();
    }
}
