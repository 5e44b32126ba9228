//! Access tokens: from the string in the Authorization header to claims that may be trusted.

use std::ops::Deref;

#[cfg(feature = "fetch")]
use crate::jwks_cache::PublishedKeys;
use crate::{Claims, Clock, JwkSet, TokenError, jws};

/// How far an issuer's clock may be ahead of ours: each may be 60 s off, in opposite directions.
const IAT_TOLERANCE_SECONDS: u64 = 120;

/// Verifies access tokens of one issuer for one API. Cheap to clone: clones share the fetched key set.
#[derive(Debug, Clone)]
pub struct Verifier {
    issuer: String,
    /// `None` where any audience will do.
    audience: Option<String>,
    types: &'static [&'static str],
    clock: Clock,
    keys: Keys,
}

/// Where the keys come from.
#[derive(Debug, Clone)]
enum Keys {
    Given(JwkSet),
    #[cfg(feature = "fetch")]
    Published(PublishedKeys),
}

/// Claims that a [`Verifier`] has checked; nothing else makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    claims: Claims,
    kid: String,
}

impl Verified {
    /// The key that signed the token.
    pub fn kid(&self) -> &str {
        &self.kid
    }
}

impl Deref for Verified {
    type Target = Claims;

    fn deref(&self) -> &Claims {
        &self.claims
    }
}

impl Verifier {
    /// A verifier for tokens whose `iss` is exactly `issuer`.
    pub fn builder(issuer: impl Into<String>) -> VerifierBuilder {
        VerifierBuilder {
            issuer: issuer.into(),
            audience: Audience::Missing,
            keys: None,
            #[cfg(feature = "fetch")]
            jwks_url: None,
            types: &["at+jwt"],
            clock: Clock::system(),
        }
    }

    /// Checks a token as RFC 9068 section 4 says and returns its claims. Waits for the network only where the key
    /// set is fetched and is not at hand, has outlived its max-age, or lacks the token's key.
    #[cfg_attr(
        not(feature = "fetch"),
        expect(clippy::unused_async, reason = "one signature with `fetch` or without")
    )]
    pub async fn verify(&self, token: &str) -> Result<Verified, TokenError> {
        match &self.keys {
            Keys::Given(keys) => self.verify_with(token, keys),
            #[cfg(feature = "fetch")]
            Keys::Published(published) => {
                let keys = published.current().await?;
                match self.verify_with(token, &keys) {
                    Err(TokenError::UnknownKey) => {
                        let keys = published.later_than(&keys).await?;
                        self.verify_with(token, &keys)
                    }
                    outcome => outcome,
                }
            }
        }
    }

    /// Checks a token with these keys: what [`verify`](Self::verify) does once it has the key set.
    pub fn verify_with(&self, token: &str, keys: &JwkSet) -> Result<Verified, TokenError> {
        let (claims, kid) = jws::verify::<Claims>(token, keys, self.types)?;
        if claims.iss != self.issuer {
            return Err(TokenError::WrongIssuer);
        }
        if self.audience.as_ref().is_some_and(|audience| claims.aud != *audience) {
            return Err(TokenError::WrongAudience);
        }
        let now = self.clock.now().seconds();
        if claims.exp <= now {
            return Err(TokenError::Expired);
        }
        if claims.iat > now.saturating_add(IAT_TOLERANCE_SECONDS) {
            return Err(TokenError::IssuedInFuture);
        }
        Ok(Verified { claims, kid })
    }

    /// The API that tokens must be meant for; nothing where any will do.
    #[cfg(all(feature = "fetch", feature = "tower"))]
    pub(crate) fn audience(&self) -> Option<&str> {
        self.audience.as_deref()
    }

    #[cfg(all(feature = "fetch", feature = "tower"))]
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }
}

/// Why a verifier cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Neither [`VerifierBuilder::audience`] nor its dangerous alternative was called, or the audience is empty.
    #[error("no audience: name the API that tokens must be meant for")]
    NoAudience,
    /// No key set was given, and fetching is not compiled in.
    #[error("no keys: give a key set, or switch on the feature `fetch`")]
    NoKeys,
    /// The key set's address.
    #[error("the key set's address {url} cannot be used: {reason}")]
    JwksUrl {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The address at which Basic credentials are exchanged.
    #[error("the token endpoint {url} cannot be used: {reason}")]
    TokenEndpoint {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    HttpClient(String),
}

/// Sets up a [`Verifier`].
#[derive(Debug, Clone)]
pub struct VerifierBuilder {
    issuer: String,
    audience: Audience,
    keys: Option<JwkSet>,
    #[cfg(feature = "fetch")]
    jwks_url: Option<String>,
    types: &'static [&'static str],
    clock: Clock,
}

#[derive(Debug, Clone)]
enum Audience {
    Missing,
    Any,
    This(String),
}

impl VerifierBuilder {
    /// The API that tokens must be meant for: their `aud`, compared as a whole.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Audience::This(audience.into());
        self
    }

    /// Accepts tokens meant for any API. Right for a tool that shows tokens; wrong for an API, which would take
    /// tokens that were given to others (RFC 9068 section 5).
    #[must_use]
    pub fn dangerously_accept_any_audience(mut self) -> Self {
        self.audience = Audience::Any;
        self
    }

    /// The issuer's keys, from a file or a string: nothing is fetched.
    #[must_use]
    pub fn keys(mut self, keys: JwkSet) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Where the key set is fetched from, unless keys are given: `{issuer}/.well-known/jwks.json` where not set.
    /// `https`, or `http` on this machine.
    #[cfg(feature = "fetch")]
    #[must_use]
    pub fn jwks_url(mut self, url: impl Into<String>) -> Self {
        self.jwks_url = Some(url.into());
        self
    }

    /// Accepts `typ` `JWT` beside `at+jwt`, for clients that are set to it.
    #[must_use]
    pub fn accept_typ_jwt(mut self) -> Self {
        self.types = &["at+jwt", "JWT"];
        self
    }

    /// Where the time comes from; the machine's clock unless set.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The verifier. Fetches nothing yet.
    pub fn build(self) -> Result<Verifier, BuildError> {
        let audience = match self.audience {
            Audience::This(audience) if !audience.is_empty() => Some(audience),
            Audience::Any => None,
            Audience::This(_) | Audience::Missing => return Err(BuildError::NoAudience),
        };
        #[cfg(feature = "fetch")]
        let published = || {
            let url = self.jwks_url.unwrap_or_else(|| format!("{}/.well-known/jwks.json", self.issuer));
            PublishedKeys::at(&url, self.clock.clone()).map(Keys::Published)
        };
        #[cfg(not(feature = "fetch"))]
        let published = || Err(BuildError::NoKeys);
        let keys = self.keys.map_or_else(published, |keys| Ok(Keys::Given(keys)))?;
        Ok(Verifier { issuer: self.issuer, audience, types: self.types, clock: self.clock, keys })
    }
}
