//! Properties that hold for every spelling of a path.

use std::sync::LazyLock;

use countersign_verify::Claims;
use countersign_verify::policy::{Policy, Refusal, Rule};
use proptest::prelude::*;
use proptest::sample::select;

use super::claims;

/// Strict rules, each next to a less strict rule that admits any caller.
const GUARDED: &str = r#"
[[rule]]
methods = ["GET"]
path = "/files/secret"
scopes = ["strict"]

[[rule]]
methods = ["GET"]
path = "/Admin/Tasks/"
roles = ["strict"]

[[rule]]
methods = ["GET"]
path = "/brands/{brandKey}/risk"
equal = { brandKey = "brandKey" }

[[rule]]
methods = ["GET"]
path = "/{area}"

[[rule]]
methods = ["GET"]
path = "/{area}/{page}"

[[rule]]
methods = ["GET"]
path = "/{area}/{page}/{*rest}"
"#;

static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::from_toml(GUARDED).unwrap());

/// Generates a path that a forgiving server reads as `path`. Every character is raw, encoded once
/// or encoded twice, in any case. Detours, path parameters and slashes that such a server removes
/// are added.
fn respelled(path: &'static str) -> impl Strategy<Value = String> {
    let characters: Vec<BoxedStrategy<String>> =
        path.chars().map(|one| respelled_character(one).boxed()).collect();
    let end = select(vec!["", "", "", "/", "//", "/.", "/x/..", "%2f", ";x", "%00", "?x", "#", "%20/.."]);
    (characters, end).prop_map(|(characters, end)| characters.concat() + end)
}

fn respelled_character(character: char) -> impl Strategy<Value = String> {
    if character == '/' {
        let slashes = [
            "/", "/", "/", "/", "/", "//", "/./", "/%2e/", "/x/../", "/x/%2E./", ";v=1/", "%2F", "%2f", "\\",
            "%5c", "/x/..;/", "\u{ff0f}", "\u{2215}", "%252f",
        ];
        return select(slashes.map(str::to_owned).to_vec()).boxed();
    }
    let (lower, upper) = (character.to_ascii_lowercase(), character.to_ascii_uppercase());
    let mut forms = vec![lower, upper, char::from_u32(u32::from(character) + 0xfee0).unwrap()];
    forms.extend(match lower {
        's' => vec!['\u{17f}'],
        'k' => vec!['\u{212a}'],
        'i' => vec!['\u{130}', '\u{131}'],
        _ => vec![],
    });
    let form = prop_oneof![12 => Just(character), 1 => select(forms)];
    let encoding = prop_oneof![10 => Just(0), 1 => 1..4];
    (form, encoding)
        .prop_map(|(form, encoding)| {
            let utf8 = form.to_string();
            let encoded = |prefix: &str| utf8.bytes().map(|byte| format!("{prefix}{byte:02x}")).collect();
            match encoding {
                0 => utf8,
                1 => encoded("%"),
                2 => encoded("%").to_uppercase(),
                _ => encoded("%25"),
            }
        })
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_spelling_of_a_guarded_path_admits_a_caller_without_rights(
        path in prop_oneof![respelled("/files/secret"), respelled("/Admin/Tasks/"), respelled("/brands/globex/risk")],
    ) {
        // The less strict rules admit this caller wherever they match.
        let no_rights = claims("other", &["other"]);
        let decided = POLICY.decide("GET", &path, &no_rights);
        prop_assert!(decided.is_err(), "{path} is allowed by line {:?}", decided.map(Rule::line));
    }

    #[test]
    fn a_parameter_equals_its_claim_in_any_encoding_and_no_other_value_does(
        value in "[a-zA-Z0-9 ._~@ä-]{1,12}",
        encode in prop::collection::vec(any::<bool>(), 24),
        brand in "[a-zA-Z0-9 ._~@ä-]{1,2}",
    ) {
        prop_assume!(value.chars().any(|one| one != '.'));
        let sent: String = value.bytes().zip(encode).map(|(byte, encode)| {
            if encode || !byte.is_ascii_graphic() { format!("%{byte:02X}") } else { char::from(byte).to_string() }
        }).collect();
        let path = format!("/brands/{sent}/risk");
        let same = Claims { brand_key: Some(value.clone()), ..claims("", &[]) };
        prop_assert!(POLICY.decide("GET", &path, &same).is_ok(), "{path} for {value}");
        let other = Claims { brand_key: Some(brand.clone()), ..claims("", &[]) };
        prop_assert_eq!(POLICY.decide("GET", &path, &other).is_ok(), brand == value);
    }
}

