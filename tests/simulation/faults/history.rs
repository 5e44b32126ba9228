//! One history: clients, a user or an operator, and an administrator who disables and enables them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use countersign_issuer::audit::AuditLog;
use countersign_issuer::config::DEFAULT_TABLE_PREFIX;
use countersign_issuer::http;
use countersign_issuer::issuer::Issuer;
use countersign_issuer::random::Random;
use countersign_issuer::records::{Client, Principal};
use countersign_issuer::store::Table;
use countersign_tests::TestResponse;
use countersign_tests::dice::Dice;
use countersign_tests::in_process::{
    APP_SECRET, InProcess, PASSWORD, Post, SERVICE_SECRET, clock_of_tokio, random_without_salts, wrong,
};
use countersign_tests::token_verifier::{unverified_kid, unverified_refresh_claims};
use countersign_verify::{Clock, Timestamp};
use serde_json::Value;

use super::keys::Keys;
use super::truth::{FRESHNESS, Met, READING_RING, REFUSAL_FRESHNESS, Standing};

/// A refresh token and its place in its family.
#[derive(Debug, Clone)]
struct Token {
    text: String,
    family: String,
    generation: u64,
    expires: Timestamp,
    /// The principal's session that it belongs to: how often the sessions had been ended before.
    session: u64,
    /// The `kid` of every key that signed it or a predecessor.
    keys: HashSet<String>,
}

impl Token {
    fn read(text: &str, session: u64, keys: HashSet<String>) -> Self {
        let claims = unverified_refresh_claims(text);
        Self {
            text: text.to_owned(),
            family: claims["family"].as_str().unwrap().to_owned(),
            generation: claims["generation"].as_u64().unwrap(),
            expires: Timestamp::from_seconds(claims["exp"].as_u64().unwrap()),
            session,
            keys,
        }
    }
}

/// Names of clients with their correct secrets.
const APP: (&str, &str) = ("app", APP_SECRET);
const SERVICE: (&str, &str) = ("service", SERVICE_SECRET);

/// The events so far and the true state of every record.
pub(super) struct History<'a> {
    pub(super) world: &'a InProcess,
    pub(super) clock: Clock,
    pub(super) dice: Dice,
    /// The faults so far.
    pub(super) met: Met,
    /// The percentage of calls that fail, except during a blackout.
    percent: usize,
    failing: Arc<AtomicUsize>,
    pub(super) keys: Keys,
    /// The store without its network.
    truth: aws_sdk_dynamodb::Client,
    issuer: Arc<Issuer>,
    /// The principal that logs in: grant, username and record.
    user: (&'static str, &'static str, &'static str),
    clients: HashMap<&'static str, Standing>,
    principals: HashMap<&'static str, Standing>,
    /// Counts how often the principal's sessions have been ended.
    session: u64,
    tokens: Vec<Token>,
    revoked: HashSet<String>,
    /// Guesses at the password that were checked and wrong.
    failures: u64,
    /// Those before the network can be known, after which only the counter of the network counts.
    failures_as_stranger: u64,
    may_be_known: bool,
    /// Refusals of a password that had been refused before. They count only after a login in between.
    repeated: u64,
    last_refused: Option<String>,
    /// Attempts to log in.
    guesses: usize,
    /// Logins that may stay counted although they were not failures: the release of their
    /// reservation may be lost.
    uncertain: u64,
    waits: &'static [u64],
    /// Until the invocation of a step ends. Then the request is dropped wherever it is, and the
    /// process is frozen, as Lambda does it.
    time_left: Duration,
    /// Requests that were dropped. What they had reserved stays counted.
    ended_early: AtomicU64,
}

const JANE: &str = "user#acme#jane";
const ALICE: &str = "operator#alice";

/// In milliseconds.
const SHORT: [u64; 4] = [100, 3_000, 11_000, 61_000];
const LONG: [u64; 8] = [100, 3_000, 11_000, 61_000, 600_000, 4_200_000, 18_000_000, 93_600_000];

