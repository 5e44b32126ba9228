//! Requests that a policy allows, and spellings of paths that it refuses.

use countersign_verify::Claims;
use countersign_verify::policy::{Claim, Policy, Refusal, Rule, Segment, UnsafePath};

use super::claims;

const POLICY: &str = r#"
[[rule]] # 2
methods = ["GET"]
path = "/files/secret"
scopes = ["secret:read", "files:read"]

[[rule]] # 7
methods = ["GET"]
path = "/files/{name}"

[[rule]] # 11
methods = ["GET", "PUT"]
path = "/files/{name}/{*rest}"

[[rule]] # 15
methods = ["DELETE", "PATCH"]
path = "/files/{name}"
roles = ["admin", "editor"]

[[rule]] # 20
methods = ["GET"]
path = "/brands/{brandKey}/reports"
scopes = ["reports:read"]
roles = ["reporting"]
equal = { brandKey = "brandKey" }

[[rule]] # 27
methods = ["GET"]
path = "/acting/{user}/{client}/{operator}"
equal = { user = "sub", client = "client_id", operator = "operator" }

[[rule]] # 32
methods = ["GET"]
path = "/"

[[rule]] # 36
methods = ["GET"]
path = "/Docs/Kiosk/"
scopes = ["docs:read"]

[[rule]] # 41
methods = ["GET"]
path = "/{area}/{page}/"
"#;

fn policy() -> Policy {
    Policy::from_toml(POLICY).unwrap()
}

/// Returns the line of the rule that allows the request, or the refusal as text.
fn decide(method: &str, path: &str, claims: &Claims) -> Result<usize, String> {
    policy().decide(method, path, claims).map(Rule::line).map_err(|refusal| refusal.to_string())
}

#[test]
fn a_request_that_a_rule_covers_is_allowed() {
    let no_rights = claims("", &[]);
    for (method, path, claims, line) in [
        ("GET", "/", &no_rights, 32),
        ("GET", "/files/readme", &no_rights, 7),
        ("GET", "/files/README.md", &no_rights, 7),
        ("GET", "/files/secret", &claims("files:read other secret:read", &[]), 2),
        ("GET", "/files/secrets", &no_rights, 7),
        ("GET", "/files/secre", &no_rights, 7),
        ("GET", "/files/%C3%A4%20%F0%9F%93%9E+b%41", &no_rights, 7),
        ("GET", "/files/*", &no_rights, 7),
        ("GET", "/files/...", &no_rights, 7),
        ("GET", "/files/.hidden", &no_rights, 7),
        ("GET", "/files/a/b/C/%64", &no_rights, 11),
        ("GET", "/files/secret/b/", &no_rights, 11),
        ("PUT", "/files/secret/b", &no_rights, 11),
        ("PATCH", "/files/x", &claims("", &["editor"]), 15),
        ("GET", "/brands/acme/reports", &claims("reports:read", &["reporting"]), 20),
        ("GET", "/brands/%61c%6De/reports", &claims("reports:read", &["reporting"]), 20),
        ("GET", "/Docs/Kiosk/", &claims("docs:read", &[]), 36),
        ("GET", "/docs/other/", &no_rights, 41),
    ] {
        assert_eq!(decide(method, path, claims), Ok(line), "{method} {path}");
    }
}

#[test]
fn a_request_that_no_rule_covers_is_refused() {
    let no_rights = claims("", &[]);
    let policy = policy();
    for path in ["/other", "/files", "/file", "/brands/acme/reports/1", "/docs/kiosk/x"] {
        assert_eq!(policy.decide("GET", path, &no_rights), Err(Refusal::NoRuleForPath), "{path}");
    }
    for method in ["HEAD", "OPTIONS", "get", "Get", "GET ", "", "PUT", "ANY", "*"] {
        let refusal = policy.decide(method, "/files/readme", &no_rights).unwrap_err();
        assert_eq!(refusal, Refusal::NoRuleForMethod { methods: vec!["GET", "DELETE", "PATCH"] }, "{method}");
    }
}

