//! Access tokens and the token response (RFC 6749 section 5.1, RFC 9068).

use std::borrow::Cow;

use countersign_verify::{Claims, JwkSet, Timestamp, TokenError, Verifier, jws};
use serde::Serialize;

use crate::context::RequestContext;
use crate::credentials::ClientSecret;
use crate::keys::{KeyError, Ring, RingCache, SigningKey};
use crate::random::Random;
use crate::records::scope::Scope;
use crate::records::{Client, Lifetimes};
use crate::request::error::OAuthError;
use crate::request::token_request::RESOURCE_NOT_ALLOWED;
use crate::tokens::IssuerUrl;
use crate::tokens::refresh::{self, RefreshClaims};

/// The outcome of a grant: everything that the tokens will say.
#[derive(Debug)]
pub(crate) struct Authorization<'client> {
    pub(crate) sub: Cow<'client, str>,
    pub(crate) roles: Cow<'client, [String]>,
    /// The username of the user or operator who logged in, for the client's username claim.
    pub(crate) username: Option<Cow<'client, str>>,
    pub(crate) operator: Option<Cow<'client, str>>,
    pub(crate) brand_key: Option<Cow<'client, str>>,
    pub(crate) scope: Scope,
    pub(crate) audience: Cow<'client, str>,
    /// The refresh token that goes with the access token, if any.
    pub(crate) refresh: Option<RefreshClaims>,
}

impl Authorization<'_> {
    /// The claims of an access token with the id `jti` that is valid from `iat` to `exp`, in seconds since 1970.
    pub(crate) fn into_claims(
        self,
        issuer: &IssuerUrl,
        client: &Client,
        jti: String,
        iat: u64,
        exp: u64,
    ) -> Claims {
        let username = client.username_claim.as_ref().zip(self.username);
        Claims {
            iss: issuer.as_str().to_owned(),
            sub: self.sub.into_owned(),
            aud: self.audience.into_owned(),
            exp,
            iat,
            jti,
            client_id: client.client_id.clone(),
            scope: self.scope.into_member(),
            roles: self.roles.into_owned(),
            operator: self.operator.map(Cow::into_owned),
            brand_key: self.brand_key.map(Cow::into_owned),
            other: username
                .map(|(name, username)| (name.as_str().to_owned(), username.into()))
                .into_iter()
                .collect(),
        }
    }
}

/// The successful response.
#[derive(Serialize)]
struct TokenResponse<'a> {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

/// Signed tokens in a rendered response, ready to be sent.
pub(crate) struct IssuedTokens {
    /// As JSON.
    response: String,
    claims: Claims,
    kid: String,
    refresh: Option<(String, u64)>,
}

/// Signs and verifies access tokens.
#[derive(Debug)]
pub(crate) struct AccessTokens {
    issuer: IssuerUrl,
    limits: Lifetimes,
    random: Random,
    verifier: Verifier,
}

impl AccessTokens {
    #[expect(clippy::expect_used, reason = "keys and audience are given: nothing is missing")]
    pub(crate) fn new(issuer: IssuerUrl, limits: Lifetimes, random: Random) -> Self {
        let verifier = Verifier::builder(issuer.as_str())
            // Introspection decides by client and audience whose token it is.
            .dangerously_accept_any_audience()
            .accept_typ_jwt()
            // The keys of the ring are passed with every token.
            .keys(JwkSet::default())
            .build()
            .expect("a complete verifier");
        Self { issuer, limits, random, verifier }
    }

    /// Signs the tokens of a grant and renders the response. Nothing can fail after it.
    pub(crate) fn issue(
        &self,
        key: &SigningKey,
        client: &Client,
        mut authorization: Authorization<'_>,
        now: u64,
    ) -> Result<IssuedTokens, OAuthError> {
        // The limits of the configuration, and those that the key was made under: the JWKS keeps it for no longer.
        let limits = self.limits.within(key.max_lifetimes());
        // Such an audience is refused when a client is written, where the writer knows the issuer's
        // URL.
        if self.issuer.is_same(&authorization.audience) {
            return Err(RESOURCE_NOT_ALLOWED);
        }
        let expires_in = client.access_ttl.min(limits.access);
        let refresh = authorization.refresh.take();
        let exp = now.saturating_add(expires_in);
        let claims = authorization.into_claims(&self.issuer, client, self.random.id()?, now, exp);
        let access_token = key.sign(client.typ.as_str(), &claims)?;
        let refresh = refresh.map(|refresh| refresh.under(key.seq(), now.saturating_add(limits.refresh)));
        let refresh_token = refresh.as_ref().map(|claims| refresh::sign(key, claims)).transpose()?;
        let response = serde_json::to_string(&TokenResponse {
            access_token,
            token_type: "Bearer",
            expires_in,
            scope: claims.scope.as_deref(),
            refresh_token,
        })?;
        let refresh = refresh.map(|refresh| (refresh.family, refresh.generation));
        Ok(IssuedTokens { response, claims, kid: key.kid().to_owned(), refresh })
    }

    /// Verifies an access token of this issuer for any audience, against the published keys of the ring.
    pub(crate) async fn verify(
        &self,
        ring: &RingCache,
        token: &str,
        now: Timestamp,
    ) -> Result<Result<Claims, TokenError>, KeyError> {
        let verify = |ring: &Ring| self.verifier.verify_at(token, &ring.published(now), now);
        let (_, verified) = ring.verify_against_ring(verify).await?;
        Ok(verified.map(|verified| Claims::clone(&verified)))
    }
}

impl IssuedTokens {
    /// Records what was issued, and with which secret, and returns the response.
    pub(crate) fn record(
        self,
        client: &Client,
        secret: Option<&ClientSecret>,
        cx: &mut RequestContext,
    ) -> String {
        let audit = &mut cx.audit;
        if let Some(secret) = secret {
            audit.secret_expires = secret.expires.map(Timestamp::seconds);
            audit.secret_ends_soon = secret.ends_soon(cx.now).then_some(true);
        }
        audit.sub = Some(self.claims.sub);
        audit.operator = self.claims.operator;
        audit.brand_is_listed =
            self.claims.brand_key.as_ref().is_some_and(|brand| client.brands.contains(brand));
        audit.brand_key = self.claims.brand_key;
        audit.scope = self.claims.scope;
        audit.jti = Some(self.claims.jti);
        audit.kid = Some(self.kid);
        if let Some((family, generation)) = self.refresh {
            audit.family = Some(family);
            audit.generation = Some(generation);
        }
        self.response
    }
}

/// Reports whether a token claims to be an access token. Nothing is verified: it only selects one of two harmless
/// answers.
pub(crate) fn claims_to_be_access_token(token: &str) -> bool {
    jws::decode_unverified(token).is_ok_and(|(header, _)| header["typ"] == "at+jwt" || header["typ"] == "JWT")
}
