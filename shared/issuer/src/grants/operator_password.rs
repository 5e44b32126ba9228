//! `operator_password`, an extension grant (RFC 6749 section 4.5): an operator who serves the brand.

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
    let (key, operator) =
        login.log_in(issuer, client, |username| PrincipalKey::Operator { username }).await?;
    authorize_login(issuer, client, key, operator, login.terms)
}