#[test]
fn a_refusal_names_the_missing_scopes_roles_and_claims() {
    let policy = policy();
    let files = claims("files:read secret:reader secret", &["secret:read"]);
    let refusal = policy.decide("GET", "/files/secret", &files).unwrap_err();
    assert_eq!(refusal.scope().as_deref(), Some("secret:read files:read"));
    assert_eq!(refusal.rule().map(Rule::line), Some(2));
    assert_eq!(refusal.to_string(), "line 2: the token lacks scope secret:read");

    let refusal = policy.decide("DELETE", "/files/x", &claims("admin", &["admin2"])).unwrap_err();
    assert_eq!(refusal.scope(), None, "another scope would not help");
    assert_eq!(refusal.to_string(), "line 15: the token has none of the roles admin editor");

    let reporting = claims("reports:read", &["reporting"]);
    for brand in ["globex", "ACME", "acm", "acmee", "acme%20", "%C3%A4cme"] {
        let path = format!("/brands/{brand}/reports");
        let refusal = policy.decide("GET", &path, &reporting).unwrap_err();
        let Refusal::ParameterDiffers { rule, parameter, claim } = refusal else {
            panic!("{path}: {refusal}");
        };
        assert_eq!((rule.line(), parameter, claim), (20, "brandKey", Claim::BrandKey), "{path}");
        assert_eq!(refusal.to_string(), "line 20: {brandKey} differs from the token's brandKey");
    }
    let no_brand = Claims { brand_key: None, ..reporting };
    assert!(
        policy.decide("GET", "/brands/acme/reports", &no_brand).is_err(),
        "an absent claim equals nothing"
    );
}

#[test]
fn every_claim_can_be_bound() {
    let operator = Claims { operator: Some("alice.ops".into()), ..claims("", &[]) };
    assert_eq!(decide("GET", "/acting/usr_1/svc/alice.ops", &operator), Ok(27));
    for path in ["/acting/usr_2/svc/alice.ops", "/acting/usr_1/svd/alice.ops", "/acting/usr_1/svc/bob.ops"] {
        assert!(decide("GET", path, &operator).is_err(), "{path}");
    }
    assert!(decide("GET", "/acting/usr_1/svc/alice.ops", &claims("", &[])).is_err());
}

#[test]
fn unsafe_paths_are_refused_whatever_the_rules_are() {
    use UnsafePath::{
        Backslash, BrokenEncoding, ControlCharacter, DotSegment, EmptySegment, EncodedPercent, EncodedSlash,
        LooksLikeAscii, NotAbsolute, NotUtf8, QueryOrFragment, Semicolon, TooLong,
    };
    let everything = claims("secret:read files:read docs:read reports:read", &["admin", "reporting"]);
    let (long, longest) = (format!("/files/{}", "x".repeat(8186)), format!("/files/{}", "x".repeat(8185)));
    let table: &[(&str, UnsafePath)] = &[
        ("", NotAbsolute),
        ("files/readme", NotAbsolute),
        ("*", NotAbsolute),
        ("https://api.example.com/files/readme", NotAbsolute),
        ("%2Ffiles/readme", NotAbsolute),
        (&long, TooLong),
        ("//", EmptySegment),
        ("//files/readme", EmptySegment),
        ("/files//readme", EmptySegment),
        ("/files/readme//", EmptySegment),
        ("/files/.", DotSegment),
        ("/files/..", DotSegment),
        ("/./files/readme", DotSegment),
        ("/files/x/../secret", DotSegment),
        ("/files/%2e/secret", DotSegment),
        ("/files/x/%2e%2E/secret", DotSegment),
        ("/files/x/.%2E/secret", DotSegment),
        ("/files/x/%2e./secret", DotSegment),
        ("/files/../", DotSegment),
        ("/files%2Fsecret", EncodedSlash),
        ("/files/x%2f..%2fsecret", EncodedSlash),
        ("/files\\secret", Backslash),
        ("/files/x%5Csecret", Backslash),
        ("/files/x/..%5csecret", Backslash),
        ("/files/secret;v=1", Semicolon),
        ("/files;/secret", Semicolon),
        ("/files/x/..;/secret", Semicolon),
        ("/files/secret%3Bjsessionid=1", Semicolon),
        ("/files/secret?x", QueryOrFragment),
        ("/files/secret%3fx", QueryOrFragment),
        ("/files/secret#x", QueryOrFragment),
        ("/files/secret%23", QueryOrFragment),
        ("/files/secret%00", ControlCharacter),
        ("/files/secret\0.png", ControlCharacter),
        ("/files/%09secret", ControlCharacter),
        ("/files/secret%0d%0aX:1", ControlCharacter),
        ("/files/secret\n", ControlCharacter),
        ("/files/secret%7F", ControlCharacter),
        ("/files/secret%C2%85", ControlCharacter),
        ("/files/%2573ecret", EncodedPercent),
        ("/files/x/%252e%252e/secret", EncodedPercent),
        ("/files/100%25", EncodedPercent),
        ("/files/%", BrokenEncoding),
        ("/files/%7", BrokenEncoding),
        ("/files/%zz", BrokenEncoding),
        ("/files/%u0073ecret", BrokenEncoding),
        ("/files/%+1", BrokenEncoding),
        ("/files/%7ä", BrokenEncoding),
        ("/files/%c0%ae%c0%ae/secret", NotUtf8),
        ("/files%c0%afsecret", NotUtf8),
        ("/files/%ff", NotUtf8),
        ("/files/%C3", NotUtf8),
        ("/files/%ED%A0%80", NotUtf8),
        ("/files/x/\u{ff0e}\u{ff0e}/secret", LooksLikeAscii),
        ("/files%EF%BC%8Fsecret", LooksLikeAscii),
        ("/files/%EF%BD%93ecret", LooksLikeAscii),
        ("/files/x/\u{2025}/secret", LooksLikeAscii),
        ("/files\u{2215}secret", LooksLikeAscii),
        ("/files/secret\u{37e}x", LooksLikeAscii),
    ];
    let policy = policy();
    for (path, reason) in table {
        for method in ["GET", "PUT", "NONE"] {
            let refusal = policy.decide(method, path, &everything);
            assert_eq!(refusal, Err(Refusal::UnsafePath(*reason)), "{method} {path:?}");
        }
    }
    assert_eq!(policy.decide("GET", &longest, &everything).map(Rule::line), Ok(7));
}

