//! The cache of clients, and the cost of a token with many clients: `cargo bench --profile thorough
//! -p countersign-tests --bench cache`. Every figure comes from requests at the token endpoint,
//! except those for other sizes of the cache. They come from a model, which must agree with the
//! real cache at its real size.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot set itself up has failed")]
#![allow(clippy::print_stdout, reason = "the result")]

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use countersign_issuer::audit::AuditLog;
use countersign_issuer::http::{self, Request};
use countersign_issuer::issuer::Issuer;
use countersign_issuer::random::Random;
use countersign_issuer::records::Client;
use countersign_issuer::store::Record;
use countersign_tests::TestClock;
use countersign_tests::dice::Dice;
use countersign_tests::in_process::{InProcess, Post, SERVICE_SECRET};
use countersign_tests::store::FaultyStore;
use countersign_verify::Timestamp;
use lru::LruCache;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

const CLIENTS: usize = 1_000_000;
/// The bound of `shared/issuer/src/store/cache.rs`.
const BOUND: usize = 1000;
const FRESH: Duration = Duration::from_secs(60);

/// A store in which every client exists, with the record of `service` under another name.
#[derive(Debug, Clone)]
struct EveryClient {
    below: FaultyStore,
    record: Arc<str>,
    reads: Arc<AtomicU64>,
}

impl HttpClient for EveryClient {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for EveryClient {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let Some(client_id) = body["Key"]["client_id"]["S"].as_str() else {
            return self.below.call(request);
        };
        self.reads.fetch_add(1, Ordering::Relaxed);
        let record = SdkBody::from(self.record.replace("service", client_id));
        HttpConnectorFuture::ready(Ok(HttpResponse::new(200.try_into().unwrap(), record)))
    }
}

struct World {
    runtime: Runtime,
    clock: TestClock,
    within: InProcess,
}

impl World {
    fn new() -> Self {
        // The clock is passed in, so nothing here waits.
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let clock = TestClock::at(Timestamp::from_seconds(2_000_000_000));
        let within = runtime.block_on(InProcess::start_with_audit(&clock.clock(), &[], AuditLog::tracing()));
        Self { runtime, clock, within }
    }

    /// The record of the client `service`, as an item of DynamoDB.
    fn item(&self) -> Value {
        self.within.store.item("countersign-clients", &json!({ "client_id": { "S": "service" } }))
    }

    /// A process with empty caches, over a store in which every client has the record `item`.
    fn process(&self, item: &Value) -> (Arc<Issuer>, Arc<AtomicU64>) {
        let store = EveryClient {
            below: self.within.store.clone(),
            record: json!({ "Item": item }).to_string().into(),
            reads: Arc::default(),
        };
        let reads = Arc::clone(&store.reads);
        let db = self.within.store.client(&self.within.config.store.aws);
        let db = db.config().to_builder().http_client(SharedHttpClient::new(store)).build();
        let db = aws_sdk_dynamodb::Client::from_conf(db);
        (self.within.issuer_over(&db, &self.clock.clock(), Random::system()), reads)
    }

    fn token(&self, issuer: &Issuer, request: Request) {
        let answer = self.runtime.block_on(http::token(issuer, request));
        assert!(answer.status().is_success(), "{}", answer.body());
    }

    /// Returns the median microseconds per call.
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    fn time(requests: impl ExactSizeIterator<Item = Request>, mut work: impl FnMut(Request)) -> f64 {
        let requests: Vec<Request> = requests.collect();
        let mut took: Vec<Duration> = requests
            .into_iter()
            .map(|request| {
                let begun = Instant::now();
                work(request);
                begun.elapsed()
            })
            .collect();
        took.sort_unstable();
        took[took.len() / 2].as_secs_f64() * 1e6
    }
}

fn request_of(client_id: &str) -> Request {
    request_with(client_id, "acme")
}

fn request_with(client_id: &str, brand: &str) -> Request {
    let form = [("grant_type", "client_credentials"), ("brandKey", brand)];
    Post::new("/oauth/token", client_id, SERVICE_SECRET, &form).request()
}

fn name(at: usize) -> String {
    format!("client-{at}")
}

/// Numbers below [`CLIENTS`]: the n-th is drawn 1/n^s times as often as the first.
struct Zipf(Vec<f64>);

impl Zipf {
    #[expect(clippy::cast_precision_loss, reason = "a million")]
    fn new(s: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=CLIENTS).map(|rank| {
            sum += (rank as f64).powf(-s);
            sum
        });
        Self(weights.collect())
    }

    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    fn draw(&self, dice: &mut Dice) -> usize {
        let point = (dice.bits() >> 11) as f64 / (1_u64 << 53) as f64 * self.0[CLIENTS - 1];
        self.0.partition_point(|sum| *sum < point).min(CLIENTS - 1)
    }
}