impl<'a> History<'a> {
    /// Plays the history of `seed` and audits it.
    pub(super) async fn run(world: &'a InProcess, records: &[(String, Value)], seed: u64, all: &Met) {
        world.store.restore(records);
        let mut dice = Dice::new(seed);
        let bytes = Mutex::new(dice.clone());
        let random = Random::new(move |fill| {
            let mut dice = bytes.lock().unwrap();
            if fill.len() == 8 {
                // A salt of the throttle, for which `wrong` is made.
                fill.fill(0);
                return Ok(());
            }
            fill.fill_with(|| dice.bits().to_le_bytes()[0]);
            Ok(())
        });
        // The ring is as old as the records. Verifiers know the successor, or it is about to sign.
        let age = Duration::from_secs(dice.pick(&[5 * 3600, 24 * 3600 - 60]));
        let begun = clock_of_tokio();
        let clock = Clock::new(move || begun.now().plus(age));
        let user = dice.pick(&[("password", "jane", JANE), ("operator_password", "alice", ALICE)]);
        // From a network without faults to one that mostly fails.
        let percent = dice.pick(&[0, 2, 10, 30, 70]);
        let is_long = dice.below(2) == 0;
        let mut history = Self {
            world,
            dice: dice.clone(),
            met: Met::default(),
            percent,
            failing: Arc::new(AtomicUsize::new(percent)),
            keys: Keys::start(world, &clock, dice.below(4) == 0),
            truth: world.store.without_faults().client(&world.config.store.aws),
            issuer: world.another_process(&clock, random),
            user,
            clients: ["app", "service"].map(|client| (client, Standing::new("GetItem clients"))).into(),
            principals: [JANE, ALICE].map(|key| (key, Standing::new("GetItem principals"))).into(),
            session: 0,
            tokens: Vec::new(),
            revoked: HashSet::new(),
            failures: 0,
            failures_as_stranger: 0,
            may_be_known: false,
            repeated: 0,
            last_refused: None,
            guesses: 0,
            uncertain: 0,
            waits: if is_long { &LONG } else { &SHORT },
            time_left: Duration::MAX,
            ended_early: AtomicU64::new(0),
            clock,
        };
        let started = history.clock.now();
        history.met.inject(world, dice, Arc::clone(&history.failing));
        for _ in 0..16 {
            if history.dice.below(4) == 0 {
                history.time_left = Duration::from_millis(history.dice.pick(&[20, 120, 900, 2_500]));
                history.step().await;
                history.time_left = Duration::MAX;
                history.wait().await;
            } else {
                history.step().await;
            }
        }
        world.store.heal();
        let is_one_window = history.clock.now().since(started) < Duration::from_secs(15 * 60);
        history.audit_counters(is_one_window).await;
        history.repair_ring().await;
        history.audit_the_disabled().await;
        // The announced key may have started to sign in the meantime.
        history.repair_ring().await;
        history.audit_ring().await;
        history.audit_families().await;
        history.audit_succession().await;
        history.audit_limits().await;
        history.audit_failing_rotations().await;
        all.add(&history.met);
    }

    async fn step(&mut self) {
        match self.dice.below(32) {
            0..4 => self.log_in().await,
            4..6 => self.client_credentials().await,
            6..9 => self.refresh().await,
            9 => self.race().await,
            10 => self.revoke().await,
            11..13 | 26..28 => self.introspect().await,
            13 => self.restart(),
            14 => self.switch_client().await,
            15 => self.switch_principal().await,
            16 => self.end_sessions().await,
            17 => self.withdraw().await,
            18..20 => self.rotate().await,
            20 => self.fetch_key_set().await,
            21 => self.call_with_token().await,
            22..24 => self.call_with_secret().await,
            24 => self.rotate_now().await,
            25 => self.toggle_blackout(),
            _ => self.wait().await,
        }
    }

    /// Sends a request and checks the response against the client's record.
    async fn send(&self, path: &str, client: (&str, &str), form: &[(&str, &str)]) -> TestResponse {
        let (asked, standing) = (self.clock.now(), &self.clients[client.0]);
        let has_secret = [APP, SERVICE].contains(&client);
        let answer = Post::new(path, client.0, client.1, form).from("203.0.113.7");
        let answer = tokio::time::timeout(self.time_left, answer.to(&self.issuer)).await;
        let answer = answer.unwrap_or_else(|_| {
            self.ended_early.fetch_add(1, Ordering::Relaxed);
            http::out_of_time(&AuditLog::tracing()).into()
        });
        match answer.status.as_u16() {
            200 | 400 => {
                assert!(has_secret, "accepted with a wrong secret");
                assert!(
                    standing.may_pass_for(true, asked, &self.met, FRESHNESS),
                    "a disabled client was accepted: {standing:?} at {asked:?}"
                );
            }
            401 => {
                answer.assert_error(401, "invalid_client");
                let is_out = standing.may_pass_for(false, asked, &self.met, REFUSAL_FRESHNESS);
                assert!(is_out || !has_secret, "refused with the correct secret: {standing:?} at {asked:?}");
            }
            429 | 503 => {
                answer.assert_error(answer.status.as_u16(), "temporarily_unavailable");
                assert!((1..=60).contains(&answer.header("retry-after").parse::<u64>().unwrap()));
                assert!(answer.status == 429 || self.met.has_any(), "503, and nothing failed");
            }
            status => panic!("{status}: {}", answer.text),
        }
        answer
    }

