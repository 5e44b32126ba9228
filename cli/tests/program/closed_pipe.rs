//! A reader that goes away ends the program as it ends others, by SIGPIPE, and never with a panic.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use countersign_tests::TestIssuer;

use crate::help::leaves;

const SIGPIPE: i32 = 13;

/// Runs the program with both of its outputs into a pipe without a reader.
fn run(arguments: &[&str], variables: &[(String, String)], stdin: &str) -> ExitStatus {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let folder = tempfile::TempDir::new().unwrap();
    let input = folder.path().join("input");
    std::fs::write(&input, stdin).unwrap();
    Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().cloned())
        .current_dir(folder.path())
        .stdin(std::fs::File::open(&input).unwrap())
        .stdout(writer.try_clone().unwrap())
        .stderr(Stdio::from(writer))
        .status()
        .unwrap()
}

#[test]
fn the_help_and_the_usage_errors_of_every_command_end_by_sigpipe() {
    for command in leaves() {
        let path: Vec<&str> = command.split(' ').collect();
        for more in [&["--help"][..], &["--no-such-option"], &["--json", "--no-such-option"]] {
            let status = run(&[&path, more].concat(), &[], "");
            assert_eq!(status.signal(), Some(SIGPIPE), "{command} {more:?}: {status}");
        }
    }
    assert_eq!(run(&[], &[], "").signal(), Some(SIGPIPE));
    assert_eq!(run(&["--version"], &[], "").signal(), Some(SIGPIPE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_errors_warnings_and_logs_end_by_sigpipe() {
    let issuer = TestIssuer::start().await;
    let environment = std::fs::read_to_string(&issuer.server.environment).unwrap();
    let lines = environment.lines().filter(|line| !line.starts_with('#'));
    let variables: Vec<(String, String)> = lines
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    for (line, stdin) in [
        ("client list", ""),
        ("client list --json", ""),
        ("client show demo-app", ""),
        ("client show nosuch", ""),
        ("client show nosuch --json", ""),
        ("client export", ""),
        ("client update demo-app --name x", ""),
        ("client update demo-app", ""),
        ("client disable demo-voice", ""),
        ("client secret list demo-app", ""),
        ("user list", ""),
        ("operator show alice.ops", ""),
        ("user create bob --brand acme --password-stdin", "correct horse battery staple"),
        ("key list", ""),
        ("key rotate", ""),
        ("doctor", ""),
        ("doctor --json", ""),
        ("token inspect", "eyJhbGciOiJFUzI1NiJ9.e30.AA"),
        ("token inspect", ""),
        ("policy check missing.toml", ""),
        ("client import missing.json", ""),
        ("completions bash", ""),
        ("man", ""),
        ("dev --port 0 --dynamodb-port 0", ""),
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let status = run(&arguments, &variables, stdin);
        assert_eq!(status.signal(), Some(SIGPIPE), "{line}: {status}");
    }
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else { return };
    let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["completions", "fish"])
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("error: standard output: "));
}
