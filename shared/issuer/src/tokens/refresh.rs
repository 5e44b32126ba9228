//! Refresh tokens: signed, stateless until first used, with one conditional write for every use.
//! Only this file knows their form.
//!
//! A refresh token is no JWT: `csgr_`, the claims in base64url, a dot, and the signature in
//! base64url. Many verifiers look at neither `typ` nor `aud`, and would take a JWT that a published
//! key signed for an access token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use countersign_verify::jws::MAX_TOKEN_BYTES;
use countersign_verify::{Clock, Jwk, Timestamp, TokenError};
use serde::{Deserialize, Serialize};

use crate::keys::{Ring, RingCache, SigningKey};
use crate::random::Random;
use crate::records::scope::Scope;
use crate::records::{Client, Lifetimes, Principal};
use crate::request::error::{GrantRefusal, OAuthError};
use crate::store::Record;
use crate::tokens::IssuerUrl;
use crate::tokens::families::{Advance, Families};

/// Begins every refresh token, so that people and secret scanners recognise one.
const PREFIX: &str = "csgr_";
/// Stands before the claims in what is signed. The signing input of a JWS begins with base64url,
/// which has no space (RFC 7515 section 5.1, RFC 7797 section 3), so a signature over one is never
/// a signature over the other.
const SIGNED_PREFIX: &[u8] = b"countersign refresh token ";

/// The claims of a refresh token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefreshClaims {
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) client_id: String,
    pub(crate) iat: u64,
    /// Counted from the login: a successor keeps its predecessor's, unless a limit was lowered since.
    /// The client's record may end the token earlier: see [`RefreshClaims::expires`].
    pub(crate) exp: u64,
    /// Identifies the tokens that descend from one login.
    pub(crate) family: String,
    /// 0 for the token of the login, one more with every refresh.
    pub(crate) generation: u64,
    /// The time of the login, in seconds since 1970 (`auth_time` is its name in OIDC).
    pub(crate) auth_time: u64,
    /// The number of the key that signed the token.
    key: u64,
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
        Self { key: seq, exp: self.exp.min(latest), ..self.with_key(seq) }
    }

    /// When the token expires under the client's current record, in seconds since 1970: a lifetime
    /// that was lowered, and a limit on idle time that was set, apply to living sessions too.
    pub(crate) fn expires(&self, client: &Client) -> u64 {
        let by_ttl = self.auth_time.saturating_add(client.refresh_ttl);
        let by_idle = client.refresh_idle.map_or(u64::MAX, |idle| self.iat.saturating_add(idle));
        self.exp.min(by_ttl).min(by_idle)
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
            sub: session.principal.id.clone(),
            client_id: client.client_id.clone(),
            iat: now.seconds(),
            exp: now.seconds().saturating_add(client.refresh_ttl.min(self.limits.refresh)),
            family: self.random.id()?,
            generation: 0,
            auth_time: now.seconds(),
            // Known when it is signed.
            key: 0,
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
    pub(crate) fn successor(&self, client: &Client, used: &RefreshClaims, now: Timestamp) -> RefreshClaims {
        let ttl = client.refresh_ttl.min(self.limits.refresh);
        RefreshClaims {
            iat: now.seconds(),
            exp: used.exp.min(used.auth_time.saturating_add(ttl)),
            generation: used.next_generation(),
            ..used.clone()
        }
    }

    /// Verifies the form, signature, issuer, keys and expiry of a token. The client's record and the
    /// family decide separately whether it may still be used.
    pub(crate) async fn verify(
        &self,
        ring: &RingCache,
        token: &str,
        now: Timestamp,
    ) -> Result<RefreshClaims, OAuthError> {
        let bad = |error| OAuthError::InvalidGrant(GrantRefusal::BadToken(error));
        let verify = |ring: &Ring| verify_signature(token, |seq| ring.key_at_refresh(seq, now));
        let (ring, verified) = ring.verify_against_ring(verify).await?;
        let claims = verified.map_err(bad)?;
        if claims.iss != self.issuer.as_str() {
            return Err(bad(TokenError::WrongIssuer));
        }
        if !ring.vouches_for(&claims.keys) {
            return Err(OAuthError::InvalidGrant(GrantRefusal::KeyWithdrawn));
        }
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
pub(super) fn sign(key: &SigningKey, claims: &RefreshClaims) -> Result<String, OAuthError> {
    let payload = BASE64URL.encode(serde_json::to_vec(claims)?);
    let signature = key.sign_bytes(&signed(&payload))?;
    Ok(format!("{PREFIX}{payload}.{}", BASE64URL.encode(signature)))
}

fn signed(payload: &str) -> Vec<u8> {
    [SIGNED_PREFIX, payload.as_bytes()].concat()
}

/// Verifies the form and the signature of a refresh token. `find_key` finds the key of a number, if
/// a refresh token may be signed with it.
pub(crate) fn verify_signature<'keys>(
    token: &str,
    find_key: impl Fn(u64) -> Option<&'keys Jwk>,
) -> Result<RefreshClaims, TokenError> {
    /// Read before the signature is verified, to know with which key.
    #[derive(Deserialize)]
    struct SignedBy {
        key: u64,
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::Malformed("the token is too long"));
    }
    let token = token.strip_prefix(PREFIX).ok_or(TokenError::Malformed("not a refresh token"))?;
    let (payload, signature) = token.split_once('.').ok_or(TokenError::Malformed("there is no signature"))?;
    let decode = |segment: &str| BASE64URL.decode(segment);
    let signature = decode(signature).map_err(|_| TokenError::Malformed("the signature is not base64url"))?;
    let claims = decode(payload).map_err(|_| TokenError::Malformed("the claims are not base64url"))?;
    let SignedBy { key } =
        serde_json::from_slice(&claims).map_err(|_| TokenError::Malformed("no key is named"))?;
    find_key(key).ok_or(TokenError::UnknownKey)?.verify(&signed(payload), &signature)?;
    let claims: RefreshClaims = serde_json::from_slice(&claims)
        .map_err(|_| TokenError::Malformed("a claim is missing or of the wrong type"))?;
    // What a token says about its keys is only as good as the key that signed it, so that key counts
    // in any case: a forger would omit it and let an honest key sign the successor.
    Ok(claims.with_key(key))
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
