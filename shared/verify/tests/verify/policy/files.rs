//! Files that are no policy: every problem with its line and its remedy.

use countersign_verify::policy::{Policy, PolicyError};

fn refused(text: &str) -> PolicyError {
    Policy::from_toml(text).unwrap_err()
}

/// A rule for this path, on line 3.
fn for_path(path: &str) -> String {
    format!("[[rule]]\nmethods = [\"GET\"]\npath = '''{path}'''\n")
}

#[test]
fn every_problem_is_named_with_its_line() {
    let error = refused(
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
        (3, "methods is empty"),
        (4, "path \"reports\" does not start with '/': write \"/reports\""),
        (9, "method \"get\" is not in upper case: write \"GET\""),
        (10, "method \"GET\" is given twice"),
        (11, "method \"G ET\" is malformed"),
        (12, "method \"ANY\": there is no name for all methods"),
        (14, "an empty segment"),
        (14, "the segment \".\""),
        (14, "\"{x\" is no parameter: write {name}"),
        (14, "{*y} must be the last segment: use {y} here"),
        (15, "scopes is empty: name at least one, or leave scopes out"),
        (16, "roles: \"a b\" cannot be one"),
        (16, "roles: \"ok\" is given twice"),
        (16, "roles: \"\" cannot be one"),
        (21, "scopes: \"a\\\"b\" cannot be one"),
        (21, "scopes: \"ok\" is given twice"),
        (22, "equal: the path has no parameter {brand}"),
        (
            22,
            "equal: \"brand_key\" is no claim that can be compared; there are sub, client_id, operator, brandKey",
        ),
        (22, "equal: {*rest} may be several segments and cannot equal a claim: use {rest}"),
    ];
    assert_eq!(lines.len(), expected.len(), "{error}");
    for ((line, message), said) in expected.iter().zip(&lines) {
        assert!(said.starts_with(&format!("line {line}: ")) && said.contains(message), "{message} in {said}");
    }
    assert_eq!(error.problems()[0].line(), 3);
    assert!(error.problems()[0].message().contains("methods is empty"));
}

#[test]
fn a_file_without_rules_or_with_more_than_rules_is_refused() {
    for empty in ["", "\n# nothing yet\n", "rule = []\n"] {
        let error = refused(empty);
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
        let error = refused(text);
        assert!(error.problems().iter().any(|one| one.line() == line), "line {line} in {error}\n{text}");
        assert!(error.to_string().contains(said), "{said} in {error}");
    }
    let two = refused("[[rule]]\nmethods = GET\npath = \"/\"\n[[rule]]\npath = nowhere\n");
    assert_eq!(
        two.problems().iter().map(countersign_verify::policy::Problem::line).collect::<Vec<_>>(),
        [2, 5]
    );
}

#[test]
fn patterns_that_no_request_could_reach_or_that_mean_something_else_are_refused() {
    for (path, said) in [
        ("", "does not start with '/'"),
        ("*", "does not start with '/'"),
        ("/files/*", "'*' stands for nothing"),
        ("/files/:id", "write {name} for a parameter"),
        ("/files/%73ecret", "write the character itself"),
        ("/files;v=1", "leave it out"),
        ("/files\\x", "leave it out"),
        ("/files?x=1", "the query is no part of the path"),
        ("/files#x", "the query is no part of the path"),
        ("/über", "use a parameter for other characters"),
        ("/a b", "use a parameter for other characters"),
        ("/a\u{7f}b", ""),
        ("//", "an empty segment"),
        ("/a//", "an empty segment"),
        ("/..", "the segment \"..\""),
        ("/a/./b", "the segment \".\""),
        ("/v{version}", "is no parameter"),
        ("/{a}-{b}", "is no parameter"),
        ("/{a}.json", "is no parameter"),
        ("/{}", "is no parameter"),
        ("/{*}", "is no parameter"),
        ("/{proxy+}", "is no parameter"),
        ("/{{a}}", "is no parameter"),
        ("/a}", "is no parameter"),
        ("/{a b}", "is no parameter"),
        ("/{*rest}/x", "must be the last segment"),
        ("/{*rest}/", "must be the last segment"),
        ("/{a}/{a}", "stands there twice"),
        ("/{a}/{*a}", "stands there twice"),
        (&(0..21).map(|n| format!("/{{p{n}}}")).collect::<String>(), "more than 20 parameters"),
        (&format!("/{}", "x".repeat(1024)), "longer than 1024"),
    ] {
        let error = refused(&for_path(path));
        assert!(error.to_string().contains(said), "{said} in {error}");
    }
    for path in
        ["/", "/a/", "/a.b/c-d_e~f", "/v1/things:batch", "/(x)/a,b/$&'+=@!", "/{a-b}/{C_1}/{*rest}", "/..."]
    {
        assert!(Policy::from_toml(&for_path(path)).is_ok(), "{path}");
    }
}

#[test]
fn rules_that_cannot_stand_beside_each_other_name_both_lines() {
    for (one, other, said) in [
        ("/files/secret", "/Files/Secret", "differs from /files/secret on line 3 in nothing but case"),
        ("/files/secret", "/files/secret/", "differs from /files/secret on line 3 in nothing but"),
        ("/files/{a}", "/files/{b}", "a parameter's name"),
        ("/files/{a}/x", "/files/{b}/X/", "differs from /files/{a}/x on line 3"),
        ("/{*a}", "/{*b}", "differs from /{*a} on line 3"),
        ("/files/{a}", "/files/{*rest}", "conflicts with /files/{a} on line 3"),
        ("/files/{*rest}", "/files/{a}/x", "conflicts with /files/{*rest} on line 3"),
        ("/Files/{a}/x", "/files/{*rest}", "conflicts with /Files/{a}/x on line 3"),
    ] {
        // A rule between the two that has nothing to do with them.
        let text = [for_path("/unrelated"), for_path(one), for_path(other)].concat();
        let error = refused(&text);
        let said = said.replace("line 3", "line 4");
        assert_eq!(error.problems().len(), 1, "{error}");
        assert!(error.to_string().starts_with("line 9: "), "{error}");
        assert!(error.to_string().contains(&said), "{said} in {error}");
    }
    let twice = "[[rule]]\nmethods = [\"GET\", \"PUT\"]\npath = \"/a\"\n\n\
                 [[rule]]\nmethods = [\"POST\",\n\"PUT\"]\npath = \"/a\"\n";
    assert_eq!(
        refused(twice).to_string(),
        "line 7: PUT /a has a rule on line 1 already: ask for everything in one of the two"
    );
    let others =
        "[[rule]]\nmethods = [\"GET\"]\npath = \"/a\"\n[[rule]]\nmethods = [\"PUT\"]\npath = \"/a\"\n";
    assert!(Policy::from_toml(others).is_ok());
}
