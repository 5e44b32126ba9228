//! The token request (RFC 6749 section 3.2): a form, parsed into values.

use crate::audit::Record;
use crate::credentials::Secret;
use crate::records::brand::BrandKey;
use crate::records::client::GrantType;
use crate::records::principal::Username;
use crate::records::scope::Scope;
use crate::request::credentials::PresentedCredentials;
use crate::request::error::OAuthError;
use crate::request::form::Form;
use crate::request::secrets::RequestSecrets;

/// The parsed request of an authenticated client.
#[derive(Debug)]
pub(crate) struct TokenRequest {
    /// The grant, with its own parameters.
    pub(crate) grant: Grant,
    /// The scope; the client's default where omitted.
    pub(crate) scope: Option<Scope>,
    /// The API that the token is for: `resource` (RFC 8707), or `audience`, as clients of other servers call it. The
    /// client's first audience where omitted.
    pub(crate) resource: Option<String>,
    /// The brand.
    pub(crate) brand: Option<BrandKey>,
}

/// A grant and its parameters.
#[derive(Debug)]
pub(crate) enum Grant {
    /// RFC 6749 section 4.4, on behalf of an operator where one is named.
    ClientCredentials { operator: Option<PresentedUsername> },
    /// RFC 6749 section 4.3: a user of a brand.
    Password(Login),
    /// The password grant for an operator.
    OperatorPassword(Login),
    /// RFC 6749 section 6.
    RefreshToken { refresh_token: Secret },
}

/// A username and a password.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) username: PresentedUsername,
    pub(crate) password: Secret,
}

/// A username as it was sent, and the username that it is, where it can be one.
#[derive(Debug)]
pub(crate) struct PresentedUsername {
    pub(crate) sent: String,
    pub(crate) username: Option<Username>,
}

impl PresentedUsername {
    fn new(sent: String) -> Self {
        Self { username: Username::parse(&sent).ok(), sent }
    }
}

impl TokenRequest {
    /// Parses the parameters of a grant that the client may use. A value that is refused goes into the audit record.
    pub(crate) fn parse(
        grant: GrantType,
        form: &mut Form<'_>,
        presented: &PresentedCredentials,
        audit: &mut Record,
    ) -> Result<Self, OAuthError> {
        let grant = Grant::parse(grant, form)?;
        let secrets = RequestSecrets::new(presented, grant.password());
        let brand = match form.take("brandKey") {
            Some(brand) => Some(BrandKey::parse(&brand).map_err(|_| {
                audit.requested_brand = Some(secrets.loggable(&brand));
                BRAND_NOT_ALLOWED
            })?),
            None => None,
        };
        let scope = match form.take("scope") {
            Some(scope) => Some(Scope::parse(&scope).map_err(|malformed| {
                audit.requested_scope = Some(secrets.loggable(&scope));
                OAuthError::InvalidScope(malformed.text())
            })?),
            None => None,
        };
        let resource = match (form.take("resource"), form.take("audience")) {
            (Some(resource), Some(audience)) if resource != audience => {
                audit.requested_resource = Some(secrets.loggable(&format!("{resource} {audience}")));
                return Err(OAuthError::InvalidTarget("resource and audience differ: send one of them"));
            }
            (resource, audience) => resource.or(audience).map(Into::into),
        };
        Ok(Self { grant, scope, resource, brand })
    }

    /// Records what was asked for. The record of a refusal says what the client may not have.
    pub(crate) fn record_requested(&self, presented: &PresentedCredentials, audit: &mut Record) {
        let secrets = RequestSecrets::new(presented, self.grant.password());
        let loggable = |value: &str| secrets.loggable(value);
        audit.requested_scope = self.scope.as_ref().and_then(Scope::as_member).map(loggable);
        audit.requested_brand = self.brand.as_ref().map(|brand| loggable(brand.as_str()));
        audit.requested_resource = self.resource.as_deref().map(loggable);
    }

    /// The request of a client that names no more than an API: HTTP Basic at the authorizer.
    pub(crate) fn for_resource(resource: &str) -> Self {
        Self {
            grant: Grant::ClientCredentials { operator: None },
            scope: None,
            resource: Some(resource.to_owned()),
            brand: None,
        }
    }
}

impl Grant {
    fn parse(grant: GrantType, form: &mut Form<'_>) -> Result<Self, OAuthError> {
        Ok(match grant {
            GrantType::ClientCredentials => Self::ClientCredentials {
                operator: form.take("operator").map(|sent| PresentedUsername::new(sent.into_owned())),
            },
            GrantType::Password => Self::Password(Login::parse(form)?),
            GrantType::OperatorPassword => Self::OperatorPassword(Login::parse(form)?),
            GrantType::RefreshToken => Self::RefreshToken {
                refresh_token: Secret::from_string(
                    form.require("refresh_token", "refresh_token is missing")?.into_owned(),
                ),
            },
        })
    }

    fn password(&self) -> Option<&Secret> {
        match self {
            Self::Password(login) | Self::OperatorPassword(login) => Some(&login.password),
            Self::ClientCredentials { .. } | Self::RefreshToken { .. } => None,
        }
    }
}

impl Login {
    fn parse(form: &mut Form<'_>) -> Result<Self, OAuthError> {
        let username = form.require("username", "username is missing")?.into_owned();
        let password = form.require("password", "password is missing")?.into_owned();
        Ok(Self { username: PresentedUsername::new(username), password: Secret::from_string(password) })
    }
}

/// No client has a malformed brand among its brands.
pub(crate) const BRAND_NOT_ALLOWED: OAuthError =
    OAuthError::InvalidRequest("brandKey is not one of the client's brands");
pub(crate) const RESOURCE_NOT_ALLOWED: OAuthError =
    OAuthError::InvalidTarget("the resource is not one that the client may name");
