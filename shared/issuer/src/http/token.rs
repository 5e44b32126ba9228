//! `POST /oauth/token` and `POST /oauth/refresh` (RFC 6749 section 3.2).

use super::{Request, Response, serve};
use crate::Issuer;
use crate::records::client::GrantType;
use crate::request::error::OAuthError;

/// All four grants.
pub async fn token(issuer: &Issuer, request: Request) -> Response {
    serve("token", issuer, request, async |client, mut form| {
        let grant_type = form.require("grant_type", "grant_type is missing")?;
        let authorization = issuer.authorize(client, &grant_type, &mut form).await?;
        issuer.mint(client, authorization).await
    })
    .await
}

/// The refresh grant alone, so that a stampede of refreshes has its own function; `grant_type` may be left out.
pub async fn refresh(issuer: &Issuer, request: Request) -> Response {
    serve("refresh", issuer, request, async |client, mut form| {
        let only = GrantType::RefreshToken.as_str();
        if form.take("grant_type").is_some_and(|named| named != only) {
            return Err(OAuthError::UnsupportedGrantType);
        }
        let authorization = issuer.authorize(client, only, &mut form).await?;
        issuer.mint(client, authorization).await
    })
    .await
}
