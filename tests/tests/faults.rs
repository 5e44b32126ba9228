//! Grants over a network that fails at any call, in any way, from a seed: thousands of short histories, each audited
//! against what must hold whatever happens. `COUNTERSIGN_FAULT_RUNS` says how many, `COUNTERSIGN_FAULT_SEED` which one
//! alone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]
#![allow(clippy::large_futures, reason = "one history at a time")]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use countersign_issuer::{Entropy, Issuer};
use countersign_tests::Answer;
use countersign_tests::in_process::{APP_SECRET, InProcess, PASSWORD, Post, SERVICE_SECRET, clock_of_tokio};
use countersign_tests::random::Random;
use countersign_tests::store::Fault;
use countersign_verify::Clock;
use serde_json::Value;

/// What a refresh token is in its family.
#[derive(Debug, Clone)]
struct Token {
    text: String,
    family: String,
    generation: u64,
}

impl Token {
    fn read(text: &str) -> Self {
        let payload = BASE64URL.decode(text.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&payload).unwrap();
        Self {
            text: text.to_owned(),
            family: claims["family"].as_str().unwrap().to_owned(),
            generation: claims["generation"].as_u64().unwrap(),
        }
    }
}

/// One history, and what is known of the truth.
struct History<'a> {
    world: &'a InProcess,
    /// The store past its network.
    truth: aws_sdk_dynamodb::Client,
    issuer: Arc<Issuer>,
    random: Random,
    /// Who logs in: grant and username.
    user: (&'static str, &'static str),
    tokens: Vec<Token>,
    revoked: HashSet<String>,
    /// Guesses at the password that were judged wrong.
    failures: u64,
    /// Logins that may stay counted though they were no failures: their hand-back may have got lost.
    uncertain: u64,
}

/// At which call which fault came.
type Coverage = Arc<Mutex<HashSet<(String, Fault)>>>;

