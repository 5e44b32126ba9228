//! Records as `export` writes them.

use countersign_issuer::records::Lifetimes;
use countersign_issuer::records::{Client, Principal, PrincipalKey, RecordProblem, Username};
use countersign_issuer::store::Record;
use countersign_verify::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::rows::Row;
use super::{Candidate, Judgement};

/// What is to become of an exported client.
pub(crate) fn client(row: &Row, limits: Lifetimes) -> Judgement<Client> {
    judge(row, "client_id", |client: &Client| {
        let mut problems = in_words(client.problems(limits));
        if !client.secrets.iter().all(countersign_issuer::credentials::ClientSecret::is_verifiable) {
            problems.push("secrets: a hash is of no kind, or too costly, to be verified here".into());
        }
        let ids: Vec<&str> = client.secrets.iter().map(|secret| secret.id.as_str()).collect();
        if ids.iter().enumerate().any(|(at, id)| !is_secret_id(id) || ids[..at].contains(id)) {
            problems.push("secrets: an id is given twice, or is not 1 to 64 of A-Z a-z 0-9 _ -".into());
        }
        let of_secrets = client.secrets.iter().flat_map(|secret| [Some(secret.created), secret.expires]);
        if !of_secrets.flatten().chain([client.created, client.updated]).all(is_moment) {
            problems.push("created, updated, expires: beyond the year 9999".into());
        }
        problems
    })
}

/// What is to become of an exported user or operator.
pub(crate) fn principal(row: &Row, is_of_kind: impl Fn(&PrincipalKey) -> bool) -> Judgement<Principal> {
    judge(row, "principal", |principal: &Principal| {
        let mut problems = in_words(principal.problems());
        let key = PrincipalKey::parse(&principal.key());
        let is_right = key.is_some_and(|key| {
            is_of_kind(&key)
                && Username::parse(key.username()).is_ok_and(|username| username.as_str() == key.username())
        });
        if !is_right {
            problems
                .push("principal: not a key of this kind, user#BRAND#USERNAME or operator#USERNAME".into());
        }
        if ![principal.created, principal.updated, principal.sessions_valid_from].into_iter().all(is_moment) {
            problems.push("created, updated, sessions_valid_from: beyond the year 9999".into());
        }
        if !principal.has_verifiable_password() {
            problems.push("password_hash: of no kind, or too costly, to be verified here".into());
        }
        problems
    })
}

fn in_words(problems: Vec<RecordProblem>) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// As they are made, or as people would make them: they stand in lists, logs and commands.
fn is_secret_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

fn is_moment(at: Timestamp) -> bool {
    i64::try_from(at.millis()).is_ok_and(|millis| jiff::Timestamp::from_millisecond(millis).is_ok())
}

fn judge<R: DeserializeOwned + Serialize>(
    row: &Row,
    key: &str,
    problems: impl Fn(&R) -> Vec<String>,
) -> Judgement<R> {
    let mut judgement = Judgement::of(row.columns.get(key).and_then(Value::as_str).unwrap_or_default());
    match serde_path_to_error::deserialize::<_, R>(Value::Object(row.columns.clone())) {
        Ok(record) => {
            judgement.reasons = problems(&record);
            let kept = serde_json::to_value(&record).unwrap_or_default();
            for member in row.columns.keys().filter(|member| kept.get(member.as_str()).is_none()) {
                judgement.leave_out(member, "not a member of such a record");
            }
            judgement.candidate = Some(Candidate { record, credential: None });
        }
        Err(error) => {
            let said = without_value(&error.inner().to_string());
            let member = Some(error.path().to_string()).filter(|path| path != ".").unwrap_or_default();
            judgement.reasons.push(format!("not a record as `export` writes it: {member} {said}"));
        }
    }
    judgement
}

/// What serde says is wrong, without the value that is, which may be a secret in the wrong place.
fn without_value(error: &str) -> String {
    match error.rsplit_once(", expected ") {
        Some((_, expected)) => format!("is not {expected}"),
        None if error.starts_with("missing field ") => error.to_owned(),
        None => "cannot be read".to_owned(),
    }
}
