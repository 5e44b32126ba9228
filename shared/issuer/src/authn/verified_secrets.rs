//! The client secrets that a slow hash has let in: a warm process asks the hash once for each.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use countersign_verify::Timestamp;
use ring::hmac;

use crate::credentials::client_secret::{ClientSecret, Secret};
use crate::random::Random;
use crate::records::client::Client;

/// A tag of 32 bytes each, twice.
const CAPACITY: usize = 4096;

type Tag = [u8; 32];

/// Tags of secrets under a key of this process's own: worth nothing elsewhere, and to nobody who reads the memory
/// without the key. A tag is bound to the client's record as it stood, so that any change of the record forgets it.
pub(crate) struct VerifiedSecretCache {
    /// Nothing is remembered without randomness.
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

    /// Where among the client's secrets the live slow one is that `presented` is known to be.
    pub(crate) fn position(&self, client: &Client, presented: &Secret, now: Timestamp) -> Option<usize> {
        let tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = |secret: &ClientSecret| {
            secret.is_slow()
                && secret.is_live(now)
                && self.tag(client, presented, secret).is_some_and(|tag| tags.known.contains(&tag))
        };
        client.secrets.iter().position(is_known)
    }

    /// Remembers that `presented` has been verified as `secret`; the oldest is forgotten where there are too many.
    pub(crate) fn remember(&self, client: &Client, presented: &Secret, secret: &ClientSecret) {
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
        // No hash holds a NUL, so the presented secret begins where the hash ends. The salt makes the hash one client's.
        tag.update(secret.hash().as_bytes());
        tag.update(&[0]);
        tag.update(presented.expose().as_bytes());
        tag.sign().as_ref().try_into().ok()
    }
}

impl fmt::Debug for VerifiedSecretCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RememberedSecrets")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_verified_is_known_until_the_record_changes_or_there_is_no_room() {
        let random = Random::system();
        let now = Timestamp::from_seconds(1);
        let chosen = Secret::given("chosen".into());
        let secret = ClientSecret::of(&chosen, now, None, &random).unwrap();
        let mut client: Client = serde_json::from_value(json!({
            "client_id": "c", "name": "c", "secrets": [secret], "grant_types": [], "scopes": [], "roles": [],
            "brands": [], "operators": [], "require_operator": false, "audiences": [], "access_ttl": 1,
            "refresh_ttl": 1, "typ": "at+jwt", "enabled": true, "created": now, "updated": now, "version": 1,
        }))
        .unwrap();
        let verified_secrets = VerifiedSecretCache::new(&random);
        let knows = |client: &Client, text: &str| {
            verified_secrets.position(client, &Secret::given(text.into()), now).is_some()
        };
        assert!(!knows(&client, "chosen"));
        verified_secrets.remember(&client, &chosen, &secret);
        assert!(knows(&client, "chosen") && !knows(&client, "chosen "));
        let revoked = Client { secrets: Vec::new(), ..client.clone() };
        assert!(!knows(&revoked, "chosen"));
        let generated = Secret::generate(&random).unwrap();
        let fast = ClientSecret::of(&generated, now, None, &random).unwrap();
        verified_secrets.remember(&client, &generated, &fast);
        let with_fast = Client { secrets: vec![fast], ..client.clone() };
        assert!(!knows(&with_fast, generated.expose()), "a fast one needs no memory");

        client.version += 1;
        assert!(!knows(&client, "chosen"));
        client.version -= 1;
        for number in 0..CAPACITY {
            verified_secrets.remember(&client, &Secret::given(number.to_string()), &secret);
        }
        assert!(!knows(&client, "chosen") && knows(&client, &(CAPACITY - 1).to_string()));
        assert!(verified_secrets.tags.lock().unwrap().known.len() <= CAPACITY);
    }
}
