//! `POST /oauth/revoke` (RFC 7009).

use countersign_verify::jws;
use serde::Serialize;

use super::{Request, Response, serve};
use crate::Issuer;
use crate::audit_events as audit;
use crate::request::error::{GrantRefusal, OAuthError};

/// An empty object: RFC 7009 section 2.2 leaves the body to us.
#[derive(Serialize)]
struct Revoked {}

/// Ends the family of a refresh token, its access tokens excepted: those are verified offline and expire soon.
/// A token that is no good, whatever the reason, is answered like one that was revoked (RFC 7009 section 2.2).
pub async fn revoke(issuer: &Issuer, request: Request) -> Response {
    serve("revoke", issuer, request, async |client, mut form| {
        let token = form.require("token", "token is missing")?;
        // RFC 7009 section 2.1: a hint may be wrong, and what the token is shows in the token.
        match issuer.verify_refresh_token(&token).await {
            Ok(claims) if claims.client_id == client.client_id => {
                issuer.families.revoke(&claims, issuer.clock.now()).await?;
                audit::revoked(&claims);
                Ok(Revoked {})
            }
            Ok(_) => Err(OAuthError::InvalidGrant(GrantRefusal::ForeignClient)),
            Err(OAuthError::InvalidGrant(_)) if claims_to_be_an_access_token(&token) => {
                Err(OAuthError::UnsupportedTokenType)
            }
            Err(OAuthError::InvalidGrant(_)) => Ok(Revoked {}),
            Err(error) => Err(error),
        }
    })
    .await
}

/// Only decides which of two harmless answers a client gets, so nothing is verified.
fn claims_to_be_an_access_token(token: &str) -> bool {
    jws::decode_unverified(token).is_ok_and(|(header, _)| header["typ"] == "at+jwt" || header["typ"] == "JWT")
}
