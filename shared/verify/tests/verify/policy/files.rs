//! Files that are not a valid policy: every problem has its line and its remedy.

use countersign_verify::policy::{Policy, PolicyError};

fn load_error(text: &str) -> PolicyError {
    Policy::from_toml(text).unwrap_err()
}

/// Returns a rule with this path on line 3.
fn rule_for_path(path: &str) -> String {
    format!("[[rule]]\nmethods = [\"GET\"]\npath = '''{path}'''\n")
}

#[test]
fn every_problem_is_reported_with_its_line() {
    let error = load_error(
        r#"# The policy of the reports.
[[rule]]
methods = []
path = "reports"

[[rule]]
methods = [
    "GET",
    "get",
    "GET",
    "G ET",
    "ANY",
]
path = "/a//b/./{x/{*y}/c"
scopes = []
roles = ["ok", "a b", "ok", ""]

[[rule]]
methods = ["GET"]
path = "/brands/{brandKey}/{*rest}"
scopes = ['a"b', "ok", "ok"]
equal = { brand = "brandKey", brandKey = "brand_key", rest = "sub" }
"#,
    );
    let lines: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
    let expected = [
        (3, "methods is empty: add at least one"),
        (4, "path \"reports\" does not start with '/': write \"/reports\""),
        (9, "method \"get\" is not in upper case: write \"GET\""),
        (10, "method \"GET\" is there twice: remove one"),
        (11, "method \"G ET\" is malformed: use A-Z and '-'"),
        (12, "method \"ANY\": no name stands for all methods"),
        (14, "an empty segment"),
        (14, "the segment \".\""),
        (14, "\"{x\" is not a parameter: write {name}"),
        (14, "{*y} must be the last segment: use {y} here"),
        (15, "scopes is empty: add at least one, or leave scopes out"),
        (16, "roles: \"a b\" is not valid: use 1 to 64 printable"),
        (16, "roles: \"ok\" is there twice: remove one"),
        (16, "roles: \"\" is not valid"),
        (21, "scopes: \"a\\\"b\" is not valid: use printable"),
        (21, "scopes: \"ok\" is there twice"),
        (22, "equal: the path has no parameter {brand}"),
        (
            22,
            "equal: \"brand_key\" is not a claim that can be compared: use one of sub, client_id, operator, brandKey",
        ),
        (22, "equal: {*rest} may match several segments and cannot equal a claim: use {rest}"),
    ];
    assert_eq!(lines.len(), expected.len(), "{error}");
    for ((line, message), said) in expected.iter().zip(&lines) {
        assert!(said.starts_with(&format!("line {line}: ")) && said.contains(message), "{message} in {said}");
    }
    assert_eq!(error.problems()[0].line(), 3);
    assert!(error.problems()[0].message().contains("methods is empty"));
}

#[test]
fn a_file_without_rules_or_with_anything_else_is_an_error() {
    for empty in ["", "\n# nothing yet\n", "rule = []\n"] {
        let error = load_error(empty);
        assert!(error.to_string().starts_with("line 1: there are no rules"), "{error}");
    }
    for (text, line, said) in [
        ("\n[rule]\nmethods = [\"GET\"]\npath = \"/\"\n", 2, "begin each rule with [[rule]]"),
        ("version = 1\n[[rule]]\nmethods = [\"GET\"]\npath = \"/\"\n", 1, "unknown \"version\""),
        ("[[rules]]\nmethods = [\"GET\"]\npath = \"/\"\n", 1, "unknown \"rules\""),
        ("[[rule]]\nmethods = [\"GET\"]\npath = \"/\"\nscope = [\"a\"]\n", 4, "unknown field `scope`"),
        ("[[rule]]\n\nmethods = [\"GET\"]\n", 1, "missing field `path`"),
        ("[[rule]]\npath = \"/\"\n", 1, "missing field `methods`"),
        ("[[rule]]\nmethods = \"GET\"\npath = \"/\"\n", 2, "expected a sequence"),
        ("[[rule]]\nmethods = [\"GET\"]\npath = [\"/\"]\n", 3, "expected a string"),
        ("[[rule]]\nmethods = [\"GET\"]\npath = \"/{a}\"\n[rule.equal]\na = 1\n", 5, "expected a string"),
        ("[[rule]]\nmethods = [\"GET\"]\npath = \"/\"\npath = \"/a\"\n", 4, "duplicate key"),
        ("[[rule]]\nmethods = [\"GET\"\npath = \"/\"\n", 3, ""),
        ("[[rule]]\r\nmethods = [\"GET\"]\r\npath = /\r\n", 3, ""),
        ("rule = [1]\n", 1, "invalid type"),
    ] {
        let error = load_error(text);
        assert!(error.problems().iter().any(|one| one.line() == line), "line {line} in {error}\n{text}");
        assert!(error.to_string().contains(said), "{said} in {error}");
    }
    let two = load_error("[[rule]]\nmethods = GET\npath = \"/\"\n[[rule]]\npath = nowhere\n");
    assert_eq!(
        two.problems().iter().map(countersign_verify::policy::Problem::line).collect::<Vec<_>>(),
        [2, 5]
    );
}

