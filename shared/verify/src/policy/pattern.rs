//! The syntax of path patterns and methods in a rule.

use super::rule::Segment;

/// The maximum length of a pattern.
const MAX_PATTERN_BYTES: usize = 1024;

/// The maximum number of parameters in a pattern. matchit panics at its own limit of 25.
const MAX_PARAMETERS: usize = 20;

/// Checks a method's name (RFC 9110 section 9.1). It may use the characters of registered methods.
pub(super) fn check_method(name: &str) -> Result<(), String> {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase());
    let upper = name.to_ascii_uppercase();
    match name {
        "ANY" | "*" => Err(format!("method {name:?}: no name stands for all methods: list each method")),
        _ if name.split('-').all(is_word) => Ok(()),
        _ if upper.split('-').all(is_word) => {
            Err(format!("method {name:?} is not in upper case: write {upper:?}"))
        }
        _ => Err(format!("method {name:?} is malformed: use A-Z and '-', as in \"GET\"")),
    }
}

/// Returns the pattern without its parameters' names. Two patterns for the same paths have the same
/// shape.
pub(super) fn shape(path: &str) -> String {
    let shape = |segment: &str| match segment.strip_prefix('{') {
        Some(name) if name.starts_with('*') => "{*}".to_owned(),
        Some(_) => "{}".to_owned(),
        None => segment.to_owned(),
    };
    path.split('/').map(shape).collect::<Vec<_>>().join("/")
}

/// Parses a pattern into segments. The error has every problem.
pub(super) fn parse(path: &str) -> Result<Vec<Segment>, Vec<String>> {
    let Some(inner) = path.strip_prefix('/') else {
        return Err(vec![format!("path {path:?} does not start with '/': write {:?}", format!("/{path}"))]);
    };
    if path.len() > MAX_PATTERN_BYTES {
        return Err(vec![format!("the path is longer than {MAX_PATTERN_BYTES} characters: shorten it")]);
    }
    let mut segments = Vec::new();
    let mut problems = Vec::new();
    let last = inner.split('/').count() - 1;
    for (at, text) in inner.split('/').enumerate() {
        let segment = match text {
            // The path `/`, or a slash at the end.
            "" if at == last => Ok(Segment::Literal(String::new())),
            "" => {
                Err("it has an empty segment, and requests with one are always refused: remove a '/'".into())
            }
            "." | ".." => Err(format!(
                "it has the segment {text:?}, and requests with one are always refused: \
                 write the resolved path"
            )),
            _ if text.contains(['{', '}']) => parse_parameter(text, at == last),
            _ => parse_literal(text),
        };
        match segment {
            Ok(segment) if parameter_name(&segment).is_some_and(|name| has_parameter(&segments, name)) => {
                problems
                    .push(format!("path {path:?}: {text} is there twice: give each parameter its own name"));
            }
            Ok(segment) => segments.push(segment),
            Err(problem) => problems.push(format!("path {path:?}: {problem}")),
        }
    }
    if segments.iter().filter_map(parameter_name).count() > MAX_PARAMETERS {
        problems.push(format!("path {path:?} has more than {MAX_PARAMETERS} parameters: use a catch-all"));
    }
    if problems.is_empty() { Ok(segments) } else { Err(problems) }
}

fn parameter_name(segment: &Segment) -> Option<&str> {
    match segment {
        Segment::Literal(_) => None,
        Segment::Parameter { name, .. } | Segment::CatchAll { name } => Some(name),
    }
}

fn has_parameter(segments: &[Segment], sought: &str) -> bool {
    segments.iter().filter_map(parameter_name).any(|name| name == sought)
}

fn parse_parameter(text: &str, is_last: bool) -> Result<Segment, String> {
    let is_name = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default();
    match inner.strip_prefix('*') {
        Some(name) if is_name(name) && is_last => Ok(Segment::CatchAll { name: name.to_owned() }),
        Some(name) if is_name(name) => Err(format!("{text} must be the last segment: use {{{name}}} here")),
        None if is_name(inner) => Ok(Segment::Parameter { name: inner.to_owned(), equal: None }),
        _ => Err(format!(
            "{text:?} is not a parameter: write {{name}} for one whole segment or {{*name}} for the rest of the \
             path, with A-Z a-z 0-9 _ - in the name"
        )),
    }
}

/// Accepts the characters that a request's path has unencoded. No request could match a pattern
/// with others.
fn parse_literal(text: &str) -> Result<Segment, String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()+,=:@".contains(c);
    let remedy = match text.chars().find(|&c| !is_allowed(c)) {
        None if text.starts_with(':') => "write {name} for a parameter",
        None => return Ok(Segment::Literal(text.to_owned())),
        Some('*') => {
            "'*' is not a wildcard: write {name} for one segment or {*name} for the rest of the path"
        }
        Some('%') => {
            "'%' is not allowed: write the character itself, or use a parameter if a path cannot contain it"
        }
        Some('?' | '#') => "the query is not part of the path: leave it out",
        Some(';' | '\\') => "requests with ';' or '\\' are always refused: leave it out",
        Some(_) => {
            "only A-Z a-z 0-9 - . _ ~ ! $ & ' ( ) + , = : @ are allowed: use a parameter for other characters"
        }
    };
    Err(format!("segment {text:?}: {remedy}"))
}
