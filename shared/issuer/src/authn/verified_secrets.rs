//! A cache of verified client secrets: a warm process runs the slow hash once for each.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use countersign_verify::Timestamp;
use ring::hmac;

use crate::credentials::{ClientSecret, Secret};
use crate::random::Random;
use crate::records::client::Client;

/// Each takes two tags of 32 bytes.
const CAPACITY: usize = 4096;

type Tag = [u8; 32];

/// Holds keyed digests (tags) of secrets that a slow hash has verified. The key is random and never leaves this process,
/// so a tag is useless elsewhere. A tag is bound to the version of the client's record: any change invalidates it.
pub(crate) struct VerifiedSecretCache {
    /// `None` where there was no randomness: then nothing is cached.
    key: Option<hmac::Key>,
    tags: Mutex<Tags>,
}

#[derive(Default)]
struct Tags {
    known: HashSet<Tag>,
    by_age: VecDeque<Tag>,
}

impl VerifiedSecretCache {
    pub(crate) fn new(random: &Random) -> Self {
        let key = random.bytes::<32>().ok().map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key));
        Self { key, tags: Mutex::default() }
    }

    /// Finds the valid, slow client secret that `presented` was verified as before.
    pub(crate) fn find(&self, client: &Client, presented: &Secret, now: Timestamp) -> Option<usize> {
        let tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = |secret: &ClientSecret| {
            secret.is_slow()
                && secret.is_live(now)
                && self.tag(client, presented, secret).is_some_and(|tag| tags.known.contains(&tag))
        };
        client.secrets.iter().position(is_known)
    }

    /// Stores that `presented` was verified as `secret`. Evicts the oldest entry when the cache is full.
    pub(crate) fn insert(&self, client: &Client, presented: &Secret, secret: &ClientSecret) {
        let Some(tag) = self.tag(client, presented, secret) else {
            return;
        };
        let mut tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        if tags.known.insert(tag) {
            tags.by_age.push_back(tag);
        }
        if tags.by_age.len() > CAPACITY
            && let Some(oldest) = tags.by_age.pop_front()
        {
            tags.known.remove(&oldest);
        }
    }

    fn tag(&self, client: &Client, presented: &Secret, secret: &ClientSecret) -> Option<Tag> {
        let mut tag = hmac::Context::with_key(self.key.as_ref()?);
        for number in [client.version, client.updated.millis()] {
            tag.update(&number.to_be_bytes());
        }
        // No hash contains a NUL, so it marks where the presented secret begins. The salt ties the hash to one client.
        tag.update(secret.hash().as_bytes());
        tag.update(&[0]);
        tag.update(presented.expose().as_bytes());
        tag.sign().as_ref().try_into().ok()
    }
}

impl fmt::Debug for VerifiedSecretCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifiedSecretCache")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verified_secret_is_cached_until_the_record_changes_or_the_cache_is_full() {
        let random = Random::system();
        let now = Timestamp::from_seconds(1);
        let chosen = Secret::from_string("chosen once".into());
        let secret = ClientSecret::new(&chosen, now, None, &random).unwrap();
        let mut client = Client { secrets: vec![secret.clone()], ..Client::new("c", now) };
        let cache = VerifiedSecretCache::new(&random);
        let knows = |client: &Client, text: &str| {
            cache.find(client, &Secret::from_string(text.into()), now).is_some()
        };
        assert!(!knows(&client, "chosen once"));
        cache.insert(&client, &chosen, &secret);
        assert!(knows(&client, "chosen once") && !knows(&client, "chosen once "));
        let revoked = Client { secrets: Vec::new(), ..client.clone() };
        assert!(!knows(&revoked, "chosen once"));
        let generated = Secret::generate(&random).unwrap();
        let fast = ClientSecret::new(&generated, now, None, &random).unwrap();
        cache.insert(&client, &generated, &fast);
        let with_fast = Client { secrets: vec![fast], ..client.clone() };
        assert!(!knows(&with_fast, generated.expose()), "a fast one needs no memory");

        client.version += 1;
        assert!(!knows(&client, "chosen once"));
        client.version -= 1;
        for number in 0..CAPACITY {
            cache.insert(&client, &Secret::from_string(number.to_string()), &secret);
        }
        assert!(!knows(&client, "chosen once") && knows(&client, &(CAPACITY - 1).to_string()));
        assert!(cache.tags.lock().unwrap().known.len() <= CAPACITY);
    }
}
