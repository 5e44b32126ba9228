//! Many clients over real sockets refresh, replay and revoke the same families. Every response must
//! follow from the rules for refresh tokens in docs/design.md, in whatever order the requests were
//! executed. `COUNTERSIGN_LOAD_SECONDS` sets the duration.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign_dev::{TIMEOUT, router, serve};
use countersign_issuer::audit::AuditLog;
use countersign_issuer::credentials::{ClientSecret, Secret};
use countersign_issuer::issuer::{Issuer, Publisher};
use countersign_issuer::random::Random;
use countersign_issuer::store::dynamodb;
use countersign_tests::dice::Dice;
use countersign_tests::in_process::APP_SECRET;
use countersign_tests::{JANE, TestIssuer, TestResponse};
use tokio::net::TcpListener;
use tokio::time::Instant;

const CLIENTS: usize = 64;
const FAMILIES: usize = 16;
const GRACE: Duration = Duration::from_secs(10);
/// The tolerance for the issuers' clock, which a task moves.
const BLUR: Duration = Duration::from_millis(500);

/// An action of a client, with the times of its request and its response.
#[derive(Debug, Clone, Copy)]
struct Action {
    kind: Kind,
    generation: usize,
    asked: Instant,
    answered: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Refreshed,
    Refused,
    Revoked,
}

/// The tokens of one login by generation, and every action with them.
#[derive(Debug, Default)]
struct Family {
    tokens: Vec<String>,
    actions: Vec<Action>,
}

/// Two servers with separate issuers over the same store.
struct Servers {
    http: TestIssuer,
    second: String,
    client: reqwest::Client,
}

impl Servers {
    async fn start() -> Self {
        let http = TestIssuer::start().await;
        // A generated secret puts the load on the families and not on argon2.
        let (random, now) = (Random::system(), http.clock.now());
        http.change_client("demo-app", |client| {
            let secret = Secret::from_string(APP_SECRET.into());
            client.secrets = vec![ClientSecret::new(&secret, now, None, &random).unwrap()];
        })
        .await;
        let (config, envelope) = http.config();
        let db = dynamodb(&config.store.aws);
        let issuer = Issuer::new(&config, &db, envelope, http.clock.clock(), random, AuditLog::tracing());
        let publisher = Publisher::new(&config, &db, http.clock.clock(), AuditLog::tracing());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let second = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve(listener, router(issuer, publisher, TIMEOUT), TIMEOUT, std::future::pending()));
        Self { http, second, client: reqwest::Client::new() }
    }

    async fn post(&self, is_first: bool, path: &str, form: &[(&str, &str)]) -> TestResponse {
        let url = if is_first { &self.http.url } else { &self.second };
        let request = self.client.post(format!("{url}{path}")).basic_auth("demo-app", Some(APP_SECRET));
        let response = request.form(form).send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let answer = TestResponse::new(status, headers, response.text().await.unwrap());
        assert!(matches!(answer.status.as_u16(), 200 | 400), "{} {}", answer.status, answer.text);
        answer
    }

    async fn log_in(&self) -> Family {
        let answer = self.post(true, "/oauth/token", JANE).await;
        Family { tokens: vec![answer.refresh_token()], actions: Vec::new() }
    }
}

type Families = Vec<Mutex<Family>>;

/// Acts as one client: at every turn it picks a family and refreshes its latest token, replays an
/// older one, or revokes it.
async fn work(
    servers: &Servers,
    families: &Families,
    finished: &Mutex<Vec<Family>>,
    seed: u64,
    until: Instant,
) {
    let mut dice = Dice::new(seed);
    while Instant::now() < until {
        let family = &families[dice.below(families.len())];
        let (generation, token, is_over) = {
            let family = family.lock().unwrap();
            let latest = family.tokens.len() - 1;
            let back = dice.pick(&[0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 5]);
            let generation = latest.saturating_sub(back);
            let refused = family.actions.iter().filter(|action| action.kind == Kind::Refused).count();
            (generation, family.tokens[generation].clone(), refused > 40)
        };
        if is_over {
            let fresh = servers.log_in().await;
            let old = std::mem::replace(&mut *family.lock().unwrap(), fresh);
            finished.lock().unwrap().push(old);
            continue;
        }
        let is_revocation = dice.below(200) == 0;
        let is_first = dice.below(2) == 0;
        let asked = Instant::now();
        let answer = if is_revocation {
            servers.post(is_first, "/oauth/revoke", &[("token", &token)]).await
        } else {
            servers.post(is_first, "/oauth/refresh", &[("refresh_token", &token)]).await
        };
        let answered = Instant::now();
        let kind = match (answer.status.as_u16(), is_revocation) {
            (200, true) => Kind::Revoked,
            (200, false) => Kind::Refreshed,
            _ => Kind::Refused,
        };
        let mut family = family.lock().unwrap();
        // Another client may have replaced the family in the meantime.
        if family.tokens.get(generation) == Some(&token) {
            family.actions.push(Action { kind, generation, asked, answered });
            if kind == Kind::Refreshed && family.tokens.len() == generation + 1 {
                family.tokens.push(answer.refresh_token());
            }
        }
    }
}