/// Models the cache with another bound: it evicts the least recently used client, and a copy is
/// fresh for a minute.
fn modelled_reads(asked: &[usize], every: Duration, bound: usize) -> u64 {
    let mut known: LruCache<usize, Timestamp> = LruCache::new(NonZeroUsize::new(bound).unwrap());
    let mut reads = 0;
    let mut now = Timestamp::from_seconds(0);
    for client in asked {
        now = now.plus(every);
        if known.get(client).is_none_or(|read| now.since(*read) >= FRESH) {
            known.put(*client, now);
            reads += 1;
        }
    }
    reads
}

fn print_hit_rates(world: &World) {
    const REQUESTS: usize = 30_000;
    println!("\nhit rate in %, {CLIENTS} clients, {REQUESTS} requests at one process");
    println!(
        "| Zipf's s | requests a second | measured, bound {BOUND} | bound 100 | {BOUND} | 4000 | none |"
    );
    println!("|---|---|---|---|---|---|---|");
    let item = world.item();
    for s in [0.8, 1.0, 1.2] {
        let zipf = Zipf::new(s);
        for rate in [1, 10, 100] {
            let mut dice = Dice::new(1);
            let asked: Vec<usize> = (0..REQUESTS).map(|_| zipf.draw(&mut dice)).collect();
            let every = Duration::from_secs(1) / rate;
            let (issuer, reads) = world.process(&item);
            for client in &asked {
                world.clock.advance(every);
                world.token(&issuer, request_of(&name(*client)));
            }
            let measured = reads.load(Ordering::Relaxed);
            assert_eq!(measured, modelled_reads(&asked, every, BOUND), "the model is the cache");
            #[expect(clippy::cast_precision_loss, reason = "some thousand")]
            let hits = |reads: u64| 100.0 * (1.0 - reads as f64 / REQUESTS as f64);
            let modelled =
                [100, BOUND, 4000, CLIENTS].map(|bound| hits(modelled_reads(&asked, every, bound)));
            let modelled = modelled.map(|hits| format!("{hits:.1}")).join(" | ");
            println!("| {s} | {rate} | {:.1} | {modelled} |", hits(measured));
        }
    }
}

/// A record with every list at its limit.
fn worst_record(client: &Client) -> Client {
    let full = |bytes: usize| (0..100).map(|at| format!("{at:0bytes$}")).collect::<Vec<String>>();
    Client {
        scopes: full(40),
        default_scopes: Some(full(40)),
        roles: full(19),
        brands: full(64),
        operators: full(255),
        audiences: full(255),
        ..client.clone()
    }
}

fn print_memory(world: &World) {
    println!("\nmemory of {BOUND} records in the cache, which more than that have been through");
    println!("| record | KiB | bytes a record |\n|---|---|---|");
    let item = world.item();
    let table = world.within.table::<Client>();
    let worst = world.runtime.block_on(async {
        let client = table.get("service").await.unwrap().unwrap();
        let worst = Client { client_id: "worst-service".into(), ..worst_record(&client) };
        table.create(&worst).await.unwrap();
        world.within.store.item("countersign-clients", &json!({ "client_id": { "S": worst.key() } }))
    });
    for (what, item, brand) in
        [("typical", &item, "acme".to_owned()), ("worst", &worst, format!("{:064}", 0))]
    {
        let (issuer, _) = world.process(item);
        world.token(&issuer, request_with(&name(0), &brand));
        let names: Vec<String> = (1..=2 * BOUND).map(name).collect();
        let kept = allocation_counter::measure(|| {
            for name in &names {
                world.token(&issuer, request_with(name, &brand));
            }
        });
        let bytes = usize::try_from(kept.bytes_current).unwrap();
        println!("| {what} | {} | {} |", bytes / 1024, bytes / BOUND);
    }
}

fn print_cost_by_clients(world: &World) {
    const CALLS: usize = 5000;
    println!("\nmedian microseconds a token, by the number of clients in the table");
    println!("| clients | in memory | read from the embedded store |\n|---|---|---|");
    let mut item = world.item();
    let mut there = 0;
    for clients in [10, 1000, CLIENTS] {
        for at in there..clients {
            item["client_id"]["S"] = name(at).into();
            world.within.store.put("countersign-clients", &item);
        }
        there = clients;
        let issuer = world.within.another_process(&world.clock.clock(), Random::system());
        // Fills the cache.
        for at in 0..clients.min(BOUND) {
            world.token(&issuer, request_of(&name(at)));
        }
        let known = (0..CALLS).map(|at| request_of(&name(at % clients.min(BOUND))));
        let known = World::time(known, |request| world.token(&issuer, request));
        let mut dice = Dice::new(1);
        let read = (0..CALLS).map(|_| request_of(&name(dice.below(clients))));
        let read = World::time(read, |request| {
            world.clock.advance(FRESH);
            world.token(&issuer, request);
        });
        println!("| {clients} | {known:.1} | {read:.1} |");
    }
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let world = World::new();
    print_memory(&world);
    print_hit_rates(&world);
    print_cost_by_clients(&world);
}