#[test]
fn a_path_that_a_server_could_read_as_the_path_of_another_rule_is_refused() {
    let no_rights = claims("", &[]);
    let everything = claims("secret:read files:read docs:read", &[]);
    let policy = policy();
    for (path, as_sent, lenient) in [
        ("/files/%73ecret", Some(7), Some(2)),
        ("/files/secre%74", Some(7), Some(2)),
        ("/files/%53ecret", Some(7), Some(2)),
        ("/files/Secret", Some(7), Some(2)),
        ("/files/SECRET", Some(7), Some(2)),
        ("/files/\u{17f}ecret", Some(7), Some(2)),
        ("/files/%C5%BFecret", Some(7), Some(2)),
        ("/files/secret/", Some(41), Some(2)),
        ("/Files/secret/", Some(41), Some(2)),
        ("/Files/secret", None, Some(2)),
        ("/%66iles/readme", None, Some(7)),
        ("/files/readme/", Some(41), Some(7)),
        ("/docs/kiosk", None, Some(36)),
        ("/docs/kiosk/", Some(41), Some(36)),
        ("/Docs/Kiosk", None, Some(36)),
        ("/Docs/\u{212a}iosk/", Some(41), Some(36)),
        ("/docs/k\u{131}osk/", Some(41), Some(36)),
        ("/docs/k%C4%B0osk/", Some(41), Some(36)),
        ("/brands/acme/Reports", None, Some(20)),
        ("/brands/acme/reports/", None, Some(20)),
    ] {
        for claims in [&no_rights, &everything] {
            let Err(Refusal::AmbiguousPath { as_sent: one, lenient: other }) =
                policy.decide("GET", path, claims)
            else {
                panic!("{path}: {:?}", policy.decide("GET", path, claims));
            };
            assert_eq!((one.map(Rule::line), other.map(Rule::line)), (as_sent, lenient), "{path}");
        }
    }
    let refusal = policy.decide("GET", "/files/Secret", &no_rights).unwrap_err();
    assert_eq!(refusal.scope(), None);
    for said in ["/files/{name} (line 7)", "/files/secret (line 2)"] {
        assert!(refusal.to_string().contains(said), "{refusal}");
    }
}

#[test]
fn a_rule_exposes_its_requests_and_its_conditions() {
    let policy = policy();
    let lines: Vec<usize> = policy.rules().iter().map(Rule::line).collect();
    assert_eq!(lines, [2, 7, 11, 15, 20, 27, 32, 36, 41]);
    let reports = &policy.rules()[4];
    assert_eq!((reports.path(), reports.methods()), ("/brands/{brandKey}/reports", &["GET".to_owned()][..]));
    assert_eq!(
        reports.segments(),
        [
            Segment::Literal("brands".into()),
            Segment::Parameter { name: "brandKey".into(), equal: Some(Claim::BrandKey) },
            Segment::Literal("reports".into()),
        ]
    );
    assert_eq!(reports.equal().collect::<Vec<_>>(), [("brandKey", Claim::BrandKey)]);
    let rest = Segment::CatchAll { name: "rest".into() };
    assert_eq!(policy.rules()[2].segments().last(), Some(&rest));
    assert_eq!(policy.rules()[6].segments(), [Segment::Literal(String::new())]);
    assert_eq!(policy.rules()[7].segments().last(), Some(&Segment::Literal(String::new())));

    assert!(reports.permits(&claims("reports:read", &["reporting"])));
    assert!(!reports.permits(&claims("reports:read", &["other"])));
    assert!(!reports.permits(&claims("other", &["reporting"])));
    assert!(policy.rules()[1].permits(&claims("", &[])));
}
