//! A bounded pool for slow password hashes.

use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::credentials::{Secret, password};
use crate::request::error::OAuthError;

/// Runs slow hashes on blocking threads, a limited number at a time. The request's deadline fires while a hash runs.
#[derive(Debug)]
pub(crate) struct HashingPool(Arc<Semaphore>);

impl HashingPool {
    /// A pool for half of the processors; the others stay free for requests that need no hash.
    pub(crate) fn new() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new((processors / 2).max(1))))
    }

    /// Waits for a place. Callers wait before the guess is counted: a correct login that waits is not yet a failure.
    pub(crate) async fn acquire(&self) -> Result<HashingPermit, OAuthError> {
        let permit = Arc::clone(&self.0).acquire_owned().await.map_err(failed)?;
        Ok(HashingPermit(Arc::new(permit)))
    }
}

/// A place in the pool, for one hash after the other.
pub(crate) struct HashingPermit(Arc<OwnedSemaphorePermit>);

impl HashingPermit {
    /// Verifies a password or a chosen secret, one slow hash after the other. A request that is dropped at its deadline
    /// begins no further one.
    pub(crate) async fn verify(&self, presented: &Secret, stored: &str) -> Result<bool, OAuthError> {
        for form in password::forms(presented.expose(), stored) {
            let stored = stored.to_owned();
            if self.run(move || password::matches(&form, &stored)).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Runs `hash` on a blocking thread. The place is free again when the hash has ended, even if its request was
    /// dropped before.
    async fn run<T: Send + 'static>(
        &self,
        hash: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, OAuthError> {
        let permit = Arc::clone(&self.0);
        let hashing = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            hash()
        });
        hashing.await.map_err(failed)
    }
}

fn failed(error: impl std::error::Error) -> OAuthError {
    OAuthError::Defect(format!("a slow hash: {error}"))
}
