//! Loading of a policy from TOML. It reports every problem at once, each with its line.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;

use matchit::Router;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::Policy;
use super::path::{fold, without_final_slash};
use super::pattern;
use super::rule::{Claim, Rule, Segment};
use crate::claims::{ROLE_RULE, SCOPE_RULE, is_role, is_scope_token};

/// The problems of a file that is not a valid policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    problems: Vec<Problem>,
}

/// One problem of a policy, and its remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    line: usize,
    message: String,
}

impl PolicyError {
    /// Returns the problems in the order of the file; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl Problem {
    /// Returns the line, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Returns the problem and its remedy as text.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Problem { line, message }) in self.problems.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}line {line}: {message}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyError {}

/// A `[[rule]]` in the file, not validated yet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
    methods: Spanned<Vec<Spanned<String>>>,
    path: Spanned<String>,
    scopes: Option<Spanned<Vec<Spanned<String>>>>,
    roles: Option<Spanned<Vec<Spanned<String>>>>,
    equal: Option<Spanned<BTreeMap<Spanned<String>, Spanned<String>>>>,
}

/// Loads a policy from the text of a file.
pub(super) fn load(text: &str) -> Result<Policy, PolicyError> {
    let mut loader = Loader::new(text);
    let (file, errors) = DeTable::parse_recoverable(text);
    // The text after a syntax error may be misread, so only syntax errors are reported then.
    if errors.is_empty() {
        loader.read(file.into_inner());
    } else {
        for error in errors {
            loader.report(error.span().unwrap_or_default(), single_line(error.message()));
        }
    }
    loader.finish()
}

struct Loader {
    /// The offsets of all lines but the first.
    line_starts: Vec<usize>,
    problems: Vec<Problem>,
    policy: Policy,
    /// Maps a pattern as written to its index in the policy's `patterns`.
    pattern_indices: HashMap<String, usize>,
}

impl Loader {
    fn new(text: &str) -> Self {
        Self {
            line_starts: text.match_indices('\n').map(|(at, _)| at + 1).collect(),
            problems: Vec::new(),
            policy: Policy {
                rules: Vec::new(),
                patterns: Vec::new(),
                as_sent: Router::new(),
                lenient: Router::new(),
            },
            pattern_indices: HashMap::new(),
        }
    }

    fn line_at(&self, span: &Range<usize>) -> usize {
        self.line_starts.partition_point(|&start| start <= span.start) + 1
    }

    fn report(&mut self, span: Range<usize>, message: impl Into<String>) {
        let line = self.line_at(&span);
        self.problems.push(Problem { line, message: message.into() });
    }

    fn finish(mut self) -> Result<Policy, PolicyError> {
        if self.problems.is_empty() {
            return Ok(self.policy);
        }
        self.problems.sort_by_key(|problem| problem.line);
        Err(PolicyError { problems: self.problems })
    }

    fn read(&mut self, file: DeTable<'_>) {
        let mut has_rules = false;
        for (key, value) in file {
            let span = value.span();
            match (key.get_ref().as_ref(), value.into_inner()) {
                ("rule", DeValue::Array(rules)) => {
                    has_rules |= !rules.is_empty();
                    for rule in rules {
                        self.read_rule(rule);
                    }
                }
                ("rule", _) => {
                    has_rules = true;
                    self.report(
                        span,
                        "rule is not a list: begin each rule with [[rule]], in double brackets",
                    );
                }
                (other, _) => {
                    self.report(key.span(), format!("unknown {other:?}: a policy consists of [[rule]] only"));
                }
            }
        }
        if !has_rules && self.problems.is_empty() {
            let message =
                "there are no rules, so every request is refused: add a [[rule]] with methods and path";
            self.report(0..0, message);
        }
    }

    fn read_rule(&mut self, rule: Spanned<DeValue<'_>>) {
        let span = rule.span();
        let written = match RuleTable::deserialize(ValueDeserializer::from(rule)) {
            Ok(written) => written,
            Err(error) => {
                return self.report(error.span().unwrap_or(span), single_line(&error.to_string()));
            }
        };
        let methods = self.read_methods(&written.methods);
        let scopes = self.read_list("scopes", written.scopes, SCOPE_RULE, is_scope_token);
        let roles = self.read_list("roles", written.roles, ROLE_RULE, is_role);
        let path_span = written.path.span();
        let segments = pattern::parse(written.path.get_ref());
        let mut segments = match segments {
            Ok(segments) => segments,
            Err(problems) => {
                for problem in problems {
                    self.report(path_span.clone(), problem);
                }
                return;
            }
        };
        if let Some(equal) = written.equal {
            self.bind_parameters(&mut segments, equal);
        }
        let line = self.line_at(&span);
        let path = written.path.into_inner();
        self.add_rule(Rule { line, methods, path, segments, scopes, roles }, &written.methods, path_span);
    }

