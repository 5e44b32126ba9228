//! `password` (RFC 6749 section 4.3): a user of a brand.

use crate::context::RequestContext;
use crate::grants::login::PasswordLogin;
use crate::grants::terms::Terms;
use crate::records::{Client, Principal, PrincipalKey};
use crate::request::error::OAuthError;
use crate::request::token_request::Login;

/// Logs a user of the brand in.
pub(super) async fn log_in(
    logins: &PasswordLogin,
    login: &Login,
    client: &Client,
    terms: &Terms<'_>,
    cx: &mut RequestContext,
) -> Result<(PrincipalKey, Principal), OAuthError> {
    let Some(brand) = terms.brand_key.as_deref() else {
        return Err(OAuthError::InvalidRequest("users belong to a brand, and the client has none"));
    };
    let key = |username| PrincipalKey::User { brand: brand.to_owned(), username };
    logins.log_in(login, client, Some(brand), key, cx).await
}
