//! The four grants, one file each.

mod client_credentials;
mod operator_password;
mod password;
mod refresh_token;

pub(crate) use client_credentials::authorize_for;
pub(crate) use refresh_token::check_session;

use std::borrow::Cow;

use crate::Issuer;
use crate::audit_events as audit;
use crate::authn::client::AuthenticatedClient;
use crate::authn::hashing_pool::Turn;
use crate::credentials::client_secret::Secret;
use crate::credentials::password as passwords;
use crate::records::brand;
use crate::records::client::{Client, GrantType};
use crate::records::principal::{self, Principal, PrincipalKey};
use crate::records::scope::Scope;
use crate::request::error::{GrantRefusal, OAuthError};
use crate::request::form::Form;
use crate::tokens::access::Authorization;
use crate::tokens::refresh::Login;

impl Issuer {
    /// What the client is granted for this request.
    pub(crate) async fn authorize<'client>(
        &self,
        client: &'client AuthenticatedClient,
        grant_type: &str,
        form: &mut Form<'_>,
    ) -> Result<Authorization<'client>, OAuthError> {
        let grant: GrantType = grant_type.parse().map_err(|_| OAuthError::UnsupportedGrantType)?;
        audit::asked_for(grant);
        if !client.grant_types.contains(&grant) {
            return Err(OAuthError::UnauthorizedClient);
        }
        // What a wait for DynamoDB takes room for is boxed wherever most requests have none: each request would carry it
        // along otherwise, and move it about four times.
        match grant {
            GrantType::ClientCredentials => client_credentials::authorize(self, client, form).await,
            GrantType::Password => Box::pin(password::authorize(self, client, form)).await,
            GrantType::OperatorPassword => Box::pin(operator_password::authorize(self, client, form)).await,
            GrantType::RefreshToken => Box::pin(refresh_token::authorize(self, client, form)).await,
        }
    }
}

/// What a request asks for beside its subject, checked against the client.
struct Terms<'client> {
    brand_key: Option<Cow<'client, str>>,
    scope: Scope,
    audience: &'client str,
}

impl<'client> Terms<'client> {
    fn of(client: &'client Client, form: &mut Form<'_>) -> Result<Self, OAuthError> {
        let brand_key = brand::choose(&client.brands, form.take("brandKey"))?;
        audit::at_brand(brand_key.as_deref());
        let scope = match requested_scope(form)? {
            None => Scope::of(client.default_scopes()),
            Some(scope) if scope.is_within(&client.scopes) => scope,
            Some(_) => {
                return Err(OAuthError::InvalidScope("a scope is not one that the client may ask for"));
            }
        };
        let audience = match form.take("resource") {
            Some(resource) => {
                let known = client.audiences.iter().find(|audience| **audience == resource);
                known.ok_or(OAuthError::InvalidTarget)?
            }
            None => client
                .audiences
                .first()
                .ok_or_else(|| OAuthError::Defect(format!("client {} has no audience", client.client_id)))?,
        };
        Ok(Self { brand_key, scope, audience })
    }
}

fn requested_scope(form: &mut Form<'_>) -> Result<Option<Scope>, OAuthError> {
    let requested = form.take("scope").map(|value| Scope::parse(&value)).transpose();
    requested.map_err(|_| OAuthError::InvalidScope("scope is not a list of scope tokens, or too long a one"))
}

/// What both password grants ask for.
struct LoginForm<'client> {
    username: String,
    password: Secret,
    terms: Terms<'client>,
}

impl<'client> LoginForm<'client> {
    fn read(client: &'client Client, form: &mut Form<'_>) -> Result<Self, OAuthError> {
        Ok(Self {
            username: form.require("username", "username is missing")?.into_owned(),
            password: Secret::given(form.require("password", "password is missing")?.into_owned()),
            terms: Terms::of(client, form)?,
        })
    }

    /// The principal of that name and password; `key` makes a record's key of a username. The guess is counted before
    /// anything is read or hashed, and whatever is wrong with the name costs the time of a wrong password.
    async fn log_in(
        &self,
        issuer: &Issuer,
        client: &AuthenticatedClient,
        key: impl FnOnce(String) -> PrincipalKey,
    ) -> Result<(PrincipalKey, Principal), OAuthError> {
        // What cannot be a username is nobody's, and counted by what was typed.
        let (is_username, username) = match principal::username(&self.username) {
            Ok(username) => (true, username),
            Err(_) => (false, self.username.clone()),
        };
        let key = key(username);
        let turn = issuer.authentication.hashing_pool.turn().await?;
        let reservation = issuer
            .authentication
            .throttle
            .reserve_for_principal(&key.to_string(), client.source_address())
            .await?;
        let judged = self.judge(issuer, &turn, is_username.then_some(&key)).await;
        if !matches!(judged, Ok(Err(_))) {
            issuer.authentication.throttle.release(reservation).await;
        }
        match judged? {
            Ok(principal) => Ok((key, principal)),
            Err(refusal) => {
                audit::login_refused(&self.username, refusal);
                Err(OAuthError::InvalidGrant(refusal))
            }
        }
    }

    async fn judge(
        &self,
        issuer: &Issuer,
        turn: &Turn,
        key: Option<&PrincipalKey>,
    ) -> Result<Result<Principal, GrantRefusal>, OAuthError> {
        let principal = match key {
            Some(key) => issuer.principals.get(&key.to_string()).await?,
            None => None,
        };
        let password = Secret::given(self.password.expose().to_owned());
        let hash = move || {
            let Some(principal) = principal else {
                passwords::verify_stand_in(password.expose());
                return None;
            };
            Some((principal.has_password(password.expose()), principal))
        };
        Ok(match turn.run(hash).await? {
            None => Err(GrantRefusal::UnknownPrincipal),
            Some((false, _)) => Err(GrantRefusal::WrongPassword),
            Some((true, principal)) if !principal.enabled => Err(GrantRefusal::Disabled),
            Some((true, principal)) if !principal.serves(self.terms.brand_key.as_deref()) => {
                Err(GrantRefusal::OperatorOutsideBrand)
            }
            Some((true, principal)) => Ok(principal),
        })
    }
}

/// The tokens of somebody who has logged in: with a refresh token where the client may use one.
fn authorize_login<'client>(
    issuer: &Issuer,
    client: &'client AuthenticatedClient,
    key: PrincipalKey,
    principal: Principal,
    terms: Terms<'client>,
) -> Result<Authorization<'client>, OAuthError> {
    let refresh = if client.grant_types.contains(&GrantType::RefreshToken) {
        let login = Login {
            principal: &principal,
            brand_key: terms.brand_key.as_deref(),
            scope: &terms.scope,
            resource: terms.audience,
        };
        Some(issuer.first_refresh_token(client, &login)?)
    } else {
        None
    };
    Ok(Authorization {
        sub: principal.id.into(),
        roles: principal.roles.into(),
        operator: operator_claim(key),
        brand_key: terms.brand_key,
        scope: terms.scope,
        audience: terms.audience.into(),
        refresh,
        key: None,
    })
}

/// The `operator` claim: an operator's username; a user has none.
fn operator_claim<'any>(key: PrincipalKey) -> Option<Cow<'any, str>> {
    match key {
        PrincipalKey::User { .. } => None,
        PrincipalKey::Operator { username } => Some(username.into()),
    }
}