    async fn log_in(&mut self) {
        let is_right = self.dice.below(2) == 0;
        self.guesses += 1;
        let password = if is_right { PASSWORD.to_owned() } else { wrong(self.guesses) };
        let form = [("grant_type", self.user.0), ("username", self.user.1), ("password", &password)];
        let asked = self.clock.now();
        let answer = self.send("/oauth/token", APP, &form).await;
        let may_enter = is_right && self.principals[self.user.2].is_enabled;
        self.may_be_known |= may_enter;
        match (answer.status.as_u16(), may_enter) {
            // The client was refused, so the password was not checked.
            (401, _) => {}
            // The correct password of a disabled principal, again.
            (400, false) if self.last_refused.as_ref() == Some(&password) => self.repeated += 1,
            (400, false) => {
                self.failures += 1;
                self.failures_as_stranger += u64::from(!self.may_be_known);
                self.last_refused = Some(password);
            }
            (200, true) => {
                let kid = self.issued(asked, &answer);
                let token = Token::read(&answer.refresh_token(), self.session, HashSet::from([kid]));
                assert_eq!(token.generation, 0);
                self.tokens.push(token);
                self.uncertain += 1;
            }
            (429 | 503, _) => self.uncertain += 1,
            (status, _) => panic!("{status}, and the login should succeed: {may_enter}"),
        }
    }

    async fn client_credentials(&mut self) {
        let is_right = self.dice.below(4) != 0;
        let secret = if is_right { SERVICE_SECRET } else { "wrong" };
        let form = [("grant_type", "client_credentials"), ("operator", "alice")];
        let form = &form[..=self.dice.below(2)];
        let asked = self.clock.now();
        let answer = self.send("/oauth/token", ("service", secret), form).await;
        let alice = &self.principals[ALICE];
        let may_pass_for = |enabled| alice.may_pass_for(enabled, asked, &self.met, FRESHNESS);
        match answer.status.as_u16() {
            200 => {
                assert!(form.len() == 1 || may_pass_for(true), "on behalf of a disabled operator: {alice:?}");
                self.issued(asked, &answer);
            }
            400 => assert!(form.len() == 2 && may_pass_for(false), "{} {alice:?}", answer.text),
            // The correct secret never waits.
            429 => {
                assert!(
                    !is_right || self.clients["service"].may_pass_for(false, asked, &self.met, FRESHNESS)
                );
            }
            _ => {}
        }
    }

    async fn refresh(&mut self) {
        let Some(used) = self.any_token() else { return };
        let form = [("grant_type", "refresh_token"), ("refresh_token", used.text.as_str())];
        let path = self.dice.pick(&["/oauth/token", "/oauth/refresh"]);
        let asked = self.clock.now();
        let answer = self.send(path, APP, &form).await;
        self.check_refresh(&used, asked, &answer).await;
    }

    /// Refreshes with the same token twice at once.
    async fn race(&mut self) {
        let Some(used) = self.any_token() else { return };
        let form = [("refresh_token", used.text.as_str())];
        let asked = self.clock.now();
        let refresh = || self.send("/oauth/refresh", APP, &form);
        let (one, other) = tokio::join!(refresh(), refresh());
        self.check_refresh(&used, asked, &one).await;
        self.check_refresh(&used, asked, &other).await;
    }

    async fn check_refresh(&mut self, used: &Token, asked: Timestamp, answer: &TestResponse) {
        if answer.status != 200 {
            return;
        }
        let kid = self.issued(asked, answer);
        let keys = used.keys.iter().cloned().chain([kid]).collect();
        let successor = Token::read(&answer.refresh_token(), used.session, keys);
        assert_eq!((&successor.family, successor.generation), (&used.family, used.generation + 1));
        assert!(!self.revoked.contains(&used.family), "a token of a revoked family");
        assert!(self.principals[self.user.2].is_enabled, "a token of a disabled principal");
        assert_eq!(used.session, self.session, "a token of a session that was ended");
        assert!(asked < used.expires, "a token that had expired");
        assert!(
            self.keys.may_all_be_trusted(&used.keys, asked, &self.met),
            "a session under a key that was withdrawn"
        );
        let standing = self.family(&used.family).await;
        assert_eq!(
            standing,
            Some((successor.generation, false)),
            "200 means written, and one live successor"
        );
        self.tokens.push(successor);
    }

