//! `POST /oauth/revoke` (RFC 7009).

use super::{Granted, Request, Response, serve};
use crate::audit::Event;
use crate::issuer::Issuer;

/// Revokes the family of a refresh token. Its access tokens are verified offline and expire soon.
pub(super) async fn revoke(issuer: &Issuer, request: Request) -> Response {
    serve("revoke", issuer, request, async |client, _, mut form, cx| {
        let token = form.require("token", "token is missing")?;
        let revoked = issuer.grants().revoke(client, &token, cx).await?;
        // RFC 7009 section 2.2 leaves the body to the server: an empty object.
        Ok(Granted { event: revoked.then_some(Event::Revoked), json: "{}".to_owned() })
    })
    .await
}
