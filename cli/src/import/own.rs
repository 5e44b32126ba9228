//! Records as `export` writes them.

use countersign_issuer::keys::Lifetimes;
use countersign_issuer::{Client, Principal, PrincipalKey, Record};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::rows::Row;
use super::{Candidate, Judgement};

/// What is to become of an exported client.
pub(crate) fn client(row: &Row, limits: Lifetimes) -> Judgement<Client> {
    judge(row, "client_id", |client: &Client| {
        let mut problems = client.problems(limits);
        if !client.secrets.iter().all(countersign_issuer::ClientSecret::is_verifiable) {
            problems.push("secrets: a hash is of no kind, or too costly, to be verified here".into());
        }
        problems
    })
}

/// What is to become of an exported user or operator.
pub(crate) fn principal(row: &Row, is_of_kind: impl Fn(&PrincipalKey) -> bool) -> Judgement<Principal> {
    judge(row, "principal", |principal: &Principal| {
        let mut problems = principal.problems();
        let key = PrincipalKey::parse(&principal.key());
        let is_right = key.is_some_and(|key| {
            is_of_kind(&key) && countersign_issuer::username(key.username()).as_deref() == Ok(key.username())
        });
        if !is_right {
            problems
                .push("principal: not a key of this kind, user#BRAND#USERNAME or operator#USERNAME".into());
        }
        if !principal.has_verifiable_password() {
            problems.push("password_hash: of no kind, or too costly, to be verified here".into());
        }
        problems
    })
}

fn judge<R: DeserializeOwned>(row: &Row, key: &str, problems: impl Fn(&R) -> Vec<String>) -> Judgement<R> {
    let mut judgement = Judgement::of(row.columns.get(key).and_then(Value::as_str).unwrap_or_default());
    match serde_path_to_error::deserialize::<_, R>(Value::Object(row.columns.clone())) {
        Ok(record) => {
            judgement.reasons = problems(&record);
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
