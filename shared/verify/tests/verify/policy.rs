//! Policies: allowed and refused requests, invalid files, and spellings of paths.

mod decisions;
mod files;
mod properties;

use std::collections::BTreeMap;

use countersign_verify::Claims;

/// Returns a token's claims with this scope and these roles, for the brand acme.
fn claims(scope: &str, roles: &[&str]) -> Claims {
    Claims {
        iss: "https://issuer.example.com".into(),
        sub: "usr_1".into(),
        aud: "https://api.example.com".into(),
        exp: 1_800_000_060,
        iat: 1_800_000_000,
        jti: "j".into(),
        client_id: "svc".into(),
        scope: (!scope.is_empty()).then(|| scope.into()),
        roles: roles.iter().map(|&role| role.into()).collect(),
        operator: None,
        brand_key: Some("acme".into()),
        other: BTreeMap::default(),
    }
}
