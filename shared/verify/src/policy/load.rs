//! From a TOML file to a policy: whatever is wrong is said with its line, all of it at once.

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

/// A file that is no policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    problems: Vec<Problem>,
}

/// Something wrong with a policy, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    line: usize,
    message: String,
}

impl PolicyError {
    /// What is wrong, in the order of the file; at least one problem.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl Problem {
    /// The line, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// What is wrong with it, in words.
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

/// A `[[rule]]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    methods: Spanned<Vec<Spanned<String>>>,
    path: Spanned<String>,
    scopes: Option<Spanned<Vec<Spanned<String>>>>,
    roles: Option<Spanned<Vec<Spanned<String>>>>,
    equal: Option<Spanned<BTreeMap<Spanned<String>, Spanned<String>>>>,
}

/// Reads a whole file.
pub(super) fn load(text: &str) -> Result<Policy, PolicyError> {
    let mut loader = Loader::new(text);
    let (file, errors) = DeTable::parse_recoverable(text);
    // What stands behind a syntax error may be read wrongly: no other complaints then.
    if errors.is_empty() {
        loader.read(file.into_inner());
    } else {
        for error in errors {
            loader.problem(error.span().unwrap_or_default(), in_one_line(error.message()));
        }
    }
    loader.finish()
}

