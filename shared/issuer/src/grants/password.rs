//! `password` (RFC 6749 section 4.3): a user of a brand.

use super::{Terms, authorize_login, log_in, refuse_unknown};
use crate::Issuer;
use crate::authenticate::AuthenticatedClient;
use crate::client::GrantType;
use crate::error::OAuthError;
use crate::form::Form;
use crate::mint::Authorization;
use crate::principal::{self, PrincipalKey};

pub(super) async fn authorize(
    issuer: &Issuer,
    client: &AuthenticatedClient,
    form: &mut Form,
) -> Result<Authorization, OAuthError> {
    let typed = form.require("username", "username is missing")?;
    let password = form.require("password", "password is missing")?;
    let terms = Terms::of(client, form)?;
    let Some(brand) = terms.brand_key.clone() else {
        return Err(OAuthError::InvalidRequest(
            "users belong to a brand, and the client has none",
        ));
    };
    let Ok(username) = principal::username(&typed) else {
        return Err(refuse_unknown(&password));
    };
    let key = PrincipalKey::User { brand, username };
    let user = log_in(issuer, &key, &password).await?;
    authorize_login(issuer, client, GrantType::Password, &key, user, terms)
}
