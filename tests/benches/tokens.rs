//! The time of a request inside the process, next to the raw operation that it needs, and its
//! allocations: `cargo bench --profile thorough -p countersign-tests --bench tokens`. The times
//! include copying each request, the allocations do not. The log is that of production, with
//! metrics, and goes to `/dev/null`.

#![allow(missing_docs, reason = "criterion's macro makes a public function")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot set itself up has failed")]
#![allow(clippy::print_stdout, reason = "the result")]

#[path = "../../shared/verify/benches/ratio/mod.rs"]
mod ratio;
mod subject;

use std::fs::File;
use std::hint::black_box;
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_sdk_dynamodb::types::AttributeValue;
use countersign_issuer::audit::AuditLog;
use countersign_issuer::http::{self, Request};
use countersign_issuer::records::Principal;
use countersign_tests::AUDIENCE;
use countersign_tests::in_process::{APP_SECRET, PASSWORD, Post, SERVICE_SECRET};
use countersign_verify::{Clock, JwkSet, Verifier};
use criterion::{Criterion, criterion_group};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::Value;
use subject::Subject;

/// The grants that compute a slow hash.
const LOGINS: [&str; 2] = ["password", "operator_password"];

impl Subject {
    /// Calls the token endpoint with a request that `request` builds anew for each call.
    fn token(&self, request: impl Fn() -> Request) -> impl FnMut() {
        move || {
            let answer = self.runtime.block_on(http::token(&self.world.issuer, request()));
            assert!(black_box(answer).status().is_success());
        }
    }

    fn answer(&self, request: Request) -> Value {
        let answer = self.runtime.block_on(http::token(&self.world.issuer, request));
        assert!(answer.status().is_success(), "{}", answer.body());
        serde_json::from_str(answer.body()).unwrap()
    }

    /// Checks that a token of the measured request verifies with the published keys.
    fn verify_a_token(&self) {
        let answer = self.answer(Self::token_request());
        let get = Request::new(Vec::new());
        let publisher = self.world.publisher(&Clock::system());
        let published = self.runtime.block_on(http::jwks(&publisher, get));
        let keys = JwkSet::from_json(published.body()).unwrap();
        let verifier = Verifier::builder("https://issuer.example.com").audience(AUDIENCE).keys(keys.clone());
        let verifier = verifier.build().unwrap();
        let verified = verifier.verify_with(answer["access_token"].as_str().unwrap(), &keys).unwrap();
        assert_eq!(
            (verified.operator.as_deref(), verified.brand_key.as_deref()),
            (Some("alice"), Some("acme"))
        );
    }

    /// A signature by ring over as many bytes as a token has, with an existing key pair.
    fn raw_signature(&self) -> impl FnMut() + use<> {
        let token = self.answer(Self::token_request());
        let (input, _) = token["access_token"].as_str().unwrap().rsplit_once('.').unwrap();
        let input = input.to_owned();
        let (pair, random) = key_pair();
        move || {
            black_box(pair.sign(&random, black_box(input.as_bytes())).unwrap());
        }
    }

    /// The cheapest request that needs authentication: it revokes a value that is not a token.
    fn authenticate(&self) -> impl FnMut() {
        let form = [("token", "none")];
        let request = Post::new("/oauth/revoke", "service", SERVICE_SECRET, &form).request();
        move || {
            let answer = self.runtime.block_on(http::refresh_function(&self.world.issuer, request.clone()));
            assert!(black_box(answer).status().is_success());
        }
    }

    fn key_set(&self) -> impl FnMut() {
        let publisher = self.world.publisher(&Clock::system());
        move || {
            let answer = self.runtime.block_on(http::jwks(&publisher, Request::new(Vec::new())));
            assert!(black_box(answer).status().is_success());
        }
    }

    fn log_in(&self, grant: &str) -> Value {
        let username = if grant == "password" { "jane" } else { "alice" };
        let form = [("grant_type", grant), ("username", username), ("password", PASSWORD)];
        self.answer(Post::new("/oauth/token", "app", APP_SECRET, &form).from("203.0.113.7").request())
    }

    fn login(&self, grant: &str) -> impl FnMut() {
        move || drop(black_box(self.log_in(grant)))
    }

    /// Each call uses up the token of the previous one.
    fn refresh(&self) -> impl FnMut() {
        let token = |answer: Value| answer["refresh_token"].as_str().unwrap().to_owned();
        let mut latest = token(self.log_in(LOGINS[0]));
        move || {
            let form = [("grant_type", "refresh_token"), ("refresh_token", &latest)];
            latest = token(self.answer(Post::new("/oauth/token", "app", APP_SECRET, &form).request()));
        }
    }

