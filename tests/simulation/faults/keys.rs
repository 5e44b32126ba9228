//! The key ring in a history: the functions and the administrator that rotate, publish, withdraw
//! and verify.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use authorizer::Authorizer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_issuer::audit::AuditLog;
use countersign_issuer::http::{self, Request};
use countersign_issuer::issuer::Publisher;
use countersign_issuer::keys::{ChangeRefused, Rotator};
use countersign_issuer::random::Random;
use countersign_tests::TestResponse;
use countersign_tests::in_process::InProcess;
use countersign_tests::token_verifier::{unverified_kid, unverified_refresh_claims};
use countersign_verify::{Clock, Timestamp};
use serde_json::Value;

use super::history::History;
use super::truth::{self, Change, KeyOnRecord, Met, READING_RING};

/// The time for which a verifier may cache a key set, whatever its `Cache-Control`.
const KEPT: Duration = Duration::from_secs(2 * 3600);

const POLICY: &str = "
[[rule]]
methods = [\"GET\"]
path = \"/api/calls\"
scopes = [\"read\"]
";
const EVENT: &str = include_str!("../../../events/authorizer-http.json");

/// An access token that was issued.
struct Issued {
    text: String,
    kid: String,
    expires: Timestamp,
}

/// A key set that a verifier fetched.
struct KeySet {
    at: Timestamp,
    kids: Vec<String>,
}

/// Everything that uses the ring, and the true state of the ring.
pub(super) struct Keys {
    publisher: Publisher,
    authorizer: Authorizer,
    /// Two, so that two runs can overlap.
    rotators: [Rotator; 2],
    administrator: Rotator,
    /// Every key that ever existed, by its `kid`.
    known: HashMap<String, KeyOnRecord>,
    withdrawn: HashMap<String, Change>,
    issued: Vec<Issued>,
    fetched: Vec<KeySet>,
    /// The administrator may withdraw a key although no verifier knows its successor.
    may_force: bool,
    /// That has happened.
    has_forced: bool,
}

fn publisher(world: &InProcess, clock: &Clock) -> Publisher {
    Publisher::new(
        &world.config,
        &world.store.as_caller("jwks").client(&world.config.store.aws),
        clock.clone(),
        AuditLog::tracing(),
    )
}

impl Keys {
    pub(super) fn start(world: &InProcess, clock: &Clock, may_force: bool) -> Self {
        let mut keys = Self {
            publisher: publisher(world, clock),
            authorizer: world.authorizer("authorizer", POLICY, clock),
            rotators: [(); 2].map(|()| world.rotator("rotate", clock)),
            administrator: world.rotator("administrator", clock),
            known: HashMap::new(),
            withdrawn: HashMap::new(),
            issued: Vec::new(),
            fetched: Vec::new(),
            may_force,
            has_forced: false,
        };
        keys.note(world, clock.now(), &Met::default());
        keys
    }

    pub(super) fn restart(&mut self, world: &InProcess, clock: &Clock) {
        self.publisher = publisher(world, clock);
        self.authorizer = world.authorizer("authorizer", POLICY, clock);
    }

    /// Reads the table and checks that nothing is half-written.
    fn note(&mut self, world: &InProcess, now: Timestamp, met: &Met) {
        for key in truth::ring(world) {
            match &key.wrapped {
                None => assert!(key.is_erased, "a key without a private key: {key:?}"),
                Some(wrapped) => {
                    let wrapped: Value = serde_json::from_slice(wrapped).unwrap();
                    assert_eq!(wrapped["context"]["seq"], key.seq.to_string(), "encrypted for another item");
                    assert!(
                        key.withdrawn_at.is_none(),
                        "withdrawn, but its private key is not erased: {key:?}"
                    );
                }
            }
            if key.withdrawn_at.is_some() {
                let change = Change::new(now, met, READING_RING);
                self.withdrawn.entry(key.kid.clone()).or_insert(change);
            }
            if let Some(other) = self.known.values().find(|other| other.seq == key.seq) {
                assert_eq!(other.kid, key.kid, "a key was overwritten");
            }
            self.known.insert(key.kid.clone(), key);
        }
    }

    /// Returns true if an instance may accept or sign tokens under the key `kid` for a request at
    /// `asked`.
    fn may_be_trusted(&self, kid: &str, asked: Timestamp, met: &Met) -> bool {
        self.withdrawn.get(kid).is_none_or(|withdrawn| withdrawn.in_ring_may_be_unseen(asked, met))
    }

    /// Returns true if a session under those keys may descend from a forged token.
    pub(super) fn is_tainted(&self, kids: &HashSet<String>) -> bool {
        kids.iter().any(|kid| self.withdrawn.contains_key(kid))
    }

    /// Returns true if an instance may accept such a session all the same for a request at `asked`.
    pub(super) fn may_all_be_trusted(&self, kids: &HashSet<String>, asked: Timestamp, met: &Met) -> bool {
        kids.iter().all(|kid| self.may_be_trusted(kid, asked, met))
    }

    /// Calls the API with a client's secret: true if it accepts the client, `None` without a
    /// response.
    pub(super) async fn call_with_secret(&self, id: &str, secret: &str) -> Option<bool> {
        self.call(&format!("Basic {}", BASE64.encode(format!("{id}:{secret}")))).await
    }

    async fn call(&self, authorization: &str) -> Option<bool> {
        let event = EVENT.replace("Bearer ACCESS_TOKEN", authorization);
        let event = serde_json::from_str(&event).unwrap();
        let answer = self.authorizer.authorize(event, Duration::MAX).await.ok()?;
        let answer = serde_json::to_value(answer).unwrap();
        Some(answer["policyDocument"]["Statement"][0]["Effect"] == "Allow")
    }

    /// Fetches the `kid` of every published key; `None` without a response.
    async fn key_set(&self) -> Option<Vec<String>> {
        let mut request = Request::default();
        *request.uri_mut() = "/.well-known/jwks.json".parse().unwrap();
        let answer: TestResponse = http::jwks_function(&self.publisher, request).await.into();
        if answer.status != 200 {
            assert_eq!(answer.status, 503, "{}", answer.text);
            return None;
        }
        let keys = answer.json()["keys"].take();
        Some(keys.as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect())
    }
}

impl History<'_> {
    /// Checks the key that signed a token for a request at `asked`, and returns its `kid`.
    pub(super) fn issued(&mut self, asked: Timestamp, answer: &TestResponse) -> String {
        let text = answer.access_token();
        let (kid, expires) = (unverified_kid(&text), truth::expiry(&text));
        let keys = &mut self.keys;
        assert!(keys.known.contains_key(&kid), "a signing key must be in the table");
        assert!(keys.may_be_trusted(&kid, asked, &self.met), "signed by a key that was withdrawn");
        // A withdrawn key is not published, but signs until an instance has read the withdrawal.
        let is_sure = !keys.has_forced && !keys.withdrawn.contains_key(&kid);
        for set in keys.fetched.iter().filter(|set| is_sure && asked < set.at.plus(KEPT)) {
            assert!(set.kids.contains(&kid), "a verifier that asked at {:?} does not know {kid}", set.at);
        }
        if let Some(refresh_token) = answer.json()["refresh_token"].as_str() {
            let number = unverified_refresh_claims(refresh_token)["key"].to_string();
            let items = self.world.store.scan("countersign-signing-keys");
            let signed_by = items.iter().find(|key| key["seq"]["N"] == *number);
            assert_eq!(signed_by.unwrap()["kid"]["S"], *kid);
        }
        keys.issued.push(Issued { text, kid: kid.clone(), expires });
        kid
    }

    /// Runs the scheduled rotation, sometimes twice at once.
    pub(super) async fn rotate(&mut self) {
        let [one, other] = &self.keys.rotators;
        let runs = if self.dice.below(4) == 0 {
            let (one, other) = tokio::join!(one.rotate(), other.rotate());
            vec![one, other]
        } else {
            vec![one.rotate().await]
        };
        self.keys.note(self.world, self.clock.now(), &self.met);
        for run in runs {
            assert!(self.met.has_any() || run.is_ok(), "{run:?}, and nothing failed");
            for key in run.map_or(Vec::new(), |run| run.created) {
                assert!(self.keys.known.contains_key(key.jwk.kid()), "created means written: {key:?}");
            }
        }
    }

    /// Lets the next key sign now, as an administrator.
    pub(super) async fn rotate_now(&mut self) {
        let outcome = self.keys.administrator.rotate_now().await;
        self.keys.note(self.world, self.clock.now(), &self.met);
        let is_refused = |refused| !matches!(refused, ChangeRefused::Key(_));
        assert!(self.met.has_any() || outcome.map_or_else(is_refused, |_| true), "nothing failed");
    }

    /// Withdraws one of the last keys, as an administrator.
    pub(super) async fn withdraw(&mut self) {
        let ring = truth::ring(self.world);
        let back = self.dice.below(3);
        let Some(key) = ring.iter().rev().nth(back) else { return };
        let force = self.keys.may_force && self.dice.below(2) == 0;
        self.keys.has_forced |= force;
        let outcome = self.keys.administrator.withdraw(&key.kid, force).await;
        self.keys.note(self.world, self.clock.now(), &self.met);
        // A key whose tokens have all expired is deleted.
        let is_gone = || truth::ring(self.world).iter().all(|left| left.kid != key.kid);
        let is_withdrawn = self.keys.withdrawn.contains_key(&key.kid) || is_gone();
        assert!(outcome.is_err() || is_withdrawn, "withdrawn means written");
    }

    /// Withdraws a key by force, as an administrator with a network without faults.
    pub(super) async fn withdraw_key(&mut self, kid: &str) {
        let store = self.world.store.without_faults();
        let config = &self.world.config.store;
        let (db, envelope) = (store.client(&config.aws), store.envelope(&config.aws));
        let rotator = Rotator::new(
            &db,
            &config.table_prefix,
            config.schedule,
            envelope,
            self.clock.clone(),
            Random::system(),
            AuditLog::tracing(),
        );
        self.keys.has_forced = true;
        rotator.withdraw(kid, true).await.unwrap();
        self.keys.note(self.world, self.clock.now(), &self.met);
    }

    /// Fetches the key set as a verifier. It must contain the key of every valid token, and no
    /// withdrawn key.
    pub(super) async fn fetch_key_set(&mut self) {
        let asked = self.clock.now();
        let Some(kids) = self.keys.key_set().await else {
            assert!(self.met.has_any(), "no key set, and nothing failed");
            return;
        };
        for kid in &kids {
            assert!(self.keys.may_be_trusted(kid, asked, &self.met), "a withdrawn key is published");
        }
        let now = self.clock.now();
        for issued in self.keys.issued.iter().filter(|issued| now < issued.expires) {
            let is_sure = !self.keys.has_forced && !self.keys.withdrawn.contains_key(&issued.kid);
            assert!(!is_sure || kids.contains(&issued.kid), "a token is valid, but its key is not published");
        }
        self.keys.fetched.push(KeySet { at: asked, kids });
    }

    /// Calls an API with one of the last tokens.
    pub(super) async fn call_with_token(&mut self) {
        let back = self.dice.below(3);
        let keys = &self.keys;
        let Some(token) = keys.issued.iter().rev().nth(back) else { return };
        let asked = self.clock.now();
        let Some(is_accepted) = keys.call(&format!("Bearer {}", token.text)).await else {
            assert!(self.met.has_any(), "no response, and nothing failed");
            return;
        };
        let may_enter = asked < token.expires && keys.may_be_trusted(&token.kid, asked, &self.met);
        assert!(!is_accepted || may_enter, "accepted with an invalid token");
        let is_good = self.clock.now() < token.expires && !keys.withdrawn.contains_key(&token.kid);
        assert!(is_accepted || !is_good || keys.has_forced, "refused with a valid token");
    }

    /// Checks that, over a network without faults, one rotation leaves nothing for the next one to
    /// do.
    pub(super) async fn repair_ring(&mut self) {
        loop {
            let [rotator, _] = &self.keys.rotators;
            rotator.rotate().await.unwrap();
            self.world.store.take_calls();
            rotator.rotate().await.unwrap();
            assert_eq!(
                self.world.store.take_calls(),
                ["rotate: Query signing-keys"],
                "nothing is left to do"
            );
            // Every cached copy of the ring expires.
            tokio::time::sleep(Duration::from_secs(6 * 60)).await;
            let has_announced = rotator.ring().await.unwrap().announced(self.clock.now()).is_some();
            self.keys.note(self.world, self.clock.now(), &self.met);
            if has_announced {
                return;
            }
            // It has started to sign in the meantime, and the next hourly run announces another one.
        }
    }

    /// Checks that the signing key and the announced key are published, and that nothing accepts a
    /// withdrawn key.
    pub(super) async fn audit_ring(&mut self) {
        let [rotator, _] = &self.keys.rotators;
        let (ring, now) = (rotator.ring().await.unwrap(), self.clock.now());
        let signing = ring.signing(now).expect("a key signs").key.jwk.kid().to_owned();
        let announced = ring.announced(now).expect("a key is announced").key.jwk.kid().to_owned();
        let token = self.service_token().await;
        self.issued(now, &token);
        assert_eq!(unverified_kid(&token.access_token()), signing);
        self.fetch_key_set().await;
        let published = &self.keys.fetched.last().unwrap().kids;
        assert!(published.contains(&signing) && published.contains(&announced));
        let keys = &self.keys;
        assert!(published.iter().all(|kid| !keys.withdrawn.contains_key(kid)));
        for token in keys.issued.iter().filter(|token| now < token.expires) {
            let is_accepted = keys.call(&format!("Bearer {}", token.text)).await;
            assert_eq!(is_accepted, Some(!keys.withdrawn.contains_key(&token.kid)), "{}", token.kid);
        }
    }

    /// Checks that the next rotation repairs everything that a rotation leaves behind if half of
    /// its calls fail while it creates, erases and deletes keys.
    pub(super) async fn audit_failing_rotations(&mut self) {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(26 * 3600)).await;
            self.met.fail_half_of(self.world, self.dice.clone(), "rotate: ");
            self.dice.bits();
            self.rotate().await;
            self.world.store.heal();
            self.repair_ring().await;
            assert_eq!(self.service_token().await.status, 200);
        }
    }

    /// Checks that the announced key starts to sign without another rotation, and that verifiers
    /// know it.
    pub(super) async fn audit_succession(&mut self) {
        let [rotator, _] = &self.keys.rotators;
        let announced = rotator.ring().await.unwrap().announced(self.clock.now()).unwrap().key.clone();
        let wait = announced.activates_at.since(self.clock.now());
        let kids = self.keys.key_set().await.unwrap();
        tokio::time::sleep(wait).await;
        let token = self.service_token().await.access_token();
        assert_eq!(unverified_kid(&token), announced.jwk.kid());
        assert!(kids.contains(&unverified_kid(&token)));
        assert_eq!(self.keys.call(&format!("Bearer {token}")).await, Some(true));
        assert_eq!(rotator.rotate().await.unwrap().created.len(), 1);
    }
}