impl History<'_> {
    async fn send(&self, path: &str, client: (&str, &str), form: &[(&str, &str)]) -> Answer {
        let answer = Post::new(path, client.0, client.1, form).from("203.0.113.7").to(&self.issuer).await;
        match answer.status.as_u16() {
            200 | 400 | 401 => {}
            429 | 503 => {
                answer.assert_error(answer.status.as_u16(), "temporarily_unavailable");
                assert!((1..=60).contains(&answer.header("retry-after").parse::<u64>().unwrap()));
            }
            status => panic!("{status}: {}", answer.text),
        }
        answer
    }

    async fn log_in(&mut self) {
        let is_right = self.random.below(2) == 0;
        let password = if is_right { PASSWORD } else { "wrong" };
        let form = [("grant_type", self.user.0), ("username", self.user.1), ("password", password)];
        let answer = self.send("/oauth/token", ("app", APP_SECRET), &form).await;
        match (answer.status.as_u16(), is_right) {
            (400, false) => self.failures += 1,
            (200, true) => {
                let token = Token::read(&answer.refresh_token());
                assert_eq!(token.generation, 0);
                self.tokens.push(token);
                self.uncertain += 1;
            }
            (429 | 503, _) => self.uncertain += 1,
            (status, _) => panic!("{status}, and the password is right: {is_right}"),
        }
    }

    async fn client_credentials(&mut self) {
        let is_right = self.random.below(4) != 0;
        let secret = if is_right { SERVICE_SECRET } else { "wrong" };
        let form = [("grant_type", "client_credentials"), ("operator", "alice")];
        let form = &form[..=self.random.below(2)];
        let answer = self.send("/oauth/token", ("service", secret), form).await;
        assert!(is_right || answer.status != 200, "a token for a wrong secret");
        assert!(!is_right || matches!(answer.status.as_u16(), 200 | 503), "{}", answer.text);
    }

    async fn refresh(&mut self) {
        let Some(used) = self.any_token() else { return };
        let form = [("grant_type", "refresh_token"), ("refresh_token", used.text.as_str())];
        let path = self.random.pick(&["/oauth/token", "/oauth/refresh"]);
        let answer = self.send(path, ("app", APP_SECRET), &form).await;
        self.check_refresh(&used, &answer).await;
    }

    /// The same token twice at once.
    async fn race(&mut self) {
        let Some(used) = self.any_token() else { return };
        let form = [("refresh_token", used.text.as_str())];
        let refresh = || self.send("/oauth/refresh", ("app", APP_SECRET), &form);
        let (one, other) = tokio::join!(refresh(), refresh());
        self.check_refresh(&used, &one).await;
        self.check_refresh(&used, &other).await;
    }

    async fn check_refresh(&mut self, used: &Token, answer: &Answer) {
        if answer.status != 200 {
            return;
        }
        let successor = Token::read(&answer.refresh_token());
        assert_eq!((&successor.family, successor.generation), (&used.family, used.generation + 1));
        assert!(!self.revoked.contains(&used.family), "a token of a revoked family");
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
        let answer = self.send("/oauth/revoke", ("app", APP_SECRET), &[("token", &token.text)]).await;
        if answer.status == 200 {
            let (_, is_revoked) = self.family(&token.family).await.unwrap();
            assert!(is_revoked);
            self.revoked.insert(token.family);
        }
    }

    async fn introspect(&mut self) {
        let Some(token) = self.any_token() else { return };
        let answer = self.send("/oauth/introspect", ("app", APP_SECRET), &[("token", &token.text)]).await;
        if answer.status == 200 {
            let expected = match self.family(&token.family).await {
                Some((stands_at, is_revoked)) => stands_at == token.generation && !is_revoked,
                None => token.generation == 0,
            };
            assert_eq!(answer.json()["active"], expected);
        }
    }

    async fn wait(&mut self) {
        let millis = self.random.pick(&[100, 3_000, 11_000, 61_000]);
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    /// Another function instance takes over, with empty caches.
    fn start_anew(&mut self, clock: &Clock) {
        self.issuer = self.world.another_process(clock, Entropy::system());
    }

    fn any_token(&mut self) -> Option<Token> {
        // The latest ones most of the time.
        let back = self.random.pick(&[1, 1, 1, 2, 3]);
        self.tokens.iter().rev().nth(back - 1).cloned()
    }

    /// Where a family stands in truth, and whether it is revoked.
    async fn family(&self, family: &str) -> Option<(u64, bool)> {
        let key = AttributeValue::S(family.into());
        let request = self.truth.get_item().table_name("countersign-refresh-families").key("family", key);
        let item = request.send().await.unwrap().item?;
        Some((item["generation"].as_n().unwrap().parse().unwrap(), item.contains_key("revoked_at")))
    }

    async fn step(&mut self, clock: &Clock) {
        match self.random.below(16) {
            0..4 => self.log_in().await,
            4..6 => self.client_credentials().await,
            6..9 => self.refresh().await,
            9 => self.race().await,
            10 => self.revoke().await,
            11..13 => self.introspect().await,
            13 => self.start_anew(clock),
            _ => self.wait().await,
        }
    }

    /// With the network whole again, and the time for retries over: every family has at most one token that is good,
    /// and a used one ends it.
    async fn audit_families(&mut self) {
        tokio::time::sleep(Duration::from_secs(11)).await;
        let mut latest: HashMap<String, Token> = HashMap::new();
        for token in &self.tokens {
            let latest = latest.entry(token.family.clone()).or_insert_with(|| token.clone());
            if token.generation > latest.generation {
                *latest = token.clone();
            }
        }
        for (family, token) in latest {
            let standing = self.family(&family).await;
            let is_good =
                standing.map_or(token.generation == 0, |standing| standing == (token.generation, false));
            let form = [("refresh_token", token.text.as_str())];
            let answer = self.send("/oauth/refresh", ("app", APP_SECRET), &form).await;
            assert_eq!(answer.status, if is_good { 200 } else { 400 }, "{standing:?} {}", answer.text);
            tokio::time::sleep(Duration::from_secs(11)).await;
            let again = self.send("/oauth/refresh", ("app", APP_SECRET), &form).await;
            again.assert_error(400, "invalid_grant");
            assert!(self.family(&family).await.is_some_and(|(_, is_revoked)| is_revoked));
        }
    }

    /// No failure is forgotten, and no more is on record than hand-backs, or answers to a guess's reservation, may have got
    /// lost: `faults` of that table's calls met one.
    async fn audit_counters(&self, faults: u64, is_one_window: bool) {
        let attempts = self.truth.scan().table_name("countersign-attempts").send().await.unwrap();
        for item in attempts.items() {
            let key = item["attempt"].as_s().unwrap();
            if key.starts_with("principal") {
                let counted: u64 = item["failures"].as_n().unwrap().parse().unwrap();
                let most = self.failures + self.uncertain.min(faults);
                let is_true = (self.failures..=most).contains(&counted);
                // A window that has ended takes its failures with it.
                assert!(is_true || !is_one_window, "{counted} of {}..={most}", self.failures);
            }
            let key = item["attempt"].clone();
            let delete = self.truth.delete_item().table_name("countersign-attempts").key("attempt", key);
            delete.send().await.unwrap();
        }
    }
}

