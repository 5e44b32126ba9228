//! Runs the program as a user of a shell does.

use std::process::Output;

use countersign_tests::TestIssuer;
use serde_json::Value;

use crate::pipe;

/// A shell with the environment of a running local issuer.
pub(crate) struct Shell<'a> {
    pub(crate) issuer: &'a TestIssuer,
}

impl Shell<'_> {
    pub(crate) fn run(&self, line: &str, stdin: &str) -> Output {
        self.run_with(&[], line, stdin)
    }

    pub(crate) fn run_with(&self, more: &[(&str, &str)], line: &str, stdin: &str) -> Output {
        let environment = std::fs::read_to_string(&self.issuer.server.environment).unwrap();
        let variables = environment
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_once('=').unwrap());
        pipe::run(line.split(' '), variables.chain(more.iter().copied()), stdin)
    }

    #[track_caller]
    pub(crate) fn ok(&self, line: &str, stdin: &str) -> Value {
        let output = self.run(&format!("--json {line}"), stdin);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        self.issuer.let_caches_expire();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[track_caller]
    pub(crate) fn refused(&self, line: &str, stdin: &str) -> String {
        let output = self.run(line, stdin);
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(output.stdout.is_empty(), "{line}");
        String::from_utf8(output.stderr).unwrap()
    }
}
