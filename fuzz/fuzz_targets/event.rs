//! Any text as the event of a function that serves HTTP: the guard answers it. On the way to the
//! credentials and the parameters nothing panics, and the only address is the one that API Gateway
//! saw.

#![no_main]

use std::sync::LazyLock;

use countersign_issuer::audit::AuditLog;
use countersign_issuer::context::SourceAddress;
use countersign_issuer::fuzzing;
use countersign_issuer::http::{Request, Response};
use countersign_lambda::{Context, Guard};
use countersign_verify::Clock;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));

fuzz_target!(
    // libFuzzer's own hook ends the process at any panic, also at one of `lambda_http` that the
    // guard handles.
    init: std::panic::set_hook(Box::new(|panic| {
        let is_ours = panic.location().is_some_and(|location| !location.file().contains("/registry/"));
        if is_ours {
            eprintln!("{panic}");
        }
    })),
    |event: &str| {
        let endpoint = async |request: Request| {
            check(&request, event);
            Response::default()
        };
        let guard = Guard::new(endpoint, Clock::system(), AuditLog::new(|_| {}));
        let answer = RUNTIME.block_on(guard.respond(event, Context::default()));
        let answer = serde_json::to_value(answer).expect("an answer is JSON");
        // A panic of `check` would be answered 500.
        assert!(answer["statusCode"] == 200 || answer["statusCode"] == 400, "{answer}");
    }
);

fn check(request: &Request, event: &str) {
    if let Some(SourceAddress(source)) = request.extensions().get() {
        // `Value` rejects what the parser of the event skips: a number out of range, half a
        // surrogate pair.
        if let Ok(event) = serde_json::from_str::<Value>(event) {
            let context = &event["requestContext"];
            let seen = [&context["http"]["sourceIp"], &context["identity"]["sourceIp"]];
            let is_seen = |seen: &&Value| seen.as_str().is_some_and(|seen| seen.parse() == Ok(*source));
            assert!(seen.iter().any(is_seen), "{source}");
        }
    }
    let Ok((credentials, parameters)) = fuzzing::request(request) else { return };
    assert!((1..=2).contains(&credentials.len()) && parameters.len() <= 64);
    for (name, value) in credentials.iter().chain(&parameters) {
        assert!(!name.is_empty() || !value.is_empty());
        assert!(!name.chars().chain(value.chars()).any(char::is_control));
    }
}
