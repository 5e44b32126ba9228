//! `countersign token verify`: what it takes, and what it says of what it refuses.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use countersign_tests::{CLIENT_CREDENTIALS, JANE, TestIssuer};
use countersign_verify::Clock;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::shell::Shell;

const AUDIENCE: &str = "https://api.example.com";

struct Fixture {
    issuer: TestIssuer,
    folder: TempDir,
    token: String,
}

impl Fixture {
    async fn new() -> Self {
        // The program uses the machine's clock.
        let issuer = TestIssuer::start_at(Clock::system().now()).await;
        let token = issuer
            .token("demo-service", CLIENT_CREDENTIALS, &[("operator", "alice.ops"), ("brandKey", "acme")])
            .await;
        let fixture = Self { token: token.access_token(), issuer, folder: TempDir::new().unwrap() };
        let jwks = fixture.issuer.get("/.well-known/jwks.json", &[]).await.text;
        fixture.save("jwks.json", jwks.as_bytes());
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn save(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn shell(&self) -> Shell<'_> {
        Shell { issuer: &self.issuer }
    }

    fn verify(&self, jwks: &str, more: &str) -> String {
        format!("token verify --jwks {}{more}", self.path(jwks).display())
    }

    #[track_caller]
    fn refused(&self, more: &str, token: &str) -> String {
        let error = self.shell().refused(&self.verify("jwks.json", more), token);
        assert!(
            !token.is_empty() && (token.len() < 20 || !error.contains(token)),
            "it repeats the token: {error}"
        );
        error
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_values_of_what_differs_are_shown() {
    let fixture = Fixture::new().await;
    let (url, token) = (fixture.issuer.url.clone(), fixture.token.as_str());
    let slash = fixture.refused(&format!(" --issuer {url}/"), token);
    for part in [
        "iss is another issuer",
        &format!("iss   token     {url}\n"),
        &format!("expected  {url}/\n"),
        "they differ in the slash at the end alone",
    ] {
        assert!(slash.contains(part), "{part} in {slash}");
    }
    let audience = fixture.refused(" --audience https://API.example.com", token);
    for part in [
        "aud is another audience",
        &format!("aud   token     {AUDIENCE}\n"),
        "expected  https://API.example.com\n",
        "upper and lower case",
    ] {
        assert!(audience.contains(part), "{part} in {audience}");
    }
    // An unknown key is named first, and everything else too.
    let other = TestIssuer::start_at(Clock::system().now()).await;
    fixture.save("jwks.json", other.get("/.well-known/jwks.json", &[]).await.text.as_bytes());
    let refused =
        fixture.refused(" --issuer https://prod.example.com --audience https://x.example.com", token);
    let header: Value =
        serde_json::from_slice(&BASE64URL.decode(token.split('.').next().unwrap()).unwrap()).unwrap();
    for part in [
        "no key in the set has this kid",
        &format!("kid   token     {}", header["kid"].as_str().unwrap()),
        &format!("iss   token     {url}\n"),
        "expected  https://prod.example.com\n",
        &format!("aud   token     {AUDIENCE}\n"),
        "Save the JWKS again",
    ] {
        assert!(refused.contains(part), "{part} in {refused}");
    }

    let output = fixture
        .shell()
        .run(&format!("--json {}", fixture.verify("jwks.json", &format!(" --issuer {url}/"))), token);
    assert_eq!(output.status.code(), Some(1));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["valid"], false);
    let difference =
        result["differences"].as_array().unwrap().iter().find(|one| one["name"] == "iss").unwrap();
    assert_eq!((&difference["token"], &difference["expected"]), (&json!(url), &json!(format!("{url}/"))));
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["code"], "invalid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_taken_from_whatever_stands_around_it() {
    let fixture = Fixture::new().await;
    let token = &fixture.token;
    let utf16: Vec<u8> = format!("\u{feff}{token}\r\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    for text in [
        format!("Bearer {token}\n"),
        format!("bearer {token}"),
        format!("Authorization: Bearer {token}\r\n"),
        format!("\"{token}\"\n"),
        format!("'Bearer {token}'"),
        format!("\n\n  {token}\r\n\r\n"),
        format!("\u{feff}{token}"),
        format!("{}\n{}", &token[..64], &token[64..]),
    ] {
        assert_eq!(fixture.shell().ok(&fixture.verify("jwks.json", ""), &text)["valid"], true, "{text}");
    }
    // The shell of the tests passes text; a file has bytes.
    fixture.save("token", &utf16);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["token", "verify", "--json", "--issuer", &fixture.issuer.url, "--jwks"])
        .arg(fixture.path("jwks.json"))
        .stdin(std::fs::File::open(fixture.path("token")).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_access_token_is_named() {
    let fixture = Fixture::new().await;
    let login = fixture.issuer.token("demo-app", JANE, &[]).await.json();
    let jwt = |header: &Value, claims: &Value| {
        format!("{}.{}.AAAA", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims.to_string()))
    };
    let id_token = jwt(
        &json!({ "alg": "RS256", "typ": "JWT", "kid": "k" }),
        &json!({ "iss": "https://login.example.com", "sub": "x", "aud": "app", "nonce": "n", "exp": 1 }),
    );
    let refused = fixture.refused("", &id_token);
    for part in
        ["ID token", "alg   token     RS256", "expected  ES256", "iss   token     https://login.example.com"]
    {
        assert!(refused.contains(part), "{part} in {refused}");
    }
    let assertion = jwt(&json!({ "alg": "ES256" }), &json!({ "iss": "billing", "sub": "billing" }));
    let keycloak = jwt(&json!({ "alg": "HS512", "typ": "JWT" }), &json!({ "typ": "Refresh" }));
    for (token, named) in [
        (login["refresh_token"].as_str().unwrap(), "this is a refresh token"),
        (&keycloak, "this is a refresh token"),
        (&assertion, "client assertion"),
        ("2YotnFZFEjr1zCsicMWpAA", "opaque token"),
        ("-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----", "private key"),
        ("a.b.c.d.e", "encrypted token"),
        (r#"{"keys":[{"kty":"EC"}]}"#, "JWKS"),
        ("<html><body>502 Bad Gateway</body></html>", "HTML"),
        ("Basic ZGVtbzpzZWNyZXQ=", "Basic credentials"),
    ] {
        let refused = fixture.refused("", token);
        assert!(refused.contains(named), "{named} in {refused}");
    }
    let expired = jwt(
        &json!({ "alg": "ES256", "typ": "at+jwt", "kid": "k" }),
        &json!({ "iss": "i", "exp": 1_000_040_000 }),
    );
    assert!(fixture.refused("", &expired).contains("exp   token     2001-09-09 "), "the local time");
    for line in ["token inspect", "policy explain ../functions/authorizer/policy.toml GET / --token -"] {
        let refused = fixture.shell().refused(line, login["refresh_token"].as_str().unwrap());
        assert!(refused.contains("this is a refresh token"), "{line}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_set_is_read_in_every_encoding_and_everything_else_is_named() {
    let fixture = Fixture::new().await;
    let jwks = std::fs::read_to_string(fixture.path("jwks.json")).unwrap();
    let utf16 = |unit: fn(u16) -> [u8; 2]| jwks.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
    for (name, bytes) in [
        ("bom", [&[0xef, 0xbb, 0xbf], jwks.as_bytes()].concat()),
        ("utf-16le", [&[0xff, 0xfe][..], &utf16(u16::to_le_bytes)].concat()),
        ("utf-16be", [&[0xfe, 0xff][..], &utf16(u16::to_be_bytes)].concat()),
        ("utf-16le-without-bom", utf16(u16::to_le_bytes)),
    ] {
        fixture.save(name, &bytes);
        let verified = fixture.shell().ok(&fixture.verify(name, ""), &fixture.token);
        assert_eq!(verified["valid"], true, "{name}");
    }
    let mut private: Value = serde_json::from_str(&jwks).unwrap();
    private["keys"][0]["d"] = json!("c2VjcmV0LXNjYWxhcg");
    let url = &fixture.issuer.url;
    let metadata = fixture.issuer.get("/.well-known/oauth-authorization-server", &[]).await.text;
    let one: Value = serde_json::from_str::<Value>(&jwks).unwrap()["keys"][0].clone();
    for (content, named) in [
        ("", "the file is empty"),
        ("<!doctype html><title>Not found</title>", "HTML"),
        ("-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----\n", "this is a private key"),
        ("-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n", "PEM"),
        (&private.to_string(), "private or symmetric key"),
        (&one.to_string(), "one JWK"),
        (&metadata, &format!("its JWKS is at {url}/.well-known/jwks.json")),
        (&fixture.token, "this is a token"),
        (r#"{"access_token":"x"}"#, "token response"),
        (r#"{"keys":[]}"#, "no keys"),
        (r#"{"keys":[{"kty":"RSA","alg":"RS256","kid":"k"}]}"#, "it has RSA RS256"),
        ("HTTP/1.1 200 OK\r\n\r\n{}", "without curl's -i"),
        ("[1]", "no JWKS"),
        ("keys: none", "not JSON"),
    ] {
        fixture.save("other", content.as_bytes());
        let refused = fixture.shell().refused(&fixture.verify("other", ""), &fixture.token);
        assert!(refused.contains(named), "{named} in {refused}");
        assert!(refused.contains("Save the JWKS: curl ") && !refused.contains("c2VjcmV0"), "{refused}");
    }
    fixture.save("binary", b"\x1f\x8b\x08\x00\x00");
    assert!(fixture.shell().refused(&fixture.verify("binary", ""), &fixture.token).contains("not text"));
    let refused =
        fixture.shell().refused(&format!("token verify --jwks {url}/.well-known/jwks.json"), &fixture.token);
    assert!(
        refused.contains("a file and not a URL") && refused.contains(&format!("curl {url}/")),
        "{refused}"
    );
}
