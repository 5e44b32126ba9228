//! The ring in a history: whoever rotates it, publishes it, withdraws of it, and verifies by it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_issuer::audit::AuditLog;
use countersign_issuer::Authorizer;
use countersign_issuer::http::{self, Request};
use countersign_issuer::issuer::Publisher;
use countersign_issuer::keys::{ChangeRefused, Rotator};
use countersign_issuer::random::Random;
use countersign_tests::TestResponse;
use countersign_tests::in_process::InProcess;
use countersign_verify::{Clock, Timestamp};
use serde_json::Value;

use super::history::History;
use super::truth::{self, Change, KeyOnRecord, Met, READING_RING};

/// How long a verifier may keep a key set, whatever the set says.
const KEPT: Duration = Duration::from_secs(2 * 3600);

const POLICY: &str = "
[[rule]]
methods = [\"GET\"]
path = \"/api/calls\"
scopes = [\"read\"]
";
const EVENT: &str = include_str!("../../../events/authorizer-http.json");

/// An access token that was given out.
struct Issued {
    text: String,
    kid: String,
    expires: Timestamp,
}

/// A key set that a verifier was given.
struct KeySet {
    at: Timestamp,
    kids: Vec<String>,
}

/// Whoever has to do with the ring, and what is known of it.
pub(super) struct Keys {
    publisher: Publisher,
    authorizer: Authorizer,
    /// Two, for a run that meets another one.
    rotators: [Rotator; 2],
    administrator: Rotator,
    /// Every key that there has ever been, by its name.
    known: HashMap<String, KeyOnRecord>,
    withdrawn: HashMap<String, Change>,
    issued: Vec<Issued>,
    fetched: Vec<KeySet>,
    /// Whether the administrator may withdraw a key though no verifier knows its heir, and has.
    may_force: bool,
    has_forced: bool,
}

fn publisher(world: &InProcess, clock: &Clock) -> Publisher {
    Publisher::new(&world.config, &world.store.of("jwks").client(&world.config.store.aws), clock.clone(), AuditLog::tracing())
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

    pub(super) fn start_anew(&mut self, world: &InProcess, clock: &Clock) {
        self.publisher = publisher(world, clock);
        self.authorizer = world.authorizer("authorizer", POLICY, clock);
    }

    /// Looks at the table, in which nothing may be half-written.
    fn note(&mut self, world: &InProcess, now: Timestamp, met: &Met) {
        for key in truth::ring(world) {
            match &key.wrapped {
                None => assert!(key.is_erased, "a key without a private half: {key:?}"),
                Some(wrapped) => {
                    let wrapped: Value = serde_json::from_slice(wrapped).unwrap();
                    assert_eq!(wrapped["context"]["seq"], key.seq.to_string(), "wrapped for another place");
                    assert!(key.withdrawn_at.is_none(), "withdrawn, and its private half is there: {key:?}");
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

    /// Whether tokens under the key `kid` may be taken or given out by whoever was asked at `asked`.
    fn may_be_trusted(&self, kid: &str, asked: Timestamp, met: &Met) -> bool {
        self.withdrawn.get(kid).is_none_or(|withdrawn| withdrawn.of_ring_may_be_unseen(asked, met))
    }

    /// Whether a session that has been under those keys may be a forged one's child.
    pub(super) fn is_tainted(&self, kids: &HashSet<String>) -> bool {
        kids.iter().any(|kid| self.withdrawn.contains_key(kid))
    }

    /// Whether it may be taken for a good one nonetheless.
    pub(super) fn may_all_be_trusted(&self, kids: &HashSet<String>, asked: Timestamp, met: &Met) -> bool {
        kids.iter().all(|kid| self.may_be_trusted(kid, asked, met))
    }

    /// Whether the API lets a client in by its secret; none where there is no answer.
    pub(super) async fn call_with_secret(&self, id: &str, secret: &str) -> Option<bool> {
        self.call(&format!("Basic {}", BASE64.encode(format!("{id}:{secret}")))).await
    }

    async fn call(&self, authorization: &str) -> Option<bool> {
        let event = EVENT.replace("Bearer ACCESS_TOKEN", authorization);
        let answer = self.authorizer.authorize(serde_json::from_str(&event).unwrap()).await.ok()?;
        Some(serde_json::to_value(answer).unwrap()["isAuthorized"] == true)
    }

    /// The names of the keys that are published; none where there is no answer.
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
    /// Judges the key of a token that was asked for at `asked`; says its name.
    pub(super) fn issued(&mut self, asked: Timestamp, answer: &TestResponse) -> String {
        let text = answer.access_token();
        let (kid, expires) = (truth::kid(&text), truth::expiry(&text));
        let keys = &mut self.keys;
        assert!(keys.known.contains_key(&kid), "a key that signs stands in the table");
        assert!(keys.may_be_trusted(&kid, asked, &self.met), "signed by a key that was withdrawn");
        // A withdrawn one is not published, and signs on where that has not been read.
        let is_sure = !keys.has_forced && !keys.withdrawn.contains_key(&kid);
        for set in keys.fetched.iter().filter(|set| is_sure && asked < set.at.plus(KEPT)) {
            assert!(set.kids.contains(&kid), "a verifier that asked at {:?} does not know {kid}", set.at);
        }
        if let Some(refresh_token) = answer.json()["refresh_token"].as_str() {
            assert_eq!(truth::kid(refresh_token), kid);
        }
        keys.issued.push(Issued { text, kid: kid.clone(), expires });
        kid
    }

    /// Rotation on its schedule, and at times a second one at once.
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

    /// An administrator lets the next key sign now.
    pub(super) async fn rotate_now(&mut self) {
        let outcome = self.keys.administrator.rotate_now().await;
        self.keys.note(self.world, self.clock.now(), &self.met);
        let is_refused = |refused| !matches!(refused, ChangeRefused::Key(_));
        assert!(self.met.has_any() || outcome.map_or_else(is_refused, |_| true), "nothing failed");
    }

    /// An administrator withdraws one of the last keys.
    pub(super) async fn withdraw(&mut self) {
        let ring = truth::ring(self.world);
        let back = self.dice.below(3);
        let Some(key) = ring.iter().rev().nth(back) else { return };
        let force = self.keys.may_force && self.dice.below(2) == 0;
        self.keys.has_forced |= force;
        let outcome = self.keys.administrator.withdraw(&key.kid, force).await;
        self.keys.note(self.world, self.clock.now(), &self.met);
        // Of a key whose tokens have all expired nothing is left.
        let is_gone = || truth::ring(self.world).iter().all(|left| left.kid != key.kid);
        let is_withdrawn = self.keys.withdrawn.contains_key(&key.kid) || is_gone();
        assert!(outcome.is_err() || is_withdrawn, "withdrawn means written");
    }

    /// An administrator whose network is whole withdraws a key, come what may.
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

    /// A verifier fetches the key set: it holds every key under which a token lives, and none that was withdrawn.
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
            assert!(!is_sure || kids.contains(&issued.kid), "a token lives, and its key is not published");
        }
        self.keys.fetched.push(KeySet { at: asked, kids });
    }

    /// Somebody calls an API with one of the last tokens.
    pub(super) async fn call_with_token(&mut self) {
        let back = self.dice.below(3);
        let keys = &self.keys;
        let Some(token) = keys.issued.iter().rev().nth(back) else { return };
        let asked = self.clock.now();
        let Some(is_let_in) = keys.call(&format!("Bearer {}", token.text)).await else {
            assert!(self.met.has_any(), "no answer, and nothing failed");
            return;
        };
        let may_enter = asked < token.expires && keys.may_be_trusted(&token.kid, asked, &self.met);
        assert!(!is_let_in || may_enter, "let in by a token that is no good");
        let is_good = self.clock.now() < token.expires && !keys.withdrawn.contains_key(&token.kid);
        assert!(is_let_in || !is_good || keys.has_forced, "kept out with a good token");
    }

    /// With the network whole again one run of rotation leaves a ring that needs no other.
    pub(super) async fn mend_ring(&mut self) {
        let [rotator, _] = &self.keys.rotators;
        rotator.rotate().await.unwrap();
        self.world.store.take_calls();
        rotator.rotate().await.unwrap();
        assert_eq!(self.world.store.take_calls(), ["rotate: Query signing-keys"], "nothing is left to do");
        self.keys.note(self.world, self.clock.now(), &self.met);
        // Nobody goes by what was read before.
        tokio::time::sleep(Duration::from_secs(6 * 60)).await;
    }

    /// A key signs that is published, another one is announced, and what was withdrawn is of no use to anybody.
    pub(super) async fn audit_ring(&mut self) {
        let [rotator, _] = &self.keys.rotators;
        let (ring, now) = (rotator.ring().await.unwrap(), self.clock.now());
        let signing = ring.signing(now).expect("a key signs").key.jwk.kid().to_owned();
        let announced = ring.announced(now).expect("a key is announced").key.jwk.kid().to_owned();
        let token = self.service_token().await;
        self.issued(now, &token);
        assert_eq!(truth::kid(&token.access_token()), signing);
        self.fetch_key_set().await;
        let published = &self.keys.fetched.last().unwrap().kids;
        assert!(published.contains(&signing) && published.contains(&announced));
        let keys = &self.keys;
        assert!(published.iter().all(|kid| !keys.withdrawn.contains_key(kid)));
        for token in keys.issued.iter().filter(|token| now < token.expires) {
            let is_let_in = keys.call(&format!("Bearer {}", token.text)).await;
            assert_eq!(is_let_in, Some(!keys.withdrawn.contains_key(&token.kid)), "{}", token.kid);
        }
    }

    /// Runs of rotation that make, erase and delete keys, half of whose calls fail, leave nothing that the next one cannot
    /// put right.
    pub(super) async fn audit_failing_rotations(&mut self) {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(26 * 3600)).await;
            self.met.fail_half_of(self.world, self.dice.clone(), "rotate: ");
            self.dice.bits();
            self.rotate().await;
            self.world.store.heal();
            self.mend_ring().await;
            assert_eq!(self.service_token().await.status, 200);
        }
    }

    /// A day and some later the announced key signs without another run, and verifiers know it.
    pub(super) async fn audit_succession(&mut self) {
        let [rotator, _] = &self.keys.rotators;
        let announced = rotator.ring().await.unwrap().announced(self.clock.now()).unwrap().key.clone();
        let wait = announced.activates_at.since(self.clock.now());
        let kids = self.keys.key_set().await.unwrap();
        tokio::time::sleep(wait).await;
        let token = self.service_token().await.access_token();
        assert_eq!(truth::kid(&token), announced.jwk.kid());
        assert!(kids.contains(&truth::kid(&token)));
        assert_eq!(self.keys.call(&format!("Bearer {token}")).await, Some(true));
        assert_eq!(rotator.rotate().await.unwrap().created.len(), 1);
    }
}
