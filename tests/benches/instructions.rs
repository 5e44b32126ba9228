//! What `scripts/instructions` counts under callgrind: `instructions mint CALLS`, `instructions token CALLS`. The log is
//! written as in production, metrics and all, to nowhere.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot set itself up has failed")]
#![allow(clippy::print_stdout, reason = "for whoever runs it by hand")]

mod subject;

use countersign_verify::Timestamp;
use subject::Subject;

/// What is counted is what runs below this.
#[inline(never)]
fn counted(work: &mut dyn FnMut(), calls: u32) {
    for _ in 0..calls {
        work();
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, calls] = arguments.as_slice() else {
        println!("scripts/instructions counts this");
        return;
    };
    let clock = countersign_tests::TestClock::at(Timestamp::from_seconds(2_000_000_000)).clock();
    let subject = Subject::new(&clock);
    subject::start_the_log(clock, std::io::sink);
    let mut work: Box<dyn FnMut()> = match what.as_str() {
        "mint" => Box::new(subject.mint()),
        "token" => Box::new(subject.token()),
        other => unreachable!("{other} is neither mint nor token"),
    };
    // Reads the client and the ring of keys, and meets every line of the log once.
    for _ in 0..10 {
        work();
    }
    counted(&mut *work, calls.parse().unwrap());
}
