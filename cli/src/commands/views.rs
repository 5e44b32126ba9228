//! Records as the commands show them: times as text, secrets and passwords without their hashes.

use countersign_issuer::credentials::ClientSecret;
use countersign_issuer::records::{Client, Principal, PrincipalKey};
use countersign_issuer::store::Record;
use serde_json::{Value, json};

use crate::output::format_time;

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
        "refresh_idle": client.refresh_idle,
        "max_login_failures": client.max_login_failures,
        "username_claim": client.username_claim,
        "typ": client.typ,
        "secrets": secrets,
        "created": format_time(client.created),
        "updated": format_time(client.updated),
        "version": client.version,
    })
}

pub(super) fn secret(secret: &ClientSecret) -> Value {
    json!({
        "id": secret.id,
        "kind": secret.scheme(),
        "created": format_time(secret.created),
        "expires": secret.expires.map(format_time),
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
        "sessions_valid_from": format_time(principal.sessions_valid_from),
        "created": format_time(principal.created),
        "updated": format_time(principal.updated),
        "version": principal.version,
    })
}
