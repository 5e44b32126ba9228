//! Access tokens: from the string in the Authorization header to claims that may be trusted.

use std::ops::Deref;

use crate::{Claims, Clock, JwkSet, TokenError, jws};

/// How far an issuer's clock may be ahead of ours: each may be 60 s off, in opposite directions.
const IAT_TOLERANCE_SECONDS: u64 = 120;

/// Verifies access tokens of one issuer for one API. Cheap to share behind an `Arc`; needs no network.
#[derive(Debug, Clone)]
pub struct Verifier {
    issuer: String,
    audience: Option<String>,
    keys: JwkSet,
    types: &'static [&'static str],
    clock: Clock,
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
    /// A verifier for tokens whose `iss` is exactly `issuer`. Until told otherwise it knows no audience and no key,
    /// and so accepts nothing.
    pub fn builder(issuer: impl Into<String>) -> VerifierBuilder {
        VerifierBuilder(Self {
            issuer: issuer.into(),
            // No token's `aud` is empty, so a forgotten audience refuses everything.
            audience: Some(String::new()),
            keys: JwkSet::default(),
            types: &["at+jwt"],
            clock: Clock::system(),
        })
    }

    /// Checks a token as RFC 9068 section 4 says and returns its claims.
    pub fn verify(&self, token: &str) -> Result<Verified, TokenError> {
        let (claims, kid) = jws::verify::<Claims>(token, &self.keys, self.types)?;
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
}

/// Sets up a [`Verifier`].
#[derive(Debug, Clone)]
pub struct VerifierBuilder(Verifier);

impl VerifierBuilder {
    /// The API that tokens must be meant for: their `aud`, compared as a whole.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.0.audience = Some(audience.into());
        self
    }

    /// Accepts tokens meant for any API. Right for a tool that shows tokens; wrong for an API, which would take
    /// tokens that were given to others (RFC 9068 section 5).
    #[must_use]
    pub fn dangerously_accept_any_audience(mut self) -> Self {
        self.0.audience = None;
        self
    }

    /// The issuer's keys.
    #[must_use]
    pub fn keys(mut self, keys: JwkSet) -> Self {
        self.0.keys = keys;
        self
    }

    /// Accepts `typ` `JWT` beside `at+jwt`, for clients that are set to it.
    #[must_use]
    pub fn accept_typ_jwt(mut self) -> Self {
        self.0.types = &["at+jwt", "JWT"];
        self
    }

    /// Where the time comes from; the machine's clock unless set.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.0.clock = clock;
        self
    }

    /// The verifier.
    pub fn build(self) -> Verifier {
        self.0
    }
}