    /// The part of a refresh that others execute: two calls to the store, one verification and two
    /// signatures.
    fn raw_refresh(&self) -> impl FnMut() {
        let db = self.world.store.client(&self.world.config.store.aws);
        let principals = self.world.table::<Principal>();
        let (pair, random) = key_pair();
        let input = [b'x'; 700];
        let signature = pair.sign(&random, &input).unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref().to_vec());
        let mut generation = 0_u64;
        move || {
            public.verify(black_box(&input), signature.as_ref()).unwrap();
            self.runtime.block_on(async {
                assert!(principals.get("user#acme#jane").await.unwrap().is_some());
                let update = db.update_item().table_name("countersign-refresh-families");
                let update = update.key("family", AttributeValue::S("raw".into()));
                let update =
                    update.condition_expression("attribute_not_exists(generation) OR generation = :old");
                let update = update.update_expression("SET generation = :new");
                let update =
                    update.expression_attribute_values(":old", AttributeValue::N(generation.to_string()));
                generation += 1;
                let update =
                    update.expression_attribute_values(":new", AttributeValue::N(generation.to_string()));
                update.send().await.unwrap();
            });
            for _ in 0..2 {
                black_box(pair.sign(&random, black_box(&input)).unwrap());
            }
        }
    }

    /// Prints how often and how much a call allocates.
    fn print_allocations(what: &str, mut work: impl FnMut(), beside: impl FnOnce()) {
        const CALLS: u64 = 100;
        for _ in 0..10 {
            work();
        }
        let all = allocation_counter::measure(|| (0..CALLS).for_each(|_| work()));
        let beside = allocation_counter::measure(beside);
        let by_call = |all: u64, beside: u64| all / CALLS - beside;
        println!(
            "{what}: {} allocations, {} bytes",
            by_call(all.count_total, beside.count_total),
            by_call(all.bytes_total, beside.bytes_total)
        );
    }
}

fn key_pair() -> (EcdsaKeyPair, SystemRandom) {
    #[expect(clippy::disallowed_methods, reason = "ring takes its own generator and no other")]
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    (EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap(), random)
}

/// One hash with our parameters.
fn raw_argon2id() -> impl FnMut() {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(19_456, 2, 1, None).unwrap());
    move || {
        let mut hash = [0; 32];
        argon2.hash_password_into(black_box(PASSWORD.as_bytes()), b"sixteen bytes of", &mut hash).unwrap();
        black_box(hash);
    }
}

/// Starts the log, which is discarded.
fn start_the_log() -> AuditLog {
    let sink = Arc::new(File::options().write(true).open("/dev/null").unwrap());
    subject::start_the_log(Clock::system(), sink)
}

fn measure(criterion: &mut Criterion) {
    let subject = Subject::new(&Clock::system(), start_the_log());
    let mut group = criterion.benchmark_group("tokens");
    group.bench_function("mint", |bencher| bencher.iter(subject.mint()));
    group.bench_function("authenticate", |bencher| bencher.iter(subject.authenticate()));
    let request = Subject::token_request();
    group.bench_function("client_credentials", |bencher| bencher.iter(subject.token(|| request.clone())));
    group.bench_function("refresh_token", |bencher| bencher.iter(subject.refresh()));
    group.bench_function("key set", |bencher| bencher.iter(subject.key_set()));
    group.bench_function("raw P-256 signature", |bencher| bencher.iter(subject.raw_signature()));
    group.sample_size(20);
    for grant in LOGINS {
        group.bench_function(grant, |bencher| bencher.iter(subject.login(grant)));
    }
    group.bench_function("raw argon2id", |bencher| bencher.iter(raw_argon2id()));
    group.finish();
}

criterion_group!(benches, measure);

fn main() {
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let request = Subject::token_request();
    let copy = || drop(black_box(request.clone()));
    if is_bench {
        // Runs before the subscriber is installed, which cannot be removed.
        let subject = Subject::new(&Clock::system(), AuditLog::new(|_| {}));
        let token = || subject.token(|| request.clone());
        ratio::print("client_credentials without a log", None, token(), subject.raw_signature());
        Subject::print_allocations("client_credentials without a log", token(), copy);
    }
    let subject = Subject::new(&Clock::system(), start_the_log());
    subject.verify_a_token();
    let token = || subject.token(|| request.clone());
    benches();
    Criterion::default().configure_from_args().final_summary();
    // `cargo test --benches` only checks that it runs.
    if is_bench {
        let signature = || subject.raw_signature();
        ratio::print("mint", 1.10, subject.mint(), signature());
        ratio::print("client_credentials", 2.0, token(), signature());
        ratio::print("authenticate", None, subject.authenticate(), signature());
        ratio::print("key set", None, subject.key_set(), signature());
        ratio::print(
            "refresh_token, next to its share of others",
            None,
            subject.refresh(),
            subject.raw_refresh(),
        );
        for grant in LOGINS {
            ratio::print(&format!("{grant}, next to argon2id"), None, subject.login(grant), raw_argon2id());
        }
        Subject::print_allocations("mint", subject.mint(), || {});
        Subject::print_allocations("client_credentials", token(), copy);
        Subject::print_allocations("key set", subject.key_set(), || drop(Request::new(Vec::<u8>::new())));
    }
}
