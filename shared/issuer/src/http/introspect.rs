//! `POST /oauth/introspect` (RFC 7662).

use countersign_verify::Claims;
use serde::Serialize;

use super::{Granted, Request, Response, serve};
use crate::audit::Event;
use crate::issuer::Issuer;
use crate::tokens::refresh::RefreshClaims;

/// RFC 7662 section 2.2.
#[derive(Serialize)]
struct Introspection {
    active: bool,
    #[serde(flatten)]
    token: Option<ActiveToken>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ActiveToken {
    Access {
        token_use: &'static str,
        token_type: &'static str,
        #[serde(flatten)]
        claims: Claims,
    },
    Refresh {
        token_use: &'static str,
        iss: String,
        sub: String,
        client_id: String,
        iat: u64,
        exp: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        scope: Option<String>,
        #[serde(rename = "brandKey", skip_serializing_if = "Option::is_none")]
        brand_key: Option<String>,
    },
}

impl From<RefreshClaims> for ActiveToken {
    fn from(claims: RefreshClaims) -> Self {
        let RefreshClaims { iss, sub, client_id, iat, exp, scope, brand_key, .. } = claims;
        Self::Refresh { token_use: "refresh_token", iss, sub, client_id, iat, exp, scope, brand_key }
    }
}

/// Reports whether a token would be accepted now. A client sees its own tokens, and access tokens for
/// an API that is among its audiences; every other token is not active (RFC 7662 section 2.2).
///
/// A refresh token is active only where the hint says `refresh_token`, which departs from RFC 7662
/// section 2.1: an API that introspects as the client that logs users in would take one for an access
/// token otherwise.
pub(super) async fn introspect(issuer: &Issuer, request: Request) -> Response {
    serve("introspect", issuer, request, async |client, _, mut form, cx| {
        let token = form.require("token", "token is missing")?;
        let hint = form.take("token_type_hint");
        let found = match issuer.grants().find_access_token(client, &token, cx).await? {
            Some(claims) => {
                Some(ActiveToken::Access { token_use: "access_token", token_type: "Bearer", claims })
            }
            None if hint.is_some_and(|hint| hint == "refresh_token") => {
                issuer.grants().find_refresh_token(client, &token, cx).await?.map(Into::into)
            }
            None => None,
        };
        let active = found.is_some();
        cx.audit.active = Some(active);
        let json = serde_json::to_string(&Introspection { active, token: found })?;
        Ok(Granted { event: Some(Event::Introspected), json })
    })
    .await
}
