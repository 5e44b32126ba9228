//! `operator_password`, an extension grant (RFC 6749 section 4.5): an operator who serves the brand.

use crate::context::RequestContext;
use crate::grants::login::PasswordLogin;
use crate::grants::terms::Terms;
use crate::records::{Client, Principal, PrincipalKey};
use crate::request::error::OAuthError;
use crate::request::token_request::Login;

/// Logs an operator in.
pub(super) async fn log_in(
    logins: &PasswordLogin,
    login: &Login,
    client: &Client,
    terms: &Terms<'_>,
    cx: &mut RequestContext,
) -> Result<(PrincipalKey, Principal), OAuthError> {
    let key = |username| PrincipalKey::Operator { username };
    logins.log_in(login, client, terms.brand_key.as_deref(), key, cx).await
}
