//! Randomness from a seed, for signing keys that are the same in every run.

use std::sync::atomic::{AtomicU64, Ordering};

use countersign_issuer::random::Random;
use ring::hmac;

/// A source of the same bytes for the same seed: HMAC-SHA-256 of a counter, under the seed.
pub(super) fn random_from(seed: &str) -> Random {
    let key = hmac::Key::new(hmac::HMAC_SHA256, seed.as_bytes());
    let blocks = AtomicU64::new(0);
    Random::new(move |bytes| {
        for chunk in bytes.chunks_mut(32) {
            let block = blocks.fetch_add(1, Ordering::Relaxed);
            let tag = hmac::sign(&key, &block.to_be_bytes());
            chunk.copy_from_slice(&tag.as_ref()[..chunk.len()]);
        }
        Ok(())
    })
}
