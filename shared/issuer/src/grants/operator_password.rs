//! `operator_password`, an extension grant (RFC 6749 section 4.5): an operator who serves the brand.

use super::{Terms, authorize_login, log_in, refuse_unknown};
use crate::Issuer;
use crate::authenticate::AuthenticatedClient;
use crate::client::GrantType;
use crate::error::{GrantRefusal, OAuthError};
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
    let Ok(username) = principal::username(&typed) else {
        return Err(refuse_unknown(&password));
    };
    let key = PrincipalKey::Operator { username };
    let operator = log_in(issuer, &key, &password).await?;
    if !terms
        .brand_key
        .as_deref()
        .is_none_or(|brand| operator.serves(brand))
    {
        return Err(OAuthError::InvalidGrant(GrantRefusal::OperatorOutsideBrand));
    }
    authorize_login(issuer, client, GrantType::OperatorPassword, &key, operator, terms)
}
