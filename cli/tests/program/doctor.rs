//! `countersign doctor` with each fault planted: it names the fault and the remedy.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    TimeToLiveSpecification,
};
use countersign_tests::TestIssuer;
use countersign_verify::Clock;
use serde_json::Value;

const KEYS: &str = "countersign-signing-keys";

/// Runs the program with the environment of a local issuer and `more`; an empty value unsets a
/// variable.
fn run(issuer: &TestIssuer, more: &[(&str, &str)], arguments: &[&str]) -> Output {
    let environment = std::fs::read_to_string(&issuer.server.environment).unwrap();
    let variables =
        environment.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_once('=').unwrap());
    Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(arguments)
        .env_clear()
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(variables)
        .envs(more.iter().copied())
        .output()
        .unwrap()
}

/// Runs the doctor and returns whether everything is healthy, and the findings.
fn doctor(issuer: &TestIssuer, more: &[(&str, &str)]) -> (bool, Vec<Value>) {
    let output = run(issuer, more, &["doctor", "--json"]);
    let report: Value =
        serde_json::from_slice(&output.stdout).expect(&String::from_utf8_lossy(&output.stderr));
    assert_eq!(report["healthy"], output.status.success());
    let findings = report["findings"].as_array().unwrap().clone();
    for finding in &findings {
        assert_eq!(finding["state"] == "ok", finding["remedy"].is_null(), "{finding}");
    }
    (output.status.success(), findings)
}

/// Asserts a finding with this state and all words of `found`, and the exit code that belongs to
/// it.
#[track_caller]
fn assert_found(issuer: &TestIssuer, more: &[(&str, &str)], state: &str, found: &[&str]) {
    let (healthy, findings) = doctor(issuer, more);
    let holds = |finding: &&Value| found.iter().all(|words| finding.to_string().contains(words));
    let matching: Vec<&Value> = findings.iter().filter(holds).collect();
    assert!(matching.iter().any(|finding| finding["state"] == state), "{state} {found:?} in {findings:#?}");
    if state == "broken" {
        assert!(!healthy);
    }
}

async fn issuer() -> TestIssuer {
    TestIssuer::start_at(Clock::system().now()).await
}

