//! Records as `export` writes them.

use countersign_issuer::credentials::ClientSecret;
use countersign_issuer::records::{Client, Principal, PrincipalKey, RecordProblem, Username};
use countersign_issuer::store::Record;
use countersign_issuer::tokens::ClientRules;
use countersign_verify::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::columns::COSTLY;
use super::conversion::{Conversion, NewRecord};
use super::rows::Row;
use super::typed_json;
use crate::records::large_token_warning;

/// Converts an exported client.
pub(crate) fn convert_client(row: &Row, rules: &ClientRules) -> Conversion<Client> {
    let is_costly = |client: &Client| client.secrets.iter().any(ClientSecret::is_costly);
    let mut conversion = convert(row, "client_id", ("secrets", is_costly), |client: &Client| {
        let mut problems = as_text(&rules.problems(client));
        if !client.secrets.iter().all(ClientSecret::is_verifiable) {
            problems.push("secrets: a hash has an unknown form or is too costly to verify".into());
        }
        let ids: Vec<&str> = client.secrets.iter().map(|secret| secret.id.as_str()).collect();
        if ids.iter().enumerate().any(|(at, id)| !is_secret_id(id) || ids[..at].contains(id)) {
            problems.push("secrets: an id is given twice, or is not 1 to 64 of A-Z a-z 0-9 _ -".into());
        }
        let secret_times = client.secrets.iter().flat_map(|secret| [Some(secret.created), secret.expires]);
        if !secret_times.flatten().chain([client.created, client.updated]).all(is_representable) {
            problems.push("created, updated, expires: beyond the year 9999".into());
        }
        problems
    });
    if let Some(new) = &conversion.record {
        conversion.losses.extend(rules.large_token(&new.record).map(large_token_warning));
    }
    conversion
}

/// Converts an exported user or operator.
pub(super) fn convert_principal(
    row: &Row,
    is_of_kind: impl Fn(&PrincipalKey) -> bool,
) -> Conversion<Principal> {
    let costly = ("password_hash", Principal::has_costly_password);
    let mut conversion = convert(row, "principal", costly, |principal: &Principal| {
        let mut problems = as_text(&principal.problems());
        let key = PrincipalKey::parse(&principal.key());
        let is_right = key.is_some_and(|key| {
            is_of_kind(&key)
                && Username::parse(key.username()).is_ok_and(|username| username.as_str() == key.username())
        });
        if !is_right {
            problems
                .push("principal: not a key of this kind, user#BRAND#USERNAME or operator#USERNAME".into());
        }
        if !principal.has_generated_id() {
            problems.push(
                "id: not a generated one, which is usr_ (a user) or opr_ (an operator) and 22 characters; import the \
                 person from a CSV, which gives a new id"
                    .into(),
            );
        }
        if ![principal.created, principal.updated, principal.sessions_valid_from]
            .into_iter()
            .all(is_representable)
        {
            problems.push("created, updated, sessions_valid_from: beyond the year 9999".into());
        }
        if !principal.has_verifiable_password() {
            problems.push("password_hash: has an unknown form or is too costly to verify".into());
        }
        problems
    });
    if let Some(new) = &mut conversion.record {
        new.given_id = Some(new.record.id.clone());
    }
    conversion
}

fn as_text(problems: &[RecordProblem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// Returns true for ids as they are generated, or as a person might choose them. They are used in
/// lists, logs and commands.
fn is_secret_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// Returns true if the time can be shown.
fn is_representable(at: Timestamp) -> bool {
    i64::try_from(at.millis()).is_ok_and(|millis| jiff::Timestamp::from_millisecond(millis).is_ok())
}

fn convert<R: DeserializeOwned + Serialize>(
    row: &Row,
    key: &str,
    (hashes, is_costly): (&str, impl Fn(&R) -> bool),
    problems: impl Fn(&R) -> Vec<String>,
) -> Conversion<R> {
    let mut conversion = Conversion::new(row.columns.get(key).and_then(Value::as_str).unwrap_or_default());
    match typed_json::from_object::<R>(&row.columns) {
        Ok(record) => {
            conversion.reasons = problems(&record);
            if is_costly(&record) {
                conversion.losses.push(format!("{hashes}: {COSTLY}"));
            }
            let kept = serde_json::to_value(&record).unwrap_or_default();
            for member in row.columns.keys().filter(|member| kept.get(member.as_str()).is_none()) {
                conversion.drop_value(member, "not a member of such a record");
            }
            conversion.record = Some(NewRecord { record, credential: None, given_id: None });
        }
        Err(error) => {
            conversion.reasons.push(format!("not a record as `export` writes it: {error}"));
        }
    }
    conversion
}
