//! The work whose instructions `scripts/instructions` counts under callgrind: `instructions mint
//! CALLS`, `instructions token CALLS`. The log is that of production, with metrics, and is
//! discarded.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot set itself up has failed")]
#![allow(clippy::print_stdout, reason = "for a run by hand")]

mod subject;

use std::hint::black_box;

use countersign_issuer::http::{self, Request};
use countersign_lambda::{Context, Guard};
use countersign_verify::Timestamp;
use serde_json::Value;
use subject::Subject;

/// Everything that this function calls is counted.
#[inline(never)]
fn counted(work: &mut dyn FnMut(), calls: u32) {
    for _ in 0..calls {
        work();
    }
}

/// A token request as an event of API Gateway.
fn event(request: &Request) -> String {
    let event = include_str!("../../events/token-client-credentials.json");
    let mut event: Value = serde_json::from_str(event).unwrap();
    event["headers"]["authorization"] = request.headers()["authorization"].to_str().unwrap().into();
    event["body"] = str::from_utf8(request.body()).unwrap().into();
    event.to_string()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, calls] = arguments.as_slice() else {
        println!("scripts/instructions counts this");
        return;
    };
    let clock = countersign_tests::TestClock::at(Timestamp::from_seconds(2_000_000_000)).clock();
    let audit = subject::start_the_log(clock.clone(), std::io::sink);
    let subject = Subject::new(&clock, audit.clone());
    let guard = Guard::new(|request| http::token(&subject.world.issuer, request), clock, audit);
    let mut work: Box<dyn FnMut()> = match what.as_str() {
        "mint" => Box::new(subject.mint()),
        "token" => {
            let event = event(&Subject::token_request());
            let guard = &guard;
            let runtime = &subject.runtime;
            Box::new(move || {
                let answer = runtime.block_on(guard.respond(&event, Context::default()));
                let answer = serde_json::to_string(&answer).unwrap();
                assert!(black_box(answer).starts_with(r#"{"statusCode":200,"#));
            })
        }
        other => unreachable!("{other} is neither mint nor token"),
    };
    // Reads the client and the key ring, and writes every kind of log line once.
    for _ in 0..10 {
        work();
    }
    counted(&mut *work, calls.parse().unwrap());
}
