//! The policy as an IAM policy for one caller, which API Gateway may cache: ARNs built from the
//! rules and the caller's claims, and from nothing that stands in the request.
//!
//! API Gateway caches a response under the Authorization header and applies it to every route. A
//! response about one request would open or close the other routes, so the response holds the whole
//! policy, as far as IAM can express it. IAM's `*` matches slashes too: `GET/subscribers/*` also
//! allows `GET/subscribers/17/invoices`. Deeper paths are therefore denied again. Where that would
//! close the route of another rule, or where the ARN of one rule reaches into another rule, IAM
//! cannot express the policy, and it is refused at start-up.

use std::collections::HashSet;

use countersign_verify::Claims;
use countersign_verify::policy::{Policy, Rule, Segment};

use serde::Serialize;

/// The most bytes of ARNs, with their quotes and commas. API Gateway rejects a response of more
/// than 8 KiB, with 500 for the caller; the claims and the rest of the document need some of that.
const MAX_ARN_BYTES: usize = 7 * 1024;

/// Spellings that servers disagree on. The policy refuses such paths too
/// ([`countersign_verify::policy::UnsafePath`]).
const UNSAFE: [&str; 8] = ["*%*", "*;*", "*\\*", "*//*", "*/./*", "*/../*", "*/.", "*/.."];

/// An IAM policy for `execute-api:Invoke`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyDocument {
    version: &'static str,
    statement: Vec<Statement>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    action: &'static str,
    effect: &'static str,
    resource: Vec<String>,
}

impl PolicyDocument {
    /// A policy that allows and denies these ARNs. IAM denies everything else, and a denial
    /// overrides.
    pub(super) fn new(allowed: Vec<String>, denied: Vec<String>) -> Self {
        let statement = [("Allow", allowed), ("Deny", denied)]
            .into_iter()
            .filter(|(_, resource)| !resource.is_empty())
            .map(|(effect, resource)| Statement { action: "execute-api:Invoke", effect, resource })
            .collect();
        Self { version: "2012-10-17", statement }
    }
}

/// Checks that IAM can express `policy`.
pub(super) fn check(policy: &Policy) -> Result<(), String> {
    let rules = policy.rules();
    let is_catch_all = |segment: &Segment| matches!(segment, Segment::CatchAll { .. });
    for rule in rules {
        if rule.segments().iter().any(is_catch_all) && rule.segments().iter().any(is_free) {
            return Err(inexpressible(rule, rule));
        }
    }
    for (at, one) in rules.iter().enumerate() {
        for other in &rules[..at] {
            let share_a_method = one.methods().iter().any(|method| other.methods().contains(method));
            if share_a_method && one.path() != other.path() && overlap(one, other) {
                return Err(inexpressible(other, one));
            }
        }
    }
    Ok(())
}

fn inexpressible(one: &Rule, other: &Rule) -> String {
    format!(
        "with caching on, an ARN for {} (line {}) would reach into {} (line {}): switch the authorizer's caching off",
        one.path(),
        one.line(),
        other.path(),
        other.line()
    )
}

/// Everything that a caller with these claims may invoke below `stage`, the ARN of the API's stage.
pub(super) fn for_caller(policy: &Policy, claims: &Claims, stage: &str) -> Result<PolicyDocument, String> {
    let (mut allowed, mut denied) = (Vec::new(), Vec::new());
    for rule in policy.rules().iter().filter(|rule| rule.permits(claims)) {
        let Some(path) = resource_path(rule, claims) else { continue };
        for method in rule.methods() {
            allowed.push(format!("{stage}/{method}/{}", path.join("/")));
            for (at, _) in rule.segments().iter().enumerate().filter(|(_, segment)| is_free(segment)) {
                let mut deeper = path.clone();
                deeper[at] = "*/*".into();
                denied.push(format!("{stage}/{method}/{}", deeper.join("/")));
            }
        }
    }
    if allowed.is_empty() {
        denied = vec![format!("{stage}/*")];
    } else {
        denied.extend(UNSAFE.map(|spelling| format!("{stage}/{spelling}")));
    }
    let bytes: usize = allowed.iter().chain(&denied).map(|arn| arn.len() + 3).sum();
    if bytes > MAX_ARN_BYTES {
        return Err(format!(
            "the response would hold {bytes} bytes of ARNs, and {MAX_ARN_BYTES} is the limit"
        ));
    }
    Ok(PolicyDocument::new(allowed, denied))
}