// One thread waits for the program while the issuer runs on another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_issuer_is_reported_as_healthy() {
    let issuer = issuer().await;
    let (healthy, findings) = doctor(&issuer, &[]);
    assert!(healthy, "{findings:#?}");
    let checks: Vec<&str> = findings.iter().map(|finding| finding["check"].as_str().unwrap()).collect();
    for check in ["tables", "clients", "kms", "keys", "clock", "published"] {
        assert!(checks.contains(&check), "{check} in {checks:?}");
    }
    let text = run(&issuer, &[], &["doctor"]);
    assert!(String::from_utf8(text.stdout).unwrap().contains("has every key that it must have"));

    let (healthy, findings) = doctor(&issuer, &[("COUNTERSIGN_ISSUER", ""), ("COUNTERSIGN_LOCAL_KEY", "")]);
    assert!(healthy, "without a setting there is nothing to check: {findings:#?}");
    assert_eq!(findings.iter().filter(|finding| finding["state"] == "warning").count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_the_tables_are_found() {
    let issuer = issuer().await;
    let db = issuer.dynamodb();
    let families = "countersign-refresh-families";
    let off = TimeToLiveSpecification::builder().enabled(false).attribute_name("expires").build().unwrap();
    let expiry = db.update_time_to_live().table_name(families).time_to_live_specification(off);
    expiry.send().await.unwrap();
    assert_found(&issuer, &[], "broken", &["tables", families, "does not expire", "update-time-to-live"]);

    db.delete_table().table_name(families).send().await.unwrap();
    assert_found(&issuer, &[], "broken", &["there is no table", families, "eu-central-1", "--prefix"]);

    let attribute = AttributeDefinition::builder();
    let attribute = attribute.attribute_name("id").attribute_type(ScalarAttributeType::S).build().unwrap();
    let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().unwrap();
    let create = db.create_table().table_name(families).attribute_definitions(attribute).key_schema(key);
    create.billing_mode(BillingMode::PayPerRequest).send().await.unwrap();
    assert_found(&issuer, &[], "broken", &[families, "has the key", "id", "family"]);

    db.delete_table().table_name(KEYS).send().await.unwrap();
    assert_found(&issuer, &[], "broken", &["keys", "signing-keys"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_prefix_region_or_endpoint_is_reported_with_the_missing_tables() {
    let issuer = issuer().await;
    let prefix = [("COUNTERSIGN_TABLE_PREFIX", "other-")];
    assert_found(&issuer, &prefix, "broken", &["there is no table other-clients in eu-central-1"]);
    let nowhere = [("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1")];
    assert_found(&issuer, &nowhere, "broken", &["countersign-clients", "http://127.0.0.1:1", "out of reach"]);

    for command in [["client", "list"], ["user", "list"], ["key", "list"]] {
        let flags = ["--prefix", "other-", "--region", "us-east-1"];
        for (place, problem) in
            [(&[][..], "ResourceNotFoundException"), (&nowhere, "DynamoDB is out of reach")]
        {
            let output = run(&issuer, place, &[&command[..], &flags].concat());
            assert_eq!(output.status.code(), Some(1));
            let error = String::from_utf8(output.stderr).unwrap();
            for expected in [
                problem,
                "other-clients, other-principals",
                "us-east-1",
                "http://127.0.0.1:",
                "--prefix",
                "doctor",
            ] {
                assert!(error.contains(expected), "{expected} in {error}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_the_key_ring_are_found() {
    let issuer = issuer().await;
    let db = issuer.dynamodb();
    let key = |seq: u8| (AttributeValue::S("issuer".into()), AttributeValue::N(seq.to_string()));
    let set = async |seq: u8, name: &str, value: AttributeValue| {
        let (ring, number) = key(seq);
        let update = db.update_item().table_name(KEYS).key("ring", ring).key("seq", number);
        let update = update.update_expression("SET #name = :value").expression_attribute_names("#name", name);
        update.expression_attribute_values(":value", value).send().await.unwrap();
    };
    let delete = async |seq: u8| {
        let (ring, number) = key(seq);
        db.delete_item().table_name(KEYS).key("ring", ring).key("seq", number).send().await.unwrap();
    };
    let now = Clock::system().now().millis();
    set(1, "activates_at", AttributeValue::N((now - 40 * 24 * 3_600_000).to_string())).await;
    assert_found(&issuer, &[], "broken", &["keys", "has been signing for 40 d", "due every 30 d", "log"]);

    delete(2).await;
    assert_found(&issuer, &[], "broken", &["no successor is announced", "countersign key rotate"]);
    set(1, "jwk", AttributeValue::S("{}".into())).await;
    let output = run(&issuer, &[], &["doctor"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("jwk is not a public P-256 signing key"));
    delete(1).await;
    assert_found(&issuer, &[], "broken", &["no key signs", "countersign key rotate"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_kms_is_found() {
    let issuer = issuer().await;
    let kms = [
        ("COUNTERSIGN_LOCAL_KEY", ""),
        ("COUNTERSIGN_KMS_KEY_ID", "alias/x"),
        ("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1"),
    ];
    assert_found(&issuer, &kms, "broken", &["kms", "out of reach", "ReaderPolicy"]);
    let both = [("COUNTERSIGN_KMS_KEY_ID", "alias/x")];
    assert_found(&issuer, &both, "warning", &["kms", "exclude each other"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_without_a_live_secret_now_or_soon_are_found() {
    let issuer = issuer().await;
    let now = Clock::system().now();
    let day = Duration::from_secs(24 * 3600);
    issuer.change_client("demo-app", |client| client.secrets[0].expires = Some(now.plus(3 * day))).await;
    issuer.change_client("demo-voice", |client| client.secrets.clear()).await;
    issuer
        .change_client("demo-service", |client| {
            client.secrets.clear();
            client.enabled = false;
        })
        .await;
    let (healthy, findings) = doctor(&issuer, &[]);
    assert!(!healthy);
    let text: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let text = text.join("\n");
    assert!(
        text.contains("the last secret of demo-app expires at") && text.contains("secret add demo-app"),
        "{text}"
    );
    assert!(text.contains("demo-voice has no live secret"), "{text}");
    assert!(!text.contains("demo-service"), "a disabled client needs no secret: {text}");

    issuer
        .change_client("demo-app", |client| {
            let mut other = client.secrets[0].clone();
            (other.id, other.expires) = ("other".into(), None);
            client.secrets.push(other);
        })
        .await;
    let beside_another = ["clients", "a secret of demo-app expires at", "secret list demo-app"];
    assert_found(&issuer, &[], "warning", &beside_another);

    let broken = AttributeValue::S("broken".into());
    let put = issuer.dynamodb().put_item().table_name("countersign-clients").item("client_id", broken);
    put.send().await.unwrap();
    assert_found(&issuer, &[], "broken", &["clients", "broken", "client delete"]);
}

/// Starts a server that is not the issuer and answers every request alike. It ends with the test
/// process.
fn impostor(
    status: &'static str,
    date: &'static str,
    body: impl Fn(&str) -> String + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let own = url.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let head = BufReader::new(&stream).lines().map_while(Result::ok);
            // Reads the whole head. A client whose connection is cut before sees no response.
            let path = head.take_while(|line| !line.is_empty()).collect::<Vec<_>>().remove(0);
            let body = body(if path.contains("jwks") { "jwks" } else { &own });
            let head = format!("HTTP/1.1 {status}\r\ndate: {date}\r\nconnection: close\r\n");
            let _ = write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len());
        }
    });
    url
}

fn metadata(issuer: &str) -> String {
    format!(r#"{{"issuer":"{issuer}","jwks_uri":"{issuer}/jwks"}}"#)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn published_documents_are_checked_as_clients_fetch_them() {
    const LONG_AGO: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let issuer = issuer().await;
    let at = |url: &str| vec![("COUNTERSIGN_ISSUER".to_owned(), url.to_owned())];
    let found = |url: &str, words: &[&str]| {
        let more = at(url);
        let more: Vec<(&str, &str)> =
            more.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_found(&issuer, &more, "broken", words);
    };
    found("http://127.0.0.1:1", &["published", "http://127.0.0.1:1", "out of reach"]);
    let url = impostor("500 Oops", LONG_AGO, |_| String::new());
    found(&url, &["published", "answers 500"]);
    let url = impostor("200 OK", LONG_AGO, |_| metadata("https://other.example.com"));
    found(&url, &["names the issuer https://other.example.com", "DomainName"]);
    let url = impostor("200 OK", LONG_AGO, |_| "not JSON".into());
    found(&url, &["names no issuer"]);
    let url =
        impostor(
            "200 OK",
            LONG_AGO,
            |own| {
                if own == "jwks" { r#"{"keys":[]}"#.into() } else { metadata(own) }
            },
        );
    found(&url, &["clock", "away from the issuer", "NTP"]);
    let (_, findings) = doctor(&issuer, &[("COUNTERSIGN_ISSUER", &url)]);
    let kid = issuer.get("/.well-known/jwks.json", &[]).await.json()["keys"][0]["kid"].clone();
    found(&url, &["/jwks lacks", kid.as_str().unwrap()]);
    assert!(!findings.is_empty());
    let url = impostor("200 OK", LONG_AGO, |own| if own == "jwks" { "[]".into() } else { metadata(own) });
    found(&url, &["is not a JWKS that a verifier can use"]);
}

#[test]
fn credentials_can_come_from_a_profile() {
    let folder = tempfile::TempDir::new().unwrap();
    let credentials = folder.path().join("credentials");
    std::fs::write(&credentials, "[admin]\naws_access_key_id = x\naws_secret_access_key = y\n").unwrap();
    let config = folder.path().join("config");
    std::fs::write(&config, "[profile admin]\nregion = eu-west-3\n").unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(arguments)
            .env_clear()
            .env("AWS_SHARED_CREDENTIALS_FILE", &credentials)
            .env("AWS_CONFIG_FILE", &config)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    assert!(run(&["doctor", "--profile", "admin"]).contains("countersign-clients in eu-west-3"));
    let region = run(&["doctor", "--profile", "admin", "--region", "eu-west-1"]);
    assert!(region.contains("countersign-clients in eu-west-1"), "{region}");
    let unknown = run(&["client", "list", "--profile", "nobody"]);
    assert!(unknown.contains("profile nobody gives no credentials"), "{unknown}");
}
