//! The program at a terminal: progress, colour, and the local time.

use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use countersign_tests::TestIssuer;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::shell::Shell;

/// A terminal: the end that shows it, and the end that the program has.
fn terminal() -> (File, File) {
    let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&screen).unwrap();
    unlockpt(&screen).unwrap();
    let name = ptsname(&screen, Vec::new()).unwrap();
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
    (screen.into(), File::options().read(true).write(true).open(path).unwrap())
}

/// Returns standard error as a terminal shows it, control sequences included.
fn shown_at_terminal(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let (mut screen, terminal) = terminal();
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.args(arguments).env_clear().envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(terminal);
    let mut child = command.spawn().unwrap();
    // Closes the terminal here, so that it ends with the program.
    drop(command);
    let mut shown = Vec::new();
    // Linux reports the end of a terminal as an error.
    let _ = screen.read_to_end(&mut shown);
    child.wait().unwrap();
    String::from_utf8(shown).unwrap()
}

#[test]
fn a_wait_for_the_store_is_shown_at_a_terminal_alone_and_never_beside_json() {
    // It accepts connections, and never answers: the program gives up after four seconds.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let variables = |term: &'static str| {
        vec![
            ("AWS_REGION".to_owned(), "eu-central-1".to_owned()),
            ("AWS_ACCESS_KEY_ID".to_owned(), "x".to_owned()),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), "y".to_owned()),
            ("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), endpoint.clone()),
            ("TERM".to_owned(), term.to_owned()),
        ]
    };
    let at_terminal = |arguments: &'static [&'static str], term: &'static str| {
        let variables = variables(term);
        std::thread::spawn(move || {
            let variables: Vec<(&str, &str)> =
                variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            shown_at_terminal(arguments, &variables)
        })
    };
    let shown = at_terminal(&["client", "list"], "xterm");
    let json = at_terminal(&["client", "list", "--json"], "xterm");
    let dumb = at_terminal(&["client", "list"], "dumb");
    let piped = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["client", "list"])
        .env_clear()
        .envs(variables("xterm"))
        .output()
        .unwrap();

    let shown = shown.join().unwrap();
    assert!(shown.contains("Waiting for DynamoDB (2s)"), "{shown:?}");
    let (_, last) = shown.rsplit_once("Waiting for DynamoDB").unwrap();
    assert!(
        last.contains("\u{1b}[2K") && last.contains("out of reach"),
        "cleared before the error: {last:?}"
    );
    for (without, text) in [
        ("json", json.join().unwrap()),
        ("dumb", dumb.join().unwrap()),
        ("pipe", String::from_utf8(piped.stderr).unwrap()),
    ] {
        assert!(text.contains("out of reach") && !text.contains("Waiting"), "{without}: {text:?}");
    }
}

#[test]
fn colour_is_for_a_terminal_that_wants_it() {
    for line in [&["policy", "check", "missing.toml"][..], &["client", "no-such-command"]] {
        let colourful = shown_at_terminal(line, &[("TERM", "xterm")]);
        assert!(colourful.contains("\u{1b}["), "{line:?}: {colourful:?}");
        for variables in [[("TERM", "xterm"), ("NO_COLOR", "1")], [("TERM", "dumb"), ("LANG", "C")]] {
            let plain = shown_at_terminal(line, &variables);
            assert!(
                plain.contains("error: ") && !plain.contains('\u{1b}'),
                "{line:?} {variables:?}: {plain:?}"
            );
        }
        let piped = crate::pipe::run(line, [("TERM", "xterm")], "");
        assert!(!String::from_utf8(piped.stderr).unwrap().contains('\u{1b}'));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_reads_the_local_time_with_its_distance_and_a_program_utc() {
    let issuer = TestIssuer::start_at(countersign_verify::Clock::system().now()).await;
    let shell = Shell { issuer: &issuer };
    for (zone, offset) in [("IST-5:30", " +05:30 ("), ("NST3:30", " -03:30 ("), ("UTC", " +00:00 (")] {
        let output = shell.run_with(&[("TZ", zone)], "client show demo-app", "");
        let text = String::from_utf8(output.stdout).unwrap();
        let created = text.lines().find(|line| line.starts_with("created ")).unwrap();
        assert!(created.contains(offset) && created.ends_with(')'), "{created}");
        let keys = String::from_utf8(shell.run_with(&[("TZ", zone)], "key list", "").stdout).unwrap();
        assert!(keys.contains(" (in "), "the successor signs later: {keys}");
        let json = shell.run_with(&[("TZ", zone)], "client show demo-app --json", "");
        let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
        assert!(json["created"].as_str().unwrap().ends_with('Z'), "{json}");
    }
}

#[test]
fn a_time_zone_that_does_not_exist_is_warned_of() {
    let warned = |zone: &str, more: &[&str]| {
        let arguments = [&["policy", "check", "missing.toml"], more].concat();
        let output = crate::pipe::run(arguments, [("TZ", zone)], "");
        String::from_utf8(output.stderr).unwrap().contains("names no time zone")
    };
    for zone in ["Nonsense/Zone", "Europe/Berlinn"] {
        assert!(warned(zone, &[]) && !warned(zone, &["--json"]), "{zone}");
    }
    for zone in ["Europe/Berlin", "UTC", "IST-5:30", ""] {
        assert!(!warned(zone, &[]), "{zone}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_sees_the_secrets_of_a_client_as_a_table() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    shell.ok("client secret add demo-service --expire-others 3d", "");
    let text = String::from_utf8(shell.run("client show demo-service", "").stdout).unwrap();
    let (_, table) = text.split_once("\n\nsecrets\n").unwrap();
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 3, "{table}");
    let heading: Vec<&str> = rows[0].split_whitespace().collect();
    assert_eq!(heading, ["ID", "KIND", "CREATED", "EXPIRES"]);
    for row in &rows[1..] {
        assert_eq!(row.find("sha-256").or(row.find("argon2id")), rows[0].find("KIND"), "{table}");
    }
    assert!(!text.contains("id=") && !text.contains("kind="), "{text}");
    assert!(text.contains("access_ttl          1 h\n"), "{text}");
    let json = shell.ok("client show demo-service", "");
    assert_eq!(json["access_ttl"], 3600);
    assert!(json["secrets"][0]["expires"].as_str().unwrap().ends_with('Z'), "{json}");
}
