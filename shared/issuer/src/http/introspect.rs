//! `POST /oauth/introspect` (RFC 7662).

use countersign_verify::{Claims, JwkSet, Verifier};
use serde::Serialize;

use super::{Request, Response, serve};
use crate::Issuer;
use crate::audit_events as audit;
use crate::authn::client::AuthenticatedClient;
use crate::grants::check_session;
use crate::keys::Ring;
use crate::request::error::OAuthError;

/// RFC 7662 section 2.2.
#[derive(Serialize)]
struct Introspection {
    active: bool,
    #[serde(flatten)]
    claims: Option<ActiveToken>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ActiveToken {
    Access {
        token_type: &'static str,
        #[serde(flatten)]
        claims: Claims,
    },
    Refresh {
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

/// Says whether a token would be accepted now. A client is told of its own tokens and of access tokens meant for an
/// API that is among its audiences; any other token is simply not active (RFC 7662 section 2.2).
pub async fn introspect(issuer: &Issuer, request: Request) -> Response {
    serve("introspect", issuer, request, async |client, mut form| {
        let token = form.require("token", "token is missing")?;
        let claims = match access_token(issuer, client, &token).await? {
            Some(active) => Some(active),
            None => refresh_token(issuer, client, &token).await?,
        };
        let active = claims.is_some();
        audit::introspected(client, active);
        Ok(Introspection { active, claims })
    })
    .await
}

async fn access_token(
    issuer: &Issuer,
    client: &AuthenticatedClient,
    token: &str,
) -> Result<Option<ActiveToken>, OAuthError> {
    let verifier = Verifier::builder(issuer.url.as_str())
        // Whose token it is decides below, and the client asking is no API that would act on it.
        .dangerously_accept_any_audience()
        .accept_typ_jwt()
        // Those of the ring are handed over below.
        .keys(JwkSet::default())
        .clock(issuer.clock.clone())
        .build()
        .map_err(|error| OAuthError::Defect(error.to_string()))?;
    let verify = |ring: &Ring| verifier.verify_with(token, &ring.published(issuer.clock.now()));
    let (_, verified) = issuer.signer.ring().verify_against_ring(verify).await?;
    Ok(match verified {
        Ok(claims) if claims.client_id == client.client_id || client.audiences.contains(&claims.aud) => {
            Some(ActiveToken::Access { token_type: "Bearer", claims: Claims::clone(&claims) })
        }
        _ => None,
    })
}

async fn refresh_token(
    issuer: &Issuer,
    client: &AuthenticatedClient,
    token: &str,
) -> Result<Option<ActiveToken>, OAuthError> {
    let inactive = |error| match error {
        OAuthError::InvalidGrant(_) => Ok(None),
        error => Err(error),
    };
    let claims = match issuer.verify_refresh_token(token).await {
        Ok(claims) => claims,
        Err(error) => return inactive(error),
    };
    if let Err(error) = check_session(issuer, client, &claims).await {
        return inactive(error);
    }
    if !issuer.families.is_current(&claims).await? {
        return Ok(None);
    }
    Ok(Some(ActiveToken::Refresh {
        sub: claims.sub,
        client_id: claims.client_id,
        iat: claims.iat,
        exp: claims.exp,
        scope: claims.scope,
        brand_key: claims.brand_key,
    }))
}