    async fn revoke(&mut self) {
        let Some(token) = self.any_token() else { return };
        let answer = self.send("/oauth/revoke", APP, &[("token", &token.text)]).await;
        if answer.status == 200 {
            let standing = self.family(&token.family).await;
            // Revoking an invalid token succeeds without an effect.
            if self.clock.now() < token.expires && !self.keys.is_tainted(&token.keys) {
                assert!(standing.is_some_and(|(_, is_revoked)| is_revoked));
            }
            if standing.is_some_and(|(_, is_revoked)| is_revoked) {
                self.revoked.insert(token.family);
            }
        }
    }

    async fn introspect(&mut self) {
        let Some(token) = self.any_token() else { return };
        let asked = self.clock.now();
        let form = [("token", &*token.text), ("token_type_hint", "refresh_token")];
        let answer = self.send("/oauth/introspect", APP, &form).await;
        if answer.status == 200 {
            let is_current = match self.family(&token.family).await {
                Some((stands_at, is_revoked)) => stands_at == token.generation && !is_revoked,
                None => token.generation == 0,
            };
            let is_good =
                is_current && self.principals[self.user.2].is_enabled && token.session == self.session;
            let is_active = answer.json()["active"] == true;
            let may_be_active = is_good
                && asked < token.expires
                && self.keys.may_all_be_trusted(&token.keys, asked, &self.met);
            assert!(!is_active || may_be_active, "active, but not valid: {token:?}");
            let is_surely_active =
                is_good && self.clock.now() < token.expires && !self.keys.is_tainted(&token.keys);
            assert!(is_active || !is_surely_active, "inactive, but valid: {token:?}");
        }
    }