/// A rule's path for this caller; none if a claim that it needs is absent or cannot stand in an
/// ARN.
fn resource_path(rule: &Rule, claims: &Claims) -> Option<Vec<String>> {
    let segment = |segment: &Segment| {
        Some(match segment {
            Segment::Literal(text) => text.clone(),
            Segment::Parameter { equal: Some(claim), .. } => {
                let value = claim.value_in(claims)?;
                // `*` and `?` would widen the ARN; percent-encoded characters have several
                // spellings.
                let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
                let is_dots = value.bytes().all(|byte| byte == b'.');
                (value.bytes().all(is_plain) && !is_dots).then(|| value.to_owned())?
            }
            // `?` is one character: the segment is not empty.
            Segment::Parameter { equal: None, .. } | Segment::CatchAll { .. } => "?*".into(),
        })
    };
    rule.segments().iter().map(segment).collect()
}

/// Reports whether the segment accepts any text, so that its ARN has a `*` there.
fn is_free(segment: &Segment) -> bool {
    matches!(segment, Segment::Parameter { equal: None, .. })
}

/// Reports whether the ARNs of both rules match some path, in the lenient interpretation.
fn overlap(one: &Rule, other: &Rule) -> bool {
    let (one, other) = (matcher(one), matcher(other));
    let (mut seen, mut open) = (HashSet::new(), vec![(0, 0)]);
    while let Some(state) = open.pop() {
        let (at, beside) = state;
        if at == one.len() && beside == other.len() {
            return true;
        }
        if !seen.insert(state) {
            continue;
        }
        let (step, other_step) = (one.get(at), other.get(beside));
        if step.is_some_and(|step| step.repeats) {
            open.push((at + 1, beside));
        }
        if other_step.is_some_and(|step| step.repeats) {
            open.push((at, beside + 1));
        }
        if let (Some(step), Some(other_step)) = (step, other_step)
            && step.takes.meets(other_step.takes)
        {
            open.push((at + usize::from(!step.repeats), beside + usize::from(!other_step.repeats)));
        }
    }
    false
}

/// One step of matching an ARN's path: one character of a kind, or any number of them.
#[derive(Clone, Copy)]
struct Step {
    takes: Characters,
    repeats: bool,
}

#[derive(Clone, Copy)]
enum Characters {
    This(char),
    /// A claim's value: no slash.
    AnyButSlash,
    /// IAM's `*`.
    Any,
}

impl Characters {
    fn meets(self, other: Self) -> bool {
        match (self, other) {
            (Self::This(one), Self::This(other)) => one == other,
            (Self::This(one), Self::AnyButSlash) | (Self::AnyButSlash, Self::This(one)) => one != '/',
            _ => true,
        }
    }
}

/// The rule's path in the policy's lenient interpretation: case-insensitive, without a slash at
/// the end.
fn matcher(rule: &Rule) -> Vec<Step> {
    let mut steps = Vec::new();
    let is_final_slash = |segment: &&Segment| matches!(segment, Segment::Literal(text) if text.is_empty());
    for segment in rule.segments().iter().filter(|segment| !is_final_slash(segment)) {
        steps.push(Step { takes: Characters::This('/'), repeats: false });
        let takes = match segment {
            Segment::Literal(text) => {
                let step = |c: char| Step { takes: Characters::This(c.to_ascii_lowercase()), repeats: false };
                steps.extend(text.chars().map(step));
                continue;
            }
            Segment::Parameter { equal: Some(_), .. } => Characters::AnyButSlash,
            Segment::Parameter { equal: None, .. } | Segment::CatchAll { .. } => Characters::Any,
        };
        steps.push(Step { takes, repeats: true });
    }
    steps
}
