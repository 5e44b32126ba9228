//! Compares the verification of a token with the verification of its signature by the same backend:
//! `cargo bench -p countersign-verify --bench verification`.

#![allow(missing_docs, reason = "criterion's macro makes a public function")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot set itself up has failed")]
#![allow(clippy::print_stdout, reason = "the result")]

#[path = "../tests/verify/forge.rs"]
mod forge;
mod ratio;

use std::hint::black_box;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use countersign_verify::JwkSet;
use criterion::{Criterion, criterion_group};
use forge::{AUDIENCE, Forge, ISSUER, NOW};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::json;

struct Subject {
    forge: Forge,
    token: String,
}

impl Subject {
    /// Creates a token like those that the issuer mints for a client with an operator and a brand.
    fn new() -> Self {
        let forge = Forge::new();
        let claims = json!({
            "iss": ISSUER, "sub": "demo-service", "aud": AUDIENCE, "exp": NOW + 3600, "iat": NOW,
            "jti": "oGUmhwEX7kVa9gir3FtqJw", "client_id": "demo-service", "scope": "reports:read reports:write",
            "roles": ["reporting"], "operator": "alice.ops", "brandKey": "acme",
        });
        let token = forge.sign(&forge.header().to_string(), &claims.to_string());
        Self { forge, token }
    }

    fn verification(&self) -> impl FnMut() {
        let verifier = self.forge.verifier().build().unwrap();
        // The key set during a rotation: one withdrawn, one signing and one announced key.
        let keys = [Forge::new().jwk, self.forge.jwk.clone(), Forge::new().jwk];
        let keys = JwkSet::new(keys.into());
        let token = self.token.clone();
        move || drop(black_box(verifier.verify_with(black_box(&token), &keys).unwrap()))
    }

    /// Returns ring's verification of the same signature over the same bytes.
    fn raw(&self) -> impl FnMut() {
        let (input, signature) = self.token.rsplit_once('.').unwrap();
        let (input, signature) = (input.to_owned(), BASE64URL.decode(signature).unwrap());
        let key =
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.forge.jwk.uncompressed_point().to_vec());
        move || key.verify(black_box(input.as_bytes()), black_box(&signature)).unwrap()
    }
}

fn measure(criterion: &mut Criterion) {
    let subject = Subject::new();
    let mut group = criterion.benchmark_group("verification");
    group.bench_function("token", |bencher| bencher.iter(subject.verification()));
    group.bench_function("raw P-256 verification", |bencher| bencher.iter(subject.raw()));
    group.finish();
}

criterion_group!(benches, measure);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    // `cargo test --benches` only checks that the benchmark runs.
    if std::env::args().any(|argument| argument == "--bench") {
        let subject = Subject::new();
        ratio::print("a token verified", 1.10, subject.verification(), subject.raw());
    }
}