#[test]
fn patterns_that_no_request_can_match_or_that_mislead_are_errors() {
    for (path, said) in [
        ("", "does not start with '/'"),
        ("*", "does not start with '/'"),
        ("/files/*", "'*' is not a wildcard"),
        ("/files/:id", "write {name} for a parameter"),
        ("/files/%73ecret", "write the character itself"),
        ("/files;v=1", "leave it out"),
        ("/files\\x", "leave it out"),
        ("/files?x=1", "the query is not part of the path"),
        ("/files#x", "the query is not part of the path"),
        ("/über", "use a parameter for other characters"),
        ("/a b", "use a parameter for other characters"),
        ("/a\u{7f}b", ""),
        ("//", "an empty segment"),
        ("/a//", "an empty segment"),
        ("/..", "the segment \"..\""),
        ("/a/./b", "the segment \".\""),
        ("/v{version}", "is not a parameter"),
        ("/{a}-{b}", "is not a parameter"),
        ("/{a}.json", "is not a parameter"),
        ("/{}", "is not a parameter"),
        ("/{*}", "is not a parameter"),
        ("/{proxy+}", "is not a parameter"),
        ("/{{a}}", "is not a parameter"),
        ("/a}", "is not a parameter"),
        ("/{a b}", "is not a parameter"),
        ("/{*rest}/x", "must be the last segment"),
        ("/{*rest}/", "must be the last segment"),
        ("/{a}/{a}", "is there twice"),
        ("/{a}/{*a}", "is there twice"),
        (&(0..21).map(|n| format!("/{{p{n}}}")).collect::<String>(), "more than 20 parameters"),
        (&format!("/{}", "x".repeat(1024)), "longer than 1024"),
    ] {
        let error = load_error(&rule_for_path(path));
        assert!(error.to_string().contains(said), "{said} in {error}");
    }
    for path in
        ["/", "/a/", "/a.b/c-d_e~f", "/v1/things:batch", "/(x)/a,b/$&'+=@!", "/{a-b}/{C_1}/{*rest}", "/..."]
    {
        assert!(Policy::from_toml(&rule_for_path(path)).is_ok(), "{path}");
    }
}

#[test]
fn conflicting_rules_are_reported_with_both_lines() {
    for (one, other, said) in [
        ("/files/secret", "/Files/Secret", "differs from /files/secret on line 3 only in case"),
        ("/files/secret", "/files/secret/", "differs from /files/secret on line 3 only in"),
        ("/files/{a}", "/files/{b}", "a parameter's name"),
        ("/files/{a}/x", "/files/{b}/X/", "differs from /files/{a}/x on line 3"),
        ("/{*a}", "/{*b}", "differs from /{*a} on line 3"),
        ("/files/{a}", "/files/{*rest}", "conflicts with /files/{a} on line 3"),
        ("/files/{*rest}", "/files/{a}/x", "conflicts with /files/{*rest} on line 3"),
        ("/Files/{a}/x", "/files/{*rest}", "conflicts with /Files/{a}/x on line 3"),
    ] {
        // An unrelated rule before the two.
        let text = [rule_for_path("/unrelated"), rule_for_path(one), rule_for_path(other)].concat();
        let error = load_error(&text);
        let said = said.replace("line 3", "line 4");
        assert_eq!(error.problems().len(), 1, "{error}");
        assert!(error.to_string().starts_with("line 9: "), "{error}");
        assert!(error.to_string().contains(&said), "{said} in {error}");
    }
    let twice = "[[rule]]\nmethods = [\"GET\", \"PUT\"]\npath = \"/a\"\n\n\
                 [[rule]]\nmethods = [\"POST\",\n\"PUT\"]\npath = \"/a\"\n";
    assert_eq!(
        load_error(twice).to_string(),
        "line 7: PUT /a already has a rule on line 1: put all conditions into one of the two"
    );
    let others =
        "[[rule]]\nmethods = [\"GET\"]\npath = \"/a\"\n[[rule]]\nmethods = [\"PUT\"]\npath = \"/a\"\n";
    assert!(Policy::from_toml(others).is_ok());
}
