//! Slow hashes, kept from holding up everybody else.

use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

use crate::error::OAuthError;

/// Bounds how many slow hashes run at once.
#[derive(Debug)]
pub(crate) struct SlowHashes(Arc<Semaphore>);

impl SlowHashes {
    /// Half of the processors are left for whoever needs no hash.
    pub(crate) fn new() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new((processors / 2).max(1))))
    }

    /// Runs `hash`. A runtime of one thread serves one request at a time, as a Lambda function does: there it runs in
    /// place, and another thread would only cost. Elsewhere it waits for its turn on a thread of its own.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        hash: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, OAuthError> {
        if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
            return Ok(hash());
        }
        let failed = |error: &dyn std::error::Error| OAuthError::Defect(format!("a slow hash: {error}"));
        let permit = Arc::clone(&self.0).acquire_owned().await.map_err(|error| failed(&error))?;
        let hashing = tokio::task::spawn_blocking(move || {
            // Given back when the hash is done, whether or not anybody still waits for it.
            let _permit = permit;
            hash()
        });
        hashing.await.map_err(|error| failed(&error))
    }
}