struct Loader {
    /// Where each line but the first starts.
    line_starts: Vec<usize>,
    problems: Vec<Problem>,
    policy: Policy,
    /// From a pattern as written to its place in the policy's `patterns`.
    known: HashMap<String, usize>,
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
                loosest: Router::new(),
            },
            known: HashMap::new(),
        }
    }

    fn line(&self, span: &Range<usize>) -> usize {
        self.line_starts.partition_point(|&start| start <= span.start) + 1
    }

    fn problem(&mut self, span: Range<usize>, message: impl Into<String>) {
        let line = self.line(&span);
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
                    self.problem(
                        span,
                        "rule is not a list: begin each rule with [[rule]], in double brackets",
                    );
                }
                (other, _) => {
                    self.problem(
                        key.span(),
                        format!("unknown {other:?}: a policy consists of [[rule]] alone"),
                    );
                }
            }
        }
        if !has_rules && self.problems.is_empty() {
            let message =
                "there are no rules, so every request would be refused: add a [[rule]] with methods and path";
            self.problem(0..0, message);
        }
    }

    fn read_rule(&mut self, rule: Spanned<DeValue<'_>>) {
        let span = rule.span();
        let written = match Written::deserialize(ValueDeserializer::from(rule)) {
            Ok(written) => written,
            Err(error) => {
                return self.problem(error.span().unwrap_or(span), in_one_line(&error.to_string()));
            }
        };
        let methods = self.read_methods(&written.methods);
        let scopes = self.read_list("scopes", written.scopes, pattern::SCOPE_RULE, pattern::is_scope_token);
        let roles = self.read_list("roles", written.roles, pattern::ROLE_RULE, pattern::is_role);
        let path_span = written.path.span();
        let segments = pattern::read(written.path.get_ref());
        let mut segments = match segments {
            Ok(segments) => segments,
            Err(problems) => {
                for problem in problems {
                    self.problem(path_span.clone(), problem);
                }
                return;
            }
        };
        if let Some(equal) = written.equal {
            self.bind(&mut segments, equal);
        }
        let line = self.line(&span);
        let path = written.path.into_inner();
        self.add(Rule { line, methods, path, segments, scopes, roles }, &written.methods, path_span);
    }

    fn read_methods(&mut self, written: &Spanned<Vec<Spanned<String>>>) -> Vec<String> {
        if written.get_ref().is_empty() {
            self.problem(written.span(), r#"methods is empty: name at least one, as in methods = ["GET"]"#);
        }
        let mut methods: Vec<String> = Vec::new();
        for method in written.get_ref() {
            let name = method.get_ref();
            if methods.contains(name) {
                self.problem(method.span(), format!("method {name:?} is given twice: once is enough"));
            } else if let Err(problem) = pattern::check_method(name) {
                self.problem(method.span(), problem);
            } else {
                methods.push(name.clone());
            }
        }
        methods
    }

    fn read_list(
        &mut self,
        what: &str,
        written: Option<Spanned<Vec<Spanned<String>>>>,
        rule: &str,
        holds: fn(&str) -> bool,
    ) -> Vec<String> {
        let Some(written) = written else { return Vec::new() };
        if written.get_ref().is_empty() {
            // An empty `roles`, of which a caller must have any, could be taken for "nobody" as well as for "everybody".
            self.problem(written.span(), format!("{what} is empty: name at least one, or leave {what} out"));
        }
        let mut items: Vec<String> = Vec::new();
        for item in written.into_inner() {
            let span = item.span();
            let item = item.into_inner();
            if !holds(&item) {
                self.problem(span, format!("{what}: {item:?} cannot be one; it takes {rule}"));
            } else if items.contains(&item) {
                self.problem(span, format!("{what}: {item:?} is given twice: once is enough"));
            } else {
                items.push(item);
            }
        }
        items
    }

    /// Binds the parameters that `equal` names to their claims.
    fn bind(
        &mut self,
        segments: &mut [Segment],
        written: Spanned<BTreeMap<Spanned<String>, Spanned<String>>>,
    ) {
        if written.get_ref().is_empty() {
            self.problem(
                written.span(),
                "equal is empty: name a parameter and its claim, or leave equal out",
            );
        }
        for (parameter, claim) in written.into_inner() {
            let found = Claim::ALL.into_iter().find(|one| one.name() == claim.get_ref());
            if found.is_none() {
                let known = Claim::ALL.map(Claim::name).join(", ");
                let message = format!(
                    "equal: {:?} is no claim that can be compared; there are {known}",
                    claim.get_ref()
                );
                self.problem(claim.span(), message);
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
                        "equal: {{*{name}}} may be several segments and cannot equal a claim: use {{{name}}}"
                    );
                    self.problem(parameter.span(), message);
                }
                None => {
                    let message =
                        format!("equal: the path has no parameter {{{name}}}: add it or name another");
                    self.problem(parameter.span(), message);
                }
            }
        }
    }

    fn add(&mut self, rule: Rule, methods: &Spanned<Vec<Spanned<String>>>, path_span: Range<usize>) {
        let pattern = if let Some(&pattern) = self.known.get(&rule.path) {
            self.refuse_repeated_methods(pattern, &rule, methods);
            pattern
        } else {
            let pattern = self.policy.patterns.len();
            if self.policy.loosest.insert(loosest(&rule.path), pattern).is_err()
                || self.policy.as_sent.insert(&rule.path, pattern).is_err()
            {
                let message = self.name_conflict(&rule.path);
                return self.problem(path_span, message);
            }
            self.known.insert(rule.path.clone(), pattern);
            self.policy.patterns.push(Vec::new());
            pattern
        };
        self.policy.patterns[pattern].push(self.policy.rules.len());
        self.policy.rules.push(rule);
    }

    fn refuse_repeated_methods(
        &mut self,
        pattern: usize,
        rule: &Rule,
        written: &Spanned<Vec<Spanned<String>>>,
    ) {
        let mut repeated = Vec::new();
        for method in written.get_ref() {
            let name = method.get_ref();
            let earlier = self.policy.at_pattern(pattern).find(|earlier| earlier.methods.contains(name));
            if let Some(earlier) = earlier {
                let message = format!(
                    "{name} {} has a rule on line {} already: ask for everything in one of the two",
                    rule.path, earlier.line
                );
                repeated.push((method.span(), message));
            }
        }
        for (span, message) in repeated {
            self.problem(span, message);
        }
    }

    /// The words for a pattern that cannot stand beside an earlier one.
    fn name_conflict(&self, path: &str) -> String {
        let conflicts = |earlier: &&Rule| {
            let mut pair = Router::new();
            let both = [loosest(&earlier.path), loosest(path)];
            both.into_iter().any(|pattern| pair.insert(pattern, ()).is_err())
        };
        match self.policy.rules.iter().find(conflicts) {
            Some(earlier) if pattern::shape(&loosest(&earlier.path)) == pattern::shape(&loosest(path)) => {
                format!(
                    "{path} differs from {} on line {} in nothing but case, a slash at the end or a parameter's name, \
                     and requests for the two could be taken for each other: write both alike",
                    earlier.path, earlier.line
                )
            }
            Some(earlier) => format!(
                "{path} conflicts with {} on line {}: a catch-all and a parameter cannot stand in the same place; \
                 spell out the segments that differ",
                earlier.path, earlier.line
            ),
            // The router refuses nothing else of a pattern that was read.
            None => format!("{path} cannot be matched beside the other paths"),
        }
    }
}

/// The pattern of the loosest reading of the paths that fit `path`. Parameters keep their names.
fn loosest(path: &str) -> String {
    let segments = without_final_slash(path).split('/');
    let folded =
        segments.map(|segment| if segment.starts_with('{') { segment.to_owned() } else { fold(segment) });
    folded.collect::<Vec<_>>().join("/")
}

/// The library's words may span lines; a problem is one.
fn in_one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