async fn run(world: &InProcess, clock: &Clock, seed: u64, coverage: &Coverage) {
    let mut random = Random::new(seed);
    let bytes = Mutex::new(random.clone());
    let entropy = Entropy::new(move |fill| {
        let mut random = bytes.lock().unwrap();
        fill.fill_with(|| random.bits().to_le_bytes()[0]);
        Ok(())
    });
    let started = clock.now();
    let mut history = History {
        world,
        truth: world.store.without_faults().client(&world.config.store.aws),
        issuer: world.another_process(clock, entropy),
        user: random.pick(&[("password", "jane"), ("operator_password", "alice")]),
        random: random.clone(),
        tokens: Vec::new(),
        revoked: HashSet::new(),
        failures: 0,
        uncertain: 0,
    };
    // From a network that never fails to one that mostly does.
    let percent = random.pick(&[0, 2, 10, 30, 70]);
    let faults = Arc::new(Mutex::new(0));
    let (coverage, counted) = (Arc::clone(coverage), Arc::clone(&faults));
    world.store.set_faults(move |call| {
        let fault = (random.below(100) < percent).then(|| random.pick(&Fault::ALL))?;
        *counted.lock().unwrap() += u64::from(call == "UpdateItem attempts");
        coverage.lock().unwrap().insert((call.clone(), fault));
        Some(fault)
    });
    for _ in 0..12 {
        history.step(clock).await;
    }
    world.store.heal();
    history.audit_families().await;
    let is_one_window = clock.now().since(started) < Duration::from_secs(15 * 60);
    let faults = *faults.lock().unwrap();
    history.audit_counters(faults, is_one_window).await;
}

/// The call sites of the four grants, revocation and introspection.
const CALLS: [&str; 8] = [
    "GetItem clients",
    "GetItem principals",
    "GetItem refresh-families",
    "UpdateItem refresh-families",
    "UpdateItem attempts",
    "Query signing-keys",
    "GetItem signing-keys",
    "Decrypt",
];

fn variable(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "how much to run is the caller's choice")]
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_no_token_without_a_right_and_no_second_successor() {
    let clock = clock_of_tokio();
    let limits = [
        ("COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_ADDRESS", "3"),
        ("COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL", "5"),
    ];
    let world = InProcess::start(&clock, &limits).await;
    world.make_passwords_cheap().await;
    let coverage = Coverage::default();
    if let Some(seed) = variable("COUNTERSIGN_FAULT_SEED") {
        return run(&world, &clock, seed, &coverage).await;
    }
    let runs = variable("COUNTERSIGN_FAULT_RUNS").unwrap_or(150);
    for seed in 0..runs {
        let named = SayOnPanic(seed);
        run(&world, &clock, seed, &coverage).await;
        std::mem::forget(named);
    }
    if runs < 2000 {
        return;
    }
    let coverage = coverage.lock().unwrap();
    for call in CALLS {
        for fault in Fault::ALL {
            assert!(coverage.contains(&(call.to_owned(), fault)), "{call} never met {fault:?}");
        }
    }
}

/// Names the seed of a history that failed.
struct SayOnPanic(u64);

impl Drop for SayOnPanic {
    #[expect(clippy::print_stderr, reason = "a test's word to whoever reads its failure")]
    fn drop(&mut self) {
        eprintln!("this was COUNTERSIGN_FAULT_SEED={}", self.0);
    }
}
