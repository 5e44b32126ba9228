//! Hints: what is most likely a mistake, where a change goes, and what it leads to.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use countersign_tests::TestIssuer;
use countersign_verify::Clock;

use crate::proxy::{self, Fate};
use crate::shell::Shell;

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

const CREATE: &str = "client create billing --grant client_credentials --audience https://api.example.com";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_record_is_answered_with_the_one_that_was_meant() {
    let issuer = TestIssuer::start_at(Clock::system().now()).await;
    let shell = Shell { issuer: &issuer };
    let secret = shell.ok("client secret list demo-voice", "")[0]["id"].as_str().unwrap().to_owned();
    let kid = shell.ok("key list", "")[0]["kid"].as_str().unwrap().to_owned();
    let (cut_kid, cut_secret) = (&kid[..12], &secret[..secret.len() - 1]);
    for (line, meant) in [
        ("client show demo-ap", "Did you mean demo-app?"),
        ("client update demo_voice --name x", "Did you mean demo-voice?"),
        ("client disable DEMO-APP", "Did you mean demo-app?"),
        ("client delete demo-servce --yes", "Did you mean demo-service?"),
        ("client secret list demo-voise", "Did you mean demo-voice?"),
        ("user show jane@exmaple.com --brand acme", "Did you mean jane@example.com?"),
        ("user disable jane@example.com --brand globex", "A user of that name has the brand acme."),
        ("user delete jan@example.com --brand acme --yes", "Did you mean jane@example.com?"),
        ("operator logout alice.op", "Did you mean alice.ops?"),
        // Before the question, which needs a terminal.
        ("client delete demo-servce", "Did you mean demo-service?"),
        ("operator delete alise.ops", "Did you mean alice.ops?"),
        ("user delete jan@example.com --brand acme", "Did you mean jane@example.com?"),
        (&format!("client secret revoke demo-voice {cut_secret} --yes"), &format!("Did you mean {secret}?")),
        (&format!("key withdraw {cut_kid} --yes"), &format!("Did you mean {kid}?")),
    ] {
        let refused = shell.refused(line, "");
        assert!(refused.ends_with(&format!("\n{meant}\n")), "{line}: {refused}");
    }
    for line in ["client show quite-another-name", "user show bob --brand acme", "operator show carol"] {
        let refused = shell.refused(line, "");
        assert!(!refused.contains("Did you mean"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_operators_and_brands_of_a_client_are_warned_of() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    shell.ok("user create bob --brand initech --password-stdin", "correct horse");
    shell.ok("operator create carol --brand hooli --password-stdin", "correct horse");
    shell.ok("operator disable carol", "");
    let warnings = |line: &str| {
        let output = shell.run(line, "");
        assert!(output.status.success(), "{line}");
        let warnings = text(output.stderr);
        warnings
            .lines()
            .filter_map(|line| line.strip_prefix("warning: "))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        warnings(&format!("{CREATE} --brand acme,acmee --operator alice.ops,alise.ops,dave")),
        [
            "there is no operator alise.ops. Did you mean alice.ops?",
            "there is no operator dave.",
            "no other client, no user and no operator has the brand acmee. Did you mean acme?",
        ]
    );
    // What was warned of once is no news.
    assert!(warnings("client update billing --name Bills").is_empty());
    assert_eq!(
        warnings("client update billing --add-operator carol --add-brand umbrella"),
        [
            "the operator carol is disabled",
            "no other client, no user and no operator has the brand umbrella.",
        ]
    );
    // The brand of a user, that of an operator, and all.
    assert!(warnings("client update billing --brand initech,hooli").is_empty());
    assert!(warnings("client update billing --brand *").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_scanned_for_a_hint_alone() {
    let issuer = TestIssuer::start().await;
    let operations = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&operations);
    let fate = move |operation: &str| {
        seen.lock().unwrap().push(operation.to_owned());
        Fate::Answered
    };
    let endpoint = proxy::start(&issuer.server.dynamodb.endpoint(), fate).await;
    let shell = Shell { issuer: &issuer };
    let scans = |line: &str| {
        operations.lock().unwrap().clear();
        shell.run_with(&[("AWS_ENDPOINT_URL_DYNAMODB", &endpoint)], line, "");
        let operations = operations.lock().unwrap();
        operations
            .iter()
            .filter_map(|one| one.strip_prefix("Scan countersign-"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    for line in [
        "client show demo-app",
        CREATE,
        "client update billing --name x --add-operator alice.ops",
        "client disable billing",
        "user show jane@example.com --brand acme",
        "client delete billing --yes",
    ] {
        assert_eq!(scans(line), Vec::<String>::new(), "{line}");
    }
    assert_eq!(scans("client show nosuch"), ["clients"]);
    assert_eq!(scans("operator show nosuch"), ["principals"]);
    // A brand that another client has needs no look at the users.
    assert_eq!(scans(&format!("{CREATE} --brand acme")), ["clients"]);
}

/// An STS that knows one account.
fn sts() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).unwrap();
            let body = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                <GetCallerIdentityResult><Arn>arn:aws:iam::210987654321:user/jane</Arn><UserId>AIDAX</UserId>\
                <Account>210987654321</Account></GetCallerIdentityResult></GetCallerIdentityResponse>";
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\nconnection: close\r\ncontent-length: {}",
                body.len()
            );
            let _ = stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes());
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_says_first_which_account_region_and_tables_it_changes() {
    let issuer = TestIssuer::start_at(Clock::system().now()).await;
    let shell = Shell { issuer: &issuer };
    let (sts, store) = (sts(), issuer.server.dynamodb.endpoint());
    let with_sts = [("AWS_ENDPOINT_URL_STS", sts.as_str())];
    let told = |more: &[(&str, &str)], line: &str| text(shell.run_with(more, line, "").stderr);
    let place = format!("region eu-central-1, at {store}.");
    for line in [
        "client update demo-app --name x",
        "operator disable alice.ops",
        "key rotate",
        "client delete demo-voice",
    ] {
        let account = "This changes the tables countersign-* in account 210987654321 (arn:aws:iam::210987654321:user/jane)";
        let shown = told(&with_sts, line);
        assert!(shown.starts_with(&format!("{account}, {place}\n")), "before all else, {line}: {shown}");
    }
    let local = told(&[], "client disable demo-app");
    assert_eq!(
        local,
        format!("This changes the tables countersign-* in {place}\n"),
        "a local store has no account"
    );
    let nowhere = [("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")];
    let unknown = told(&nowhere, "client enable demo-app");
    assert!(
        unknown.starts_with("This changes the tables countersign-* in an account that STS does not name ("),
        "{unknown}"
    );
    for line in [
        "client update demo-app --name y --json",
        "client list",
        "client show demo-app",
        "key list",
        // Refused, or nothing to do.
        "client update demo-app --name y",
        "client enable demo-app",
        "client create usr_x --grant password",
        "operator create dave --brand acme,",
        "client update demo-app --access-ttl 2d",
        "client delete nosuch",
        "operator delete nosuch",
        "user delete nosuch --brand acme",
        "client secret revoke demo-app nosuch",
        "key withdraw nosuch",
        "client import missing.json",
    ] {
        assert!(!told(&with_sts, line).contains("This changes"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disabling_says_when_it_takes_effect_and_which_tokens_live_on() {
    let now = Clock::system().now();
    let issuer = TestIssuer::start_at(now).await;
    let shell = Shell { issuer: &issuer };
    shell.ok(&format!("{CREATE} --access-ttl 25min"), "");
    let shown = text(shell.run("client disable billing", "").stdout);
    for part in [
        "Its requests are refused by ",
        "its copy of the record for 1 min",
        "live on until they expire, 25 min after they were issued, the last one at ",
        "Refresh tokens are refused.",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let seconds = |value: &serde_json::Value| {
        let at: jiff::Timestamp = value.as_str().unwrap().parse().unwrap();
        at.as_second()
    };
    let json = shell.ok("client disable billing", "");
    let updated = seconds(&json["updated"]);
    assert!((60..=62).contains(&(seconds(&json["effective_by"]) - updated)), "{json}");
    assert!((1560..=1562).contains(&(seconds(&json["access_tokens_valid_until"]) - updated)), "{json}");

    let user = text(shell.run("user disable jane@example.com --brand acme", "").stdout);
    assert!(user.contains("Logins and refreshes are refused from now on."), "{user}");
    assert!(user.contains("1 d is the longest lifetime") && !user.contains("act for the operator"), "{user}");
    let operator = text(shell.run("operator disable alice.ops", "").stdout);
    assert!(operator.contains("Clients can act for the operator until "), "{operator}");
    let logout = text(shell.run("operator logout alice.ops", "").stdout);
    assert!(
        logout.contains("a new login is possible") && logout.contains("live on until they expire"),
        "{logout}"
    );
    let second = shell.ok("client secret add billing", "");
    let line = format!("client secret revoke billing {} --yes", second["id"].as_str().unwrap());
    let revoked = text(shell.run(&line, "").stdout);
    assert!(revoked.contains("Requests with the secret are refused by "), "{revoked}");
    assert!(revoked.contains("Refresh tokens stay valid."), "{revoked}");
}
