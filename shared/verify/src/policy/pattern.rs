//! What may stand in a rule: the path's pattern, methods, scopes and roles.

use super::rule::Segment;

/// A longer pattern is refused.
const MAX_PATTERN_BYTES: usize = 1024;

/// More parameters in one pattern are refused; matchit's own limit, at which it panics, is 25.
const MAX_PARAMETERS: usize = 20;

pub(super) const SCOPE_RULE: &str = "printable ASCII characters without space, '\"' and '\\'";
pub(super) const ROLE_RULE: &str =
    "1 to 64 printable ASCII characters without space, '\"', '\\', '*' and '?'";

/// `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )` (RFC 6749 section 3.3)
pub(super) fn is_scope_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// As the issuer has them.
pub(super) fn is_role(value: &str) -> bool {
    (1..=64).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\*?".contains(&b))
}

/// A method's name (RFC 9110 section 9.1), of the characters that registered ones are made of.
pub(super) fn check_method(name: &str) -> Result<(), String> {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase());
    let upper = name.to_ascii_uppercase();
    match name {
        "ANY" | "*" => {
            Err(format!("method {name:?}: there is no name for all methods: list those that are meant"))
        }
        _ if name.split('-').all(is_word) => Ok(()),
        _ if upper.split('-').all(is_word) => {
            Err(format!("method {name:?} is not in upper case: write {upper:?}"))
        }
        _ => Err(format!("method {name:?} is malformed: names are of A-Z and '-', as \"GET\"")),
    }
}

/// The pattern without the names of its parameters: what two patterns for the same paths share.
pub(super) fn shape(path: &str) -> String {
    let shape = |segment: &str| match segment.strip_prefix('{') {
        Some(name) if name.starts_with('*') => "{*}".to_owned(),
        Some(_) => "{}".to_owned(),
        None => segment.to_owned(),
    };
    path.split('/').map(shape).collect::<Vec<_>>().join("/")
}

/// The segments of a pattern, or everything that is wrong with it.
pub(super) fn read(path: &str) -> Result<Vec<Segment>, Vec<String>> {
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
            // A slash at the end, or the path `/`.
            "" if at == last => Ok(Segment::Literal(String::new())),
            "" => {
                Err("it has an empty segment, and no request with one is let through: take a '/' away".into())
            }
            "." | ".." => Err(format!(
                "it has the segment {text:?}, and no request with one is let through: \
                 write the path that is meant"
            )),
            _ if text.contains(['{', '}']) => parameter(text, at == last),
            _ => literal(text),
        };
        match segment {
            Ok(segment) if name(&segment).is_some_and(|name| has_parameter(&segments, name)) => {
                problems
                    .push(format!("path {path:?}: {text} stands there twice: give each parameter a name"));
            }
            Ok(segment) => segments.push(segment),
            Err(problem) => problems.push(format!("path {path:?}: {problem}")),
        }
    }
    if segments.iter().filter_map(name).count() > MAX_PARAMETERS {
        problems.push(format!("path {path:?} has more than {MAX_PARAMETERS} parameters: use a catch-all"));
    }
    if problems.is_empty() { Ok(segments) } else { Err(problems) }
}

fn name(segment: &Segment) -> Option<&str> {
    match segment {
        Segment::Literal(_) => None,
        Segment::Parameter { name, .. } | Segment::CatchAll { name } => Some(name),
    }
}

fn has_parameter(segments: &[Segment], sought: &str) -> bool {
    segments.iter().filter_map(name).any(|name| name == sought)
}

fn parameter(text: &str, is_last: bool) -> Result<Segment, String> {
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
            "{text:?} is no parameter: write {{name}} for one whole segment or {{*name}} for the rest of the path, \
             with names of A-Z a-z 0-9 _ -"
        )),
    }
}

/// A request's path has these characters raw, so that a pattern of them can be reached.
fn literal(text: &str) -> Result<Segment, String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()+,=:@".contains(c);
    let remedy = match text.chars().find(|&c| !is_allowed(c)) {
        None if text.starts_with(':') => "write {name} for a parameter",
        None => return Ok(Segment::Literal(text.to_owned())),
        Some('*') => {
            "'*' stands for nothing: write {name} for one segment or {*name} for the rest of the path"
        }
        Some('%') => {
            "'%' cannot be there: write the character itself, or a parameter where it may not stand in a path"
        }
        Some('?' | '#') => "the query is no part of the path: leave it out",
        Some(';' | '\\') => "no request with ';' or '\\' is let through: leave it out",
        Some(_) => {
            "only A-Z a-z 0-9 - . _ ~ ! $ & ' ( ) + , = : @ may be there: use a parameter for other characters"
        }
    };
    Err(format!("segment {text:?}: {remedy}"))
}