impl Family {
    fn actions_of(&self, kind: Kind) -> impl Iterator<Item = &Action> {
        self.actions.iter().filter(move |action| action.kind == kind)
    }

    /// Returns the rule that the response to an action breaks.
    fn contradiction(&self, action: &Action) -> Option<&'static str> {
        let refreshed =
            |generation| self.actions_of(Kind::Refreshed).filter(move |other| other.generation == generation);
        let revoked_before = |moment| self.actions_of(Kind::Revoked).any(|other| other.asked < moment);
        match action.kind {
            Kind::Revoked => None,
            Kind::Refreshed => {
                let g = action.generation;
                if self.actions_of(Kind::Revoked).any(|other| other.answered < action.asked) {
                    Some("refreshed after it was revoked")
                } else if refreshed(g + 1).any(|other| other.answered < action.asked) {
                    Some("refreshed with a token whose successor had been used")
                } else if refreshed(g).any(|other| other.answered + GRACE + BLUR < action.asked) {
                    Some("refreshed again after the time for retries")
                } else if g > 0 && !refreshed(g - 1).any(|other| other.asked < action.answered) {
                    Some("refreshed with a token that was not issued")
                } else {
                    None
                }
            }
            Kind::Refused => {
                let successor_was_used = self
                    .actions_of(Kind::Refreshed)
                    .any(|other| other.generation > action.generation && other.asked < action.answered);
                let theft_was_seen = self.actions_of(Kind::Refused).any(|theft| {
                    theft.asked <= action.answered
                        && self.actions_of(Kind::Refreshed).any(|other| {
                            other.generation >= theft.generation
                                && other.asked + GRACE < theft.answered + BLUR
                        })
                });
                let explained = revoked_before(action.answered) || successor_was_used || theft_was_seen;
                (!explained).then_some("refused without a reason")
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_response_to_64_clients_that_share_families_follows_from_the_rules() {
    #[expect(clippy::disallowed_methods, reason = "the caller chooses the duration")]
    let seconds = std::env::var("COUNTERSIGN_LOAD_SECONDS").map_or(3, |seconds| seconds.parse().unwrap());
    let _alone = super::run_alone().await;
    let servers = Arc::new(Servers::start().await);
    let mut families = Vec::new();
    for _ in 0..FAMILIES {
        families.push(Mutex::new(servers.log_in().await));
    }
    let (families, finished) = (Arc::new(families), Arc::new(Mutex::new(Vec::new())));
    let begun = Instant::now();
    let until = begun + Duration::from_secs(seconds);
    let clock = servers.http.clock.clone();
    let ticking = tokio::spawn(async move {
        let mut passed = Duration::ZERO;
        loop {
            tokio::time::sleep(Duration::from_millis(2)).await;
            clock.advance(begun.elapsed().saturating_sub(passed));
            passed = begun.elapsed();
        }
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let (servers, families, finished) =
                (Arc::clone(&servers), Arc::clone(&families), Arc::clone(&finished));
            tokio::spawn(async move { work(&servers, &families, &finished, n as u64, until).await })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    ticking.abort();

    let mut all = std::mem::take(&mut *finished.lock().unwrap());
    all.extend(families.iter().map(|family| std::mem::take(&mut *family.lock().unwrap())));
    for family in &all {
        for action in &family.actions {
            let contradiction = family.contradiction(action);
            assert_eq!(contradiction, None, "{action:?} of {:#?}", family.actions);
        }
    }
    let count = |kind| all.iter().flat_map(|family| family.actions_of(kind)).count();
    let counts = [Kind::Refreshed, Kind::Refused, Kind::Revoked].map(count);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    #[expect(clippy::print_stdout, reason = "a figure for docs/reliability.md")]
    {
        println!("{} families: {counts:?} refreshed, refused, revoked in {seconds} s", all.len());
    }
}