/// Generates segments from a few names, so that paths often match patterns.
fn segment() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b", "ab", "abc", "c"])
}

/// Generates patterns. The parameter in the nth position always has the same name.
fn pattern() -> impl Strategy<Value = String> {
    let part = prop_oneof![3 => segment().prop_map(Some), 2 => Just(None)];
    (prop::collection::vec(part, 1..5), any::<bool>()).prop_map(|(parts, has_catch_all)| {
        let last = parts.len() - 1;
        let part = |(at, part): (usize, Option<&str>)| match part {
            Some(literal) => format!("/{literal}"),
            None if at == last && has_catch_all => "/{*rest}".to_owned(),
            None => format!("/{{p{at}}}"),
        };
        parts.into_iter().enumerate().map(part).collect()
    })
}

/// Returns the kind of each segment if the pattern matches: 0 for a literal, 1 for a parameter, 2
/// for a catch-all. A lower rank is a better match.
fn rank(pattern: &str, path: &str) -> Option<Vec<u8>> {
    let mut path = path[1..].split('/');
    let mut rank = Vec::new();
    for part in pattern[1..].split('/') {
        let segment = path.next()?;
        match part {
            _ if part.starts_with("{*") => {
                rank.push(2);
                return Some(rank);
            }
            _ if part.starts_with('{') => rank.push(1),
            _ if part == segment => rank.push(0),
            _ => return None,
        }
    }
    path.next().is_none().then_some(rank)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_pattern_that_matches_best_from_the_left_decides(
        patterns in prop::collection::hash_set(pattern(), 1..12),
        segments in prop::collection::vec(segment(), 1..6),
    ) {
        // Of conflicting patterns, keep the first.
        let (mut kept, mut text) = (Vec::new(), String::new());
        for pattern in patterns {
            let more = format!("{text}[[rule]]\nmethods = [\"GET\"]\npath = \"{pattern}\"\n");
            if Policy::from_toml(&more).is_ok() {
                text = more;
                kept.push(pattern);
            }
        }
        let policy = Policy::from_toml(&text).unwrap();
        let path = format!("/{}", segments.join("/"));
        let best = kept.iter().filter_map(|one| Some((rank(one, &path)?, one.as_str()))).min();
        let caller = claims("", &[]);
        match policy.decide("GET", &path, &caller) {
            Ok(rule) => prop_assert_eq!(Some(rule.path()), best.map(|(_, pattern)| pattern)),
            Err(refusal) => prop_assert!(best.is_none() && refusal == Refusal::NoRuleForPath, "{path}: {refusal}"),
        }
    }

    #[test]
    fn odd_paths_and_files_never_panic(
        path in prop_oneof![any::<String>(), "/[a-c/%.;2eEfF\\\\ſKé-]{0,40}"],
        file in prop_oneof![any::<String>(), r#"(\[\[rule\]\]|\n|methods|path|equal| = |\["GET"\]|"/[a{}*/.]{0,8}"|\{|\}){0,20}"#],
    ) {
        if let Err(refusal) = POLICY.decide("GET", &path, &claims("", &[])) {
            prop_assert!(!refusal.to_string().is_empty());
        }
        if let Err(error) = Policy::from_toml(&file) {
            let lines = file.matches('\n').count() + 1;
            prop_assert!(!error.problems().is_empty());
            prop_assert!(error.problems().iter().all(|one| (1..=lines).contains(&one.line())), "{error}");
            prop_assert_eq!(error.to_string().lines().count(), error.problems().len());
        }
    }
}