    fn read_methods(&mut self, written: &Spanned<Vec<Spanned<String>>>) -> Vec<String> {
        if written.get_ref().is_empty() {
            self.report(written.span(), r#"methods is empty: add at least one, as in methods = ["GET"]"#);
        }
        let mut methods: Vec<String> = Vec::new();
        for method in written.get_ref() {
            let name = method.get_ref();
            if methods.contains(name) {
                self.report(method.span(), format!("method {name:?} is there twice: remove one"));
            } else if let Err(problem) = pattern::check_method(name) {
                self.report(method.span(), problem);
            } else {
                methods.push(name.clone());
            }
        }
        methods
    }

    fn read_list(
        &mut self,
        name: &str,
        written: Option<Spanned<Vec<Spanned<String>>>>,
        rule: &str,
        is_valid: fn(&str) -> bool,
    ) -> Vec<String> {
        let Some(written) = written else { return Vec::new() };
        if written.get_ref().is_empty() {
            // An empty `roles` is ambiguous: it could admit every caller or none.
            self.report(written.span(), format!("{name} is empty: add at least one, or leave {name} out"));
        }
        let mut items: Vec<String> = Vec::new();
        for item in written.into_inner() {
            let span = item.span();
            let item = item.into_inner();
            if !is_valid(&item) {
                self.report(span, format!("{name}: {item:?} is not valid: use {rule}"));
            } else if items.contains(&item) {
                self.report(span, format!("{name}: {item:?} is there twice: remove one"));
            } else {
                items.push(item);
            }
        }
        items
    }

    /// Binds the parameters that `equal` names to their claims.
    fn bind_parameters(
        &mut self,
        segments: &mut [Segment],
        written: Spanned<BTreeMap<Spanned<String>, Spanned<String>>>,
    ) {
        if written.get_ref().is_empty() {
            self.report(written.span(), "equal is empty: add a parameter and its claim, or leave equal out");
        }
        for (parameter, claim) in written.into_inner() {
            let found = Claim::ALL.into_iter().find(|one| one.name() == claim.get_ref());
            if found.is_none() {
                let known = Claim::ALL.map(Claim::name).join(", ");
                let message = format!(
                    "equal: {:?} is not a claim that can be compared: use one of {known}",
                    claim.get_ref()
                );
                self.report(claim.span(), message);
            }
            let name = parameter.get_ref();
            let bound = segments.iter_mut().find_map(|segment| match segment {
                Segment::Parameter { name: one, equal } if one == name => Some(Ok(equal)),
                Segment::CatchAll { name: one } if one == name => Some(Err(())),
                _ => None,
            });
            match bound {
                Some(Ok(equal)) => *equal = found,
                Some(Err(())) => {
                    let message = format!(
                        "equal: {{*{name}}} may match several segments and cannot equal a claim: use {{{name}}}"
                    );
                    self.report(parameter.span(), message);
                }
                None => {
                    let message =
                        format!("equal: the path has no parameter {{{name}}}: add it, or use another one");
                    self.report(parameter.span(), message);
                }
            }
        }
    }

    fn add_rule(&mut self, rule: Rule, methods: &Spanned<Vec<Spanned<String>>>, path_span: Range<usize>) {
        let pattern = if let Some(&pattern) = self.pattern_indices.get(&rule.path) {
            self.report_repeated_methods(pattern, &rule, methods);
            pattern
        } else {
            let pattern = self.policy.patterns.len();
            if self.policy.lenient.insert(lenient_pattern(&rule.path), pattern).is_err()
                || self.policy.as_sent.insert(&rule.path, pattern).is_err()
            {
                let message = self.describe_conflict(&rule.path);
                return self.report(path_span, message);
            }
            self.pattern_indices.insert(rule.path.clone(), pattern);
            self.policy.patterns.push(Vec::new());
            pattern
        };
        self.policy.patterns[pattern].push(self.policy.rules.len());
        self.policy.rules.push(rule);
    }

    fn report_repeated_methods(
        &mut self,
        pattern: usize,
        rule: &Rule,
        written: &Spanned<Vec<Spanned<String>>>,
    ) {
        let mut repeated = Vec::new();
        for method in written.get_ref() {
            let name = method.get_ref();
            let earlier = self.policy.rules_of(pattern).find(|earlier| earlier.methods.contains(name));
            if let Some(earlier) = earlier {
                let message = format!(
                    "{name} {} already has a rule on line {}: put all conditions into one of the two",
                    rule.path, earlier.line
                );
                repeated.push((method.span(), message));
            }
        }
        for (span, message) in repeated {
            self.report(span, message);
        }
    }

    /// Describes the conflict of a pattern with an earlier one.
    fn describe_conflict(&self, path: &str) -> String {
        let conflicts = |earlier: &&Rule| {
            let mut pair = Router::new();
            let both = [lenient_pattern(&earlier.path), lenient_pattern(path)];
            both.into_iter().any(|pattern| pair.insert(pattern, ()).is_err())
        };
        match self.policy.rules.iter().find(conflicts) {
            Some(earlier) if has_same_shape(&earlier.path, path) => {
                format!(
                    "{path} differs from {} on line {} only in case, a slash at the end or a parameter's name, so a \
                     server may confuse their requests: write both in the same way",
                    earlier.path, earlier.line
                )
            }
            Some(earlier) => format!(
                "{path} conflicts with {} on line {}: a catch-all and a parameter cannot be in the same position; \
                 write out the segments that differ",
                earlier.path, earlier.line
            ),
            // The router has no other reason to reject a pattern that was parsed.
            None => format!("{path} cannot be combined with the other paths"),
        }
    }
}

/// Returns true if two patterns match the same paths in the lenient interpretation.
fn has_same_shape(one: &str, other: &str) -> bool {
    pattern::shape(&lenient_pattern(one)) == pattern::shape(&lenient_pattern(other))
}

/// Returns the pattern that matches the lenient interpretation of the paths that `path` matches.
/// Parameters keep their names.
fn lenient_pattern(path: &str) -> String {
    let segments = without_final_slash(path).split('/');
    let folded =
        segments.map(|segment| if segment.starts_with('{') { segment.to_owned() } else { fold(segment) });
    folded.collect::<Vec<_>>().join("/")
}

/// Joins the lines of a TOML error: a problem has one line.
fn single_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
