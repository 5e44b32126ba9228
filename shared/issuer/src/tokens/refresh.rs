//! Refresh tokens: signed, stateless until first used, with one conditional write for every use. Only this file knows
//! their form.

use countersign_verify::{Clock, Timestamp, TokenError, jws};
use serde::{Deserialize, Serialize};

use crate::keys::{KeyError, Ring, RingCache, SigningKey};
use crate::random::Random;
use crate::records::scope::Scope;
use crate::records::{Client, Lifetimes, Principal};
use crate::request::error::{GrantRefusal, OAuthError};
use crate::store::Record;
use crate::tokens::IssuerUrl;
use crate::tokens::families::{Advance, Families};

/// The `typ` header: it keeps a refresh token from passing for an access token (RFC 8725 section 3.11).
const TYP: &str = "rt+jwt";

/// The claims of a refresh token. Its audience is the issuer itself, so that no API accepts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefreshClaims {
    iss: String,
    aud: String,
    pub(crate) sub: String,
    pub(crate) client_id: String,
    pub(crate) iat: u64,
    /// Counted from the login: a successor keeps its predecessor's, unless a limit was lowered since.
    pub(crate) exp: u64,
    pub(crate) jti: String,
    /// Identifies the tokens that descend from one login.
    pub(crate) family: String,
    /// 0 for the token of the login, one more with every refresh.
    pub(crate) generation: u64,
    /// The time of the login, in seconds since 1970 (`auth_time` is its name in OIDC).
    pub(crate) auth_time: u64,
    /// The numbers of all keys that this session has been under. If one of them was compromised, the session may
    /// descend from a forged token.
    pub(crate) keys: Vec<u64>,
    /// The key of the user's or operator's record.
    pub(crate) principal: String,
    /// `sessions_valid_from` of the record whose password was verified. Compared for equality, so that no clock and
    /// no race lets a session outlive a password change.
    pub(crate) sessions_valid_from: Timestamp,
    /// `created` of the client's record: a new client of the same name is another client.
    pub(crate) client_created: Timestamp,
    #[serde(rename = "brandKey", default, skip_serializing_if = "Option::is_none")]
    pub(crate) brand_key: Option<String>,
    /// The scope that was granted at first. A refresh narrows the access token, never this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<String>,
    /// The audience that was granted at first (RFC 8707 section 2.2).
    pub(crate) resource: String,
}

impl RefreshClaims {
    /// The claims as the key number `seq` may sign them: expiring no later than `latest`.
    pub(super) fn under(self, seq: u64, latest: u64) -> Self {
        Self { exp: self.exp.min(latest), ..self.with_key(seq) }
    }

    /// The generation of the token that follows this one.
    pub(crate) fn next_generation(&self) -> u64 {
        self.generation.saturating_add(1)
    }

    fn with_key(mut self, seq: u64) -> Self {
        if !self.keys.contains(&seq) {
            self.keys.push(seq);
        }
        self
    }
}

/// A login from which a family of refresh tokens descends.
pub(crate) struct Session<'a> {
    pub(crate) principal: &'a Principal,
    pub(crate) brand_key: Option<&'a str>,
    pub(crate) scope: &'a Scope,
    pub(crate) resource: &'a str,
}

/// Makes, verifies and uses refresh tokens.
#[derive(Debug)]
pub(crate) struct RefreshTokens {
    issuer: IssuerUrl,
    limits: Lifetimes,
    families: Families,
    random: Random,
    clock: Clock,
}

impl RefreshTokens {
    pub(crate) fn new(
        issuer: IssuerUrl,
        limits: Lifetimes,
        families: Families,
        random: Random,
        clock: Clock,
    ) -> Self {
        Self { issuer, limits, families, random, clock }
    }

    /// The first refresh token of a login. Nothing is written: the family gets its record when it is first used.
    pub(crate) fn first(
        &self,
        client: &Client,
        session: &Session<'_>,
        now: Timestamp,
    ) -> Result<RefreshClaims, OAuthError> {
        Ok(RefreshClaims {
            iss: self.issuer.as_str().to_owned(),
            aud: self.issuer.as_str().to_owned(),
            sub: session.principal.id.clone(),
            client_id: client.client_id.clone(),
            iat: now.seconds(),
            exp: now.seconds().saturating_add(client.refresh_ttl.min(self.limits.refresh)),
            jti: self.random.id()?,
            family: self.random.id()?,
            generation: 0,
            auth_time: now.seconds(),
            keys: Vec::new(),
            principal: session.principal.key(),
            sessions_valid_from: session.principal.sessions_valid_from,
            client_created: client.created,
            brand_key: session.brand_key.map(Into::into),
            scope: session.scope.as_member().map(Into::into),
            resource: session.resource.to_owned(),
        })
    }

