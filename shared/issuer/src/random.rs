//! Randomness, passed in.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;

/// Where random bytes come from: the operating system in production, a seed in a test.
#[derive(Clone)]
pub struct Random(Arc<Fill>);

type Fill = dyn Fn(&mut [u8]) -> Result<(), RandomError> + Send + Sync;

/// The source of randomness failed; nothing can be minted without one.
#[derive(Debug, thiserror::Error)]
#[error("no randomness: {0}")]
pub struct RandomError(String);

impl Random {
    /// The operating system's generator.
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place that asks for real randomness")]
        Self::new(|bytes| getrandom::fill(bytes).map_err(|error| RandomError(error.to_string())))
    }

    /// A source that fills a slice as `fill` does.
    pub fn new(fill: impl Fn(&mut [u8]) -> Result<(), RandomError> + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> Result<[u8; N], RandomError> {
        let mut bytes = [0; N];
        (self.0)(&mut bytes)?;
        Ok(bytes)
    }

    /// 128 random bits in base64url (22 characters): unguessable, and unique without asking anyone.
    pub fn id(&self) -> Result<String, RandomError> {
        Ok(BASE64URL.encode(self.bytes::<16>()?))
    }

    /// Reports whether the text has the form of an [`id`](Self::id).
    pub(crate) fn is_id(text: &str) -> bool {
        BASE64URL.decode(text).is_ok_and(|bytes| bytes.len() == 16)
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}
