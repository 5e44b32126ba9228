//! `password` (RFC 6749 section 4.3): a user of a brand.

use super::{LoginForm, authorize_login};
use crate::Issuer;
use crate::authn::client::AuthenticatedClient;
use crate::records::principal::PrincipalKey;
use crate::request::error::OAuthError;
use crate::request::form::Form;
use crate::tokens::access::Authorization;

pub(super) async fn authorize<'client>(
    issuer: &Issuer,
    client: &'client AuthenticatedClient,
    form: &mut Form<'_>,
) -> Result<Authorization<'client>, OAuthError> {
    let login = LoginForm::read(client, form)?;
    let Some(brand) = login.terms.brand_key.as_deref().map(str::to_owned) else {
        return Err(OAuthError::InvalidRequest("users belong to a brand, and the client has none"));
    };
    let (key, user) = login.log_in(issuer, client, |username| PrincipalKey::User { brand, username }).await?;
    authorize_login(issuer, client, key, user, login.terms)
}
