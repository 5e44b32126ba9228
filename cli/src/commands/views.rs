//! Records as the commands show them: times as text, secrets and passwords without their hashes.

use countersign_issuer::credentials::ClientSecret;
use countersign_issuer::records::{Client, Principal, PrincipalKey};
use countersign_issuer::store::Record;
use countersign_verify::Timestamp;
use serde_json::{Value, json};

use crate::output::Output;

pub(super) fn client(client: &Client, output: &Output) -> Value {
    let secrets: Vec<Value> = client.secrets.iter().map(|one| secret_in_table(one, output)).collect();
    json!({
        "client_id": client.client_id,
        "name": client.name,
        "enabled": client.enabled,
        "grant_types": client.grant_types,
        "scopes": client.scopes,
        "default_scopes": client.default_scopes,
        "roles": client.roles,
        "brands": client.brands,
        "operators": client.operators,
        "require_operator": client.require_operator,
        "audiences": client.audiences,
        "access_ttl": output.lifetime(client.access_ttl),
        "refresh_ttl": output.lifetime(client.refresh_ttl),
        "refresh_idle": client.refresh_idle.map(|seconds| output.lifetime(seconds)),
        "max_login_failures": client.max_login_failures,
        "username_claim": client.username_claim,
        "typ": client.typ,
        "secrets": secrets,
        "created": output.time(client.created),
        "updated": output.time(client.updated),
        "version": client.version,
    })
}

/// A secret alone.
pub(super) fn secret(secret: &ClientSecret, output: &Output) -> Value {
    secret_with(secret, |at| output.time(at))
}

/// A secret as a row of a table.
pub(super) fn secret_in_table(secret: &ClientSecret, output: &Output) -> Value {
    secret_with(secret, |at| output.time_in_table(at))
}

fn secret_with(secret: &ClientSecret, time: impl Fn(Timestamp) -> String) -> Value {
    json!({
        "id": secret.id,
        "kind": secret.scheme(),
        "created": time(secret.created),
        "expires": secret.expires.map(time),
    })
}

pub(super) fn principal(principal: &Principal, output: &Output) -> Value {
    let key = principal.key();
    json!({
        "username": PrincipalKey::parse(&key).map(|key| key.username().to_owned()),
        "id": principal.id,
        "brands": principal.brands,
        "roles": principal.roles,
        "enabled": principal.enabled,
        "sessions_valid_from": output.time(principal.sessions_valid_from),
        "created": output.time(principal.created),
        "updated": output.time(principal.updated),
        "version": principal.version,
    })
}
