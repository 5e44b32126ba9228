//! API Gateway's events, through the code that the function binaries run. `cargo lambda invoke`
//! sends the same files.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_issuer::audit::AuditLog;
use countersign_issuer::http;
use countersign_issuer::issuer::{Issuer, Publisher};
use countersign_issuer::random::Random;
use countersign_issuer::store::dynamodb;
use countersign_lambda::{Context, Guard};
use countersign_tests::TestIssuer;
use countersign_verify::Clock;
use serde_json::Value;

fn event_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    // The scheduled event of the rotate function is not a request, and the authorizer's events are
    // for no HTTP endpoint.
    let is_request = |file: &PathBuf| {
        fs::read_to_string(file).is_ok_and(|text| text.contains("rawPath") && !text.contains("routeArn"))
    };
    let is_json = |file: &PathBuf| file.extension().is_some_and(|end| end == "json");
    let mut files: Vec<PathBuf> = files.filter(is_json).filter(is_request).collect();
    files.sort();
    files
}

/// Reads an event and replaces the placeholders in its body with live tokens.
fn event(file: &Path, refresh_token: &str, access_token: &str) -> Value {
    let mut event: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let is_base64 = event["isBase64Encoded"] == true;
    if let Some(body) = event["body"].as_str() {
        let text = if is_base64 {
            String::from_utf8(BASE64.decode(body).unwrap()).unwrap()
        } else {
            body.to_owned()
        };
        let text = text.replace("REFRESH_TOKEN", refresh_token).replace("ACCESS_TOKEN", access_token);
        event["body"] = if is_base64 { BASE64.encode(text).into() } else { text.into() };
    }
    event
}

/// The functions, set up from the `env` file as in their `main`.
struct Functions {
    issuer: Issuer,
    publisher: Publisher,
}

impl Functions {
    fn new(issuer: &TestIssuer) -> Self {
        let clock = issuer.clock.clock();
        let (config, envelope) = issuer.config();
        let db = dynamodb(&config.store.aws);
        let publisher = Publisher::new(&config, &db, clock.clone(), AuditLog::tracing());
        Self {
            issuer: Issuer::new(&config, &db, envelope, clock, Random::system(), AuditLog::tracing()),
            publisher,
        }
    }

    /// The answer to an event: its status and its body.
    async fn answer(&self, event: &Value) -> (u64, String) {
        let answer = self.whole_answer(event).await;
        (answer["statusCode"].as_u64().unwrap(), answer["body"].as_str().unwrap_or_default().to_owned())
    }

    async fn whole_answer(&self, event: &Value) -> Value {
        let endpoint = async |request: http::Request| match event["routeKey"].as_str().unwrap() {
            "POST /oauth/token" => http::token(&self.issuer, request).await,
            route if route.contains("/oauth/") => http::refresh_function(&self.issuer, request).await,
            _ => http::jwks_function(&self.publisher, request).await,
        };
        let guard = Guard::new(endpoint, Clock::system(), AuditLog::tracing());
        serde_json::to_value(guard.respond(&event.to_string(), Context::default()).await).unwrap()
    }
}

#[tokio::test]
async fn every_event_is_answered_in_text_and_in_base64() {
    let issuer = TestIssuer::start().await;
    let functions = Functions::new(&issuer);
    let files = event_files();
    assert!(files.len() >= 19, "{files:?}");
    for file in files {
        let (_, login) = functions.answer(&event(&file.with_file_name("token-password.json"), "", "")).await;
        let login: Value = serde_json::from_str(&login).unwrap();
        let token = |name: &str| login[name].as_str().unwrap().to_owned();
        let event = event(&file, &token("refresh_token"), &token("access_token"));
        let (status, body) = functions.answer(&event).await;
        assert_eq!(status, 200, "{}: {body}", file.display());

        let name = file.file_stem().unwrap().to_str().unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        match name.trim_end_matches("-base64") {
            "revoke" => assert_eq!(body, serde_json::json!({})),
            "introspect" => assert_eq!(body["active"], true),
            "jwks" => assert!(body["keys"][0]["kid"].is_string()),
            "oauth-authorization-server" | "openid-configuration" => assert_eq!(body["issuer"], issuer.url),
            _ => {
                issuer.verify_token(body["access_token"].as_str().unwrap()).await;
            }
        }
    }
}

#[tokio::test]
async fn a_stage_before_the_path_is_dropped_and_a_repeated_header_is_refused() {
    let issuer = TestIssuer::start().await;
    let functions = Functions::new(&issuer);
    let file = event_files().into_iter().find(|file| file.ends_with("refresh.json")).unwrap();
    let mut staged = event(&file, "garbage", "");
    staged["rawPath"] = "/prod/oauth/refresh".into();
    staged["requestContext"]["stage"] = "prod".into();
    let (_, body) = functions.answer(&staged).await;
    assert!(body.contains("invalid_grant"), "{body}");

    let mut repeated = event(&file, "garbage", "");
    let header = repeated["headers"]["authorization"].as_str().unwrap().to_owned();
    repeated["headers"]["authorization"] = format!("{header},{header}").into();
    let (_, body) = functions.answer(&repeated).await;
    assert!(body.contains("invalid_request"), "{body}");
}

/// RFC 9110 section 8.6, through the event: a gateway has only this header to learn the length from.
#[tokio::test]
async fn a_head_request_gets_the_headers_of_get_with_its_length() {
    let issuer = TestIssuer::start().await;
    let functions = Functions::new(&issuer);
    for name in ["jwks.json", "oauth-authorization-server.json", "openid-configuration.json"] {
        let file = event_files().into_iter().find(|file| file.ends_with(name)).unwrap();
        let get = event(&file, "", "");
        let mut head = get.clone();
        head["requestContext"]["http"]["method"] = "HEAD".into();
        let (get, mut head) = (functions.whole_answer(&get).await, functions.whole_answer(&head).await);
        let length = get["body"].as_str().unwrap().len().to_string();
        let headers = head["headers"].as_object_mut().unwrap();
        assert_eq!(headers.remove("content-length"), Some(length.into()), "{name}");
        assert_eq!((&head["statusCode"], &head["headers"]), (&200.into(), &get["headers"]), "{name}");
        assert_eq!(head["body"].as_str().unwrap_or_default(), "", "{name}");
        assert_eq!(head["headers"]["access-control-allow-origin"], "*");
    }
}

#[tokio::test]
async fn the_charset_and_a_content_coding_of_an_event_are_read() {
    let issuer = TestIssuer::start().await;
    let functions = Functions::new(&issuer);
    for file in event_files().iter().filter(|file| file.ends_with("token-client-credentials-base64.json")) {
        let mut sent = event(file, "", "");
        sent["headers"]["content-type"] = "application/x-www-form-urlencoded; charset=US-ASCII".into();
        assert_eq!(functions.answer(&sent).await.0, 200);
        sent["headers"]["content-encoding"] = "gzip".into();
        assert_eq!(functions.answer(&sent).await.0, 415);
    }
}
