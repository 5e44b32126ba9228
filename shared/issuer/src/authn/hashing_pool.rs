//! Slow hashes, kept from holding up everybody else.

use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::request::error::OAuthError;

/// Bounds how many guesses that cost a slow hash are under way at once.
#[derive(Debug)]
pub(crate) struct HashingPool(Arc<Semaphore>);

impl HashingPool {
    /// Half of the processors are left for whoever needs no hash.
    pub(crate) fn new() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new((processors / 2).max(1))))
    }

    /// Waits for a turn, which comes before the guess is counted: many right guesses that wait are no failures yet. A
    /// runtime of one thread serves one request at a time, as a Lambda function does, and knows no turns.
    pub(crate) async fn turn(&self) -> Result<Turn, OAuthError> {
        if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
            return Ok(Turn(None));
        }
        let permit = Arc::clone(&self.0).acquire_owned().await;
        Ok(Turn(Some(Arc::new(permit.map_err(failed)?))))
    }
}

/// The right to run slow hashes, one after the other.
pub(crate) struct Turn(Option<Arc<OwnedSemaphorePermit>>);

impl Turn {
    /// Runs `hash` on a thread of its own; in place where there is but one thread, and another would only cost.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        hash: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, OAuthError> {
        let Some(permit) = self.0.clone() else {
            return Ok(hash());
        };
        let hashing = tokio::task::spawn_blocking(move || {
            // Given back when the hash is done, whether or not anybody still waits for it.
            let _permit = permit;
            hash()
        });
        hashing.await.map_err(failed)
    }
}

fn failed(error: impl std::error::Error) -> OAuthError {
    OAuthError::Defect(format!("a slow hash: {error}"))
}
