//! Compares one decision among 500 rules with the signature verification that precedes it:
//! `cargo bench -p countersign-verify --features policy --bench policy`.

#![allow(missing_docs, reason = "criterion's macro makes a public function")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot set itself up has failed")]
#![allow(clippy::print_stdout, reason = "the result")]

mod ratio;

use std::collections::BTreeMap;
use std::hint::black_box;

use countersign_verify::Claims;
use countersign_verify::policy::Policy;
use criterion::{Criterion, criterion_group};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};

/// A path as clients send it, and one that must be decoded and folded first.
const PATHS: [(&str, &str); 2] = [
    ("plain", "/brands/acme/resource-83/items/4711/notes/0815"),
    ("encoded", "/brands/%61cme/resource-83/items/J%C3%BCrgen%20Krause/notes/AB-0815"),
];

/// Builds a policy of 100 resources with five rules each, with static segments next to parameters.
fn policy() -> Policy {
    let mut rules = Vec::new();
    for resource in 0..100 {
        for (methods, path) in [
            (r#""GET", "POST""#, ""),
            (r#""GET", "PUT", "DELETE""#, "/{id}"),
            (r#""GET""#, "/items/{item}"),
            (r#""GET", "PUT""#, "/items/{item}/notes/{note}"),
            (r#""GET""#, "/files/{*path}"),
        ] {
            rules.push(format!(
                r#"
                [[rule]]
                methods = [{methods}]
                path = "/brands/{{brandKey}}/resource-{resource}{path}"
                scopes = ["resource-{resource}:use"]
                roles = ["reporting", "billing"]
                equal = {{ brandKey = "brandKey" }}
                "#
            ));
        }
    }
    let policy = Policy::from_toml(&rules.concat()).unwrap();
    assert_eq!(policy.rules().len(), 500);
    policy
}

fn claims() -> Claims {
    Claims {
        iss: "https://issuer.example.com".into(),
        sub: "demo-service".into(),
        aud: "https://api.example.com".into(),
        exp: 1_800_000_000,
        iat: 1_799_996_400,
        jti: "oGUmhwEX7kVa9gir3FtqJw".into(),
        client_id: "demo-service".into(),
        scope: Some("reports:read reports:write calls:read resource-83:use".into()),
        roles: vec!["support".into(), "billing".into()],
        operator: None,
        brand_key: Some("acme".into()),
        other: BTreeMap::default(),
    }
}

/// Returns one verification by ring of a signature over a message as long as a signing input.
fn raw_verification() -> impl FnMut() {
    #[expect(clippy::disallowed_methods, reason = "ring takes its own generator and no other")]
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
    let input = [b'x'; 512];
    let signature = pair.sign(&random, &input).unwrap();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref().to_vec());
    move || key.verify(black_box(&input), black_box(signature.as_ref())).unwrap()
}

fn measure(criterion: &mut Criterion) {
    let (policy, claims) = (policy(), claims());
    let mut group = criterion.benchmark_group("policy of 500 rules");
    for (name, path) in PATHS {
        group.bench_function(name, |bencher| {
            bencher.iter(|| policy.decide(black_box("PUT"), black_box(path), black_box(&claims)).unwrap());
        });
    }
    group.bench_function("raw P-256 verification", |bencher| bencher.iter(raw_verification()));
    group.finish();
}

criterion_group!(benches, measure);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    // `cargo test --benches` only checks that the benchmark runs.
    if std::env::args().any(|argument| argument == "--bench") {
        let (policy, claims) = (policy(), claims());
        for (name, path) in PATHS {
            let decide = || drop(black_box(policy.decide(black_box("PUT"), black_box(path), &claims)));
            ratio::print(
                &format!("a decision among 500 rules, {name} path"),
                0.05,
                decide,
                raw_verification(),
            );
        }
    }
}
