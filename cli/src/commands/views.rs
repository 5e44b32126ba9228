//! Records as the commands show them: times as text, secrets and passwords without their hashes.

use countersign_issuer::credentials::ClientSecret;
use countersign_issuer::records::{Client, Principal, PrincipalKey};
use countersign_issuer::store::Record;
use serde_json::{Value, json};

use crate::output::moment;

pub(super) fn client(client: &Client) -> Value {
    let secrets: Vec<Value> = client.secrets.iter().map(secret).collect();
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
        "access_ttl": client.access_ttl,
        "refresh_ttl": client.refresh_ttl,
        "typ": client.typ,
        "secrets": secrets,
        "created": moment(client.created),
        "updated": moment(client.updated),
        "version": client.version,
    })
}

pub(super) fn secret(secret: &ClientSecret) -> Value {
    json!({
        "id": secret.id,
        "kind": secret.scheme(),
        "created": moment(secret.created),
        "expires": secret.expires.map(moment),
    })
}

pub(super) fn principal(principal: &Principal) -> Value {
    let key = principal.key();
    json!({
        "username": PrincipalKey::parse(&key).map(|key| key.username().to_owned()),
        "id": principal.id,
        "brands": principal.brands,
        "roles": principal.roles,
        "enabled": principal.enabled,
        "sessions_valid_from": moment(principal.sessions_valid_from),
        "created": moment(principal.created),
        "updated": moment(principal.updated),
        "version": principal.version,
    })
}