    /// The token that follows `used`.
    pub(crate) fn successor(
        &self,
        used: &RefreshClaims,
        now: Timestamp,
    ) -> Result<RefreshClaims, OAuthError> {
        Ok(RefreshClaims {
            iat: now.seconds(),
            exp: used.exp.min(used.auth_time.saturating_add(self.limits.refresh)),
            jti: self.random.id()?,
            generation: used.next_generation(),
            ..used.clone()
        })
    }

    /// Verifies the signature, type, issuer, audience, keys and expiry of a token. The family decides separately
    /// whether it may still be used.
    pub(crate) async fn verify(
        &self,
        ring: &RingCache,
        token: &str,
        now: Timestamp,
    ) -> Result<RefreshClaims, OAuthError> {
        let verify =
            |ring: &Ring| jws::verify::<RefreshClaims>(token, &ring.accepted_at_refresh(now), &[TYP]);
        let (ring, verified) = ring.verify_against_ring(verify).await?;
        let (claims, kid) =
            verified.map_err(|error| OAuthError::InvalidGrant(GrantRefusal::BadToken(error)))?;
        let issuer = self.issuer.as_str();
        let foreign = if claims.iss != issuer {
            Some(TokenError::WrongIssuer)
        } else if claims.aud != issuer {
            Some(TokenError::WrongAudience)
        } else {
            None
        };
        if let Some(error) = foreign {
            return Err(OAuthError::InvalidGrant(GrantRefusal::BadToken(error)));
        }
        // What a token says about its keys is only as good as the key that signed it, so that key counts in any case:
        // a forger would omit it and let an honest key sign the successor.
        let claims = ring.seq_of(&kid).map(|seq| claims.with_key(seq));
        let claims = claims.filter(|claims| ring.vouches_for(&claims.keys));
        let claims = claims.ok_or(OAuthError::InvalidGrant(GrantRefusal::KeyWithdrawn))?;
        if claims.exp <= now.seconds() {
            return Err(OAuthError::InvalidGrant(GrantRefusal::Expired));
        }
        Ok(claims)
    }

    /// Uses a refresh token up with one conditional write. The family's grace period counts from the write, not from
    /// the start of the request.
    pub(crate) async fn redeem(&self, used: &RefreshClaims) -> Result<(), OAuthError> {
        let refusal = match self.families.advance(used, self.clock.now()).await? {
            Advance::Advanced | Advance::Repeated => return Ok(()),
            Advance::LateRetry => GrantRefusal::LateRetry,
            Advance::Revoked => GrantRefusal::Revoked,
            Advance::Reused => GrantRefusal::Reused,
            Advance::Unknown => GrantRefusal::UnknownFamily,
        };
        Err(OAuthError::InvalidGrant(refusal))
    }

    /// Revokes the family of a token.
    pub(crate) async fn revoke(&self, token: &RefreshClaims, now: Timestamp) -> Result<(), OAuthError> {
        Ok(self.families.revoke(token, now).await?)
    }

    /// Reports whether `token` is the latest of its family, and the family is not revoked.
    pub(crate) async fn is_current(&self, token: &RefreshClaims) -> Result<bool, OAuthError> {
        Ok(self.families.is_current(token).await?)
    }
}

/// Signs a refresh token.
pub(super) fn sign(key: &SigningKey, claims: &RefreshClaims) -> Result<String, KeyError> {
    key.sign(TYP, claims)
}

/// Verifies the form and signature of a refresh token, for the fuzzer.
#[cfg(fuzzing)]
pub(crate) fn verify_form(
    token: &str,
    keys: &countersign_verify::JwkSet,
) -> Result<RefreshClaims, TokenError> {
    jws::verify(token, keys, &[TYP]).map(|(claims, _)| claims)
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