    async fn wait(&mut self) {
        let millis = self.dice.pick(self.waits);
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    /// Starts new function instances, with empty caches.
    fn restart(&mut self) {
        self.issuer = self.world.another_process(&self.clock, random_without_salts());
        self.keys.restart(self.world, &self.clock);
    }

    /// Disables a client or enables it again.
    async fn switch_client(&mut self) {
        let name = self.dice.pick(&["app", "service"]);
        self.set_client(name, !self.clients[name].is_enabled).await;
    }

    async fn set_client(&mut self, name: &'static str, is_enabled: bool) {
        let table = Table::<Client>::new(self.truth.clone(), DEFAULT_TABLE_PREFIX);
        let mut client = table.get(name).await.unwrap().unwrap();
        client.enabled = is_enabled;
        table.save(&mut client).await.unwrap();
        let standing = self.clients.get_mut(name).unwrap();
        standing.set(is_enabled, self.clock.now(), &self.met);
    }

    /// Disables a user or an operator, or enables them again.
    async fn switch_principal(&mut self) {
        let key = self.dice.pick(&[JANE, ALICE]);
        self.set_principal(key, !self.principals[key].is_enabled).await;
    }

    async fn set_principal(&mut self, key: &'static str, is_enabled: bool) {
        let now = self.clock.now();
        let change = |principal: &mut Principal| {
            if is_enabled {
                principal.enabled = true;
            } else {
                principal.disable(now);
            }
        };
        self.change_principal(key, change).await;
        if key == self.user.2 && !is_enabled {
            self.session += 1;
        }
        self.principals.get_mut(key).unwrap().set(is_enabled, now, &self.met);
    }

    /// Ends all sessions of the principal.
    async fn end_sessions(&mut self) {
        let now = self.clock.now();
        self.change_principal(self.user.2, |principal| principal.end_sessions(now)).await;
        self.session += 1;
    }

    async fn change_principal(&self, key: &str, change: impl FnOnce(&mut Principal)) {
        let table = Table::<Principal>::new(self.truth.clone(), DEFAULT_TABLE_PREFIX);
        let mut principal = table.get(key).await.unwrap().unwrap();
        change(&mut principal);
        table.save(&mut principal).await.unwrap();
    }

    /// Calls an API as the service, with its secret or a wrong one.
    async fn call_with_secret(&mut self) {
        let is_right = self.dice.below(4) != 0;
        let secret = if is_right { SERVICE_SECRET } else { "wrong" };
        let (asked, service) = (self.clock.now(), &self.clients["service"]);
        match self.keys.call_with_secret("service", secret).await {
            Some(true) => {
                assert!(is_right, "accepted with a wrong secret");
                let may_enter = service.may_pass_for(true, asked, &self.met, FRESHNESS);
                assert!(may_enter, "an API accepted a disabled client: {service:?} at {asked:?}");
            }
            Some(false) => {
                let is_out = service.may_pass_for(false, asked, &self.met, REFUSAL_FRESHNESS);
                assert!(is_out || !is_right, "an API refused a client: {service:?} at {asked:?}");
            }
            None => {
                let may_wait = !is_right || service.may_pass_for(false, asked, &self.met, FRESHNESS);
                assert!(self.met.has_any() || may_wait, "no response, and nothing failed");
            }
        }
    }

    /// Starts a blackout, in which every call fails, or ends it.
    fn toggle_blackout(&self) {
        if self.percent > 0 {
            let other = if self.failing.load(Ordering::Relaxed) == self.percent { 100 } else { self.percent };
            self.failing.store(other, Ordering::Relaxed);
        }
    }

    fn any_token(&mut self) -> Option<Token> {
        // Mostly one of the latest.
        let back = self.dice.pick(&[1, 1, 1, 2, 3]);
        self.tokens.iter().rev().nth(back - 1).cloned()
    }

    /// Reads the generation of a family from the store, and whether it is revoked.
    async fn family(&self, family: &str) -> Option<(u64, bool)> {
        let key = AttributeValue::S(family.into());
        let request = self.truth.get_item().table_name("countersign-refresh-families").key("family", key);
        let item = request.send().await.unwrap().item?;
        Some((item["generation"].as_n().unwrap().parse().unwrap(), item.contains_key("revoked_at")))
    }

    /// Requests a token as the service.
    pub(super) async fn service_token(&self) -> TestResponse {
        self.send("/oauth/token", SERVICE, &[("grant_type", "client_credentials")]).await
    }

    /// Checks that no failure is forgotten, and that the excess of the counters is no more than the
    /// releases and the responses to reservations that may be lost. Then deletes the counters, so
    /// that no later guess is slowed down.
    async fn audit_counters(&self, is_one_window: bool) {
        let attempts = self.truth.scan().table_name("countersign-attempts").send().await.unwrap();
        let faults = self.met.count("UpdateItem attempts");
        let mut counters = 0;
        for item in attempts.items() {
            let key = item["attempt"].as_s().unwrap();
            if key.starts_with("principal") {
                counters += 1;
                let counted: u64 = item["failures"].as_n().unwrap().parse().unwrap();
                let is_of_network = key.starts_with("principal and address");
                let least = if is_of_network { self.failures } else { self.failures_as_stranger };
                let unsettled = faults + self.ended_early.load(Ordering::Relaxed);
                let most = self.failures + self.repeated + self.uncertain.min(unsettled);
                let is_true = (least..=most).contains(&counted);
                // The failures of a window end with the window.
                assert!(is_true || !is_one_window, "{key}: {counted} of {least}..={most}");
            }
            let key = item["attempt"].clone();
            let delete = self.truth.delete_item().table_name("countersign-attempts").key("attempt", key);
            delete.send().await.unwrap();
        }
        // One counter for the name in its network, and one for the name through the client.
        assert!(counters == 2 || self.failures == 0 || !is_one_window, "{counters} counters");
    }

    /// Checks that over a network without faults disabled records are refused, and accepted once
    /// they are enabled.
    async fn audit_the_disabled(&mut self) {
        let login = [("grant_type", self.user.0), ("username", self.user.1), ("password", PASSWORD)];
        let for_alice = [("grant_type", "client_credentials"), ("operator", "alice")];
        for _ in 0..2 {
            for (client, principal, form) in [(APP, self.user.2, &login[..]), (SERVICE, ALICE, &for_alice)] {
                let is_enabled = (self.clients[client.0].is_enabled, self.principals[principal].is_enabled);
                let expected = match is_enabled {
                    (false, _) => 401,
                    (true, false) => 400,
                    (true, true) => 200,
                };
                let answer = self.send("/oauth/token", client, form).await;
                assert_eq!(answer.status, expected, "{}", answer.text);
            }
            for name in ["app", "service"] {
                self.set_client(name, true).await;
            }
            for key in [JANE, ALICE] {
                self.set_principal(key, true).await;
            }
            tokio::time::sleep(FRESHNESS).await;
        }
    }

    /// Checks one kind of failing call at a time: the copies serve until their limit. After it a
    /// client that was disabled gets no token, and a key that was withdrawn signs none.
    async fn audit_limits(&mut self) {
        let minutes = |minutes: u64| tokio::time::sleep(Duration::from_secs(60 * minutes));
        self.ask_all(Some(true)).await;
        self.met.fail_all(self.world, self.dice.clone(), "GetItem clients");
        self.set_client("service", false).await;
        minutes(15).await;
        self.ask_all(Some(true)).await;
        minutes(1).await;
        self.ask_all(None).await;
        self.world.store.heal();
        self.set_client("service", true).await;

        self.ask_all(Some(true)).await;
        let login = [("grant_type", self.user.0), ("username", self.user.1), ("password", PASSWORD)];
        let tokens = self.send("/oauth/token", APP, &login).await;
        let session = tokens.refresh_token();
        self.met.fail_all(self.world, self.dice.clone(), READING_RING);
        self.withdraw_key(&unverified_kid(&tokens.access_token())).await;
        minutes(55).await;
        assert_eq!(self.service_token().await.status, 200);
        minutes(5).await;
        assert_eq!(self.service_token().await.status, 503);
        self.world.store.heal();
        let form = [("refresh_token", session.as_str())];
        self.send("/oauth/refresh", APP, &form).await.assert_error(400, "invalid_grant");

        // A session that has moved to the next key still descends from the withdrawn key.
        let tokens = self.send("/oauth/token", APP, &login).await;
        minutes(4 * 60).await;
        self.rotate_now().await;
        minutes(5).await;
        let form = [("refresh_token", &*tokens.refresh_token())];
        let child = self.send("/oauth/refresh", APP, &form).await;
        let kid = unverified_kid(&tokens.access_token());
        assert_ne!(unverified_kid(&child.access_token()), kid);
        self.withdraw_key(&kid).await;
        minutes(5).await;
        let form = [("refresh_token", &*child.refresh_token())];
        self.send("/oauth/refresh", APP, &form).await.assert_error(400, "invalid_grant");

        self.ask_all(Some(true)).await;
        self.met.fail_all(self.world, self.dice.clone(), "Decrypt");
        let token = self.service_token().await.access_token();
        self.withdraw_key(&unverified_kid(&token)).await;
        minutes(5).await;
        assert_eq!(self.service_token().await.status, 503);
        self.world.store.heal();
        self.ask_all(Some(true)).await;
    }

    /// Requests a token as the service, and calls an API with its secret.
    async fn ask_all(&mut self, expected: Option<bool>) {
        let asked = self.clock.now();
        let answer = self.service_token().await;
        assert_eq!(answer.status, if expected == Some(true) { 200 } else { 503 }, "{}", answer.text);
        if answer.status == 200 {
            self.issued(asked, &answer);
        }
        assert_eq!(self.keys.call_with_secret("service", SERVICE_SECRET).await, expected);
    }

    /// Checks that, over a network without faults and after the time for retries, every family has
    /// at most one valid token, and that a used token ends the family.
    async fn audit_families(&mut self) {
        let mut latest: HashMap<String, Token> = HashMap::new();
        for token in &self.tokens {
            let latest = latest.entry(token.family.clone()).or_insert_with(|| token.clone());
            if token.generation > latest.generation {
                *latest = token.clone();
            }
        }
        for (family, token) in latest {
            let standing = self.family(&family).await;
            let form = [("refresh_token", token.text.as_str())];
            let is_over = token.session != self.session
                || self.keys.is_tainted(&token.keys)
                || token.expires <= self.clock.now();
            if is_over {
                let answer = self.send("/oauth/refresh", APP, &form).await;
                answer.assert_error(400, "invalid_grant");
                assert_eq!(self.family(&family).await, standing);
                continue;
            }
            let is_good =
                standing.map_or(token.generation == 0, |standing| standing == (token.generation, false));
            let answer = self.send("/oauth/refresh", APP, &form).await;
            assert_eq!(answer.status, if is_good { 200 } else { 400 }, "{standing:?} {}", answer.text);
            tokio::time::sleep(Duration::from_secs(11)).await;
            let again = self.send("/oauth/refresh", APP, &form).await;
            again.assert_error(400, "invalid_grant");
            let is_over = token.expires <= self.clock.now();
            assert!(is_over || self.family(&family).await.is_some_and(|(_, is_revoked)| is_revoked));
        }
    }
}
