//! The four grants, one file each.

mod client_credentials;
mod holder;
mod login;
mod operator_password;
mod password;
mod refresh_token;
mod terms;

pub(crate) use client_credentials::without_operator;
pub(crate) use login::PasswordLogin;

use std::sync::Arc;

use countersign_verify::{Claims, Timestamp};

use crate::authn::client::AuthenticatedClient;
use crate::context::RequestContext;
use crate::grants::holder::Holders;
use crate::grants::terms::{Terms, operator_claim};
use crate::keys::{KeyError, Signer};
use crate::records::{Client, GrantType, Principal, PrincipalKey};
use crate::request::error::{GrantRefusal, OAuthError};
use crate::request::token_request::{Grant, TokenRequest};
use crate::store::Table;
use crate::store::cache::Cache;
use crate::tokens::access::{AccessTokens, Authorization, claims_to_be_access_token};
use crate::tokens::refresh::{RefreshClaims, RefreshTokens, Session};

/// Decides token requests and issues the tokens.
#[derive(Debug)]
pub(crate) struct Grants {
    /// Operators on whose behalf clients act. A principal that logs in or refreshes is read from its table instead.
    operators: Arc<Cache<Principal>>,
    principals: Table<Principal>,
    holders: Holders,
    login: PasswordLogin,
    signer: Signer,
    access_tokens: AccessTokens,
    refresh_tokens: RefreshTokens,
}

impl Grants {
    pub(crate) fn new(
        clients: Arc<Cache<Client>>,
        operators: Cache<Principal>,
        principals: Table<Principal>,
        login: PasswordLogin,
        signer: Signer,
        access_tokens: AccessTokens,
        refresh_tokens: RefreshTokens,
    ) -> Self {
        let operators = Arc::new(operators);
        let holders = Holders::new(clients, Arc::clone(&operators), principals.clone());
        Self { operators, principals, holders, login, signer, access_tokens, refresh_tokens }
    }

    /// Issues the tokens of a request, and returns the response as JSON.
    pub(crate) async fn issue(
        &self,
        client: &AuthenticatedClient,
        request: &TokenRequest,
        cx: &mut RequestContext,
    ) -> Result<String, OAuthError> {
        // Futures that wait for DynamoDB are large. They are boxed where most requests have none, or each request
        // would carry and move their space.
        let authorization = match &request.grant {
            Grant::ClientCredentials { operator } => {
                client_credentials::authorize(&self.operators, client, operator.as_ref(), request, cx).await?
            }
            Grant::Password(login) => {
                let terms = Terms::new(client, request, cx)?;
                let (key, user) = Box::pin(password::log_in(&self.login, login, client, &terms, cx)).await?;
                self.authorize_login(client, key, user, terms, cx)?
            }
            Grant::OperatorPassword(login) => {
                let terms = Terms::new(client, request, cx)?;
                let (key, operator) =
                    Box::pin(operator_password::log_in(&self.login, login, client, &terms, cx)).await?;
                self.authorize_login(client, key, operator, terms, cx)?
            }
            Grant::RefreshToken { refresh_token } => {
                return Box::pin(self.refresh(client, refresh_token.expose(), request, cx)).await;
            }
        };
        let key = self.signer.signing_key(cx.now).await?;
        let issued = self.access_tokens.issue(&key, client, authorization, cx.now.seconds())?;
        Ok(issued.record(client, client.secret(), cx))
    }

    /// Authorizes a login. A refresh token goes with it where the client may use one.
    fn authorize_login<'client>(
        &self,
        client: &'client AuthenticatedClient,
        key: PrincipalKey,
        principal: Principal,
        terms: Terms<'client>,
        cx: &RequestContext,
    ) -> Result<Authorization<'client>, OAuthError> {
        let refresh = if client.grant_types.contains(&GrantType::RefreshToken) {
            let session = Session {
                principal: &principal,
                brand_key: terms.brand_key.as_deref(),
                scope: &terms.scope,
                resource: terms.audience,
            };
            Some(self.refresh_tokens.first(client, &session, cx.now)?)
        } else {
            None
        };
        Ok(Authorization {
            sub: principal.id.into(),
            roles: principal.roles.into(),
            username: Some(key.username().to_owned().into()),
            operator: operator_claim(key),
            brand_key: terms.brand_key,
            scope: terms.scope,
            audience: terms.audience.into(),
            refresh,
        })
    }

    /// Refreshes. Everything that can fail comes before the conditional write, which uses the token up: the new tokens
    /// are signed and the response is rendered by then.
    async fn refresh(
        &self,
        client: &AuthenticatedClient,
        refresh_token: &str,
        request: &TokenRequest,
        cx: &mut RequestContext,
    ) -> Result<String, OAuthError> {
        let used = self.refresh_tokens.verify(self.signer.ring(), refresh_token, cx.now).await?;
        let successor = self.refresh_tokens.successor(client, &used, cx.now);
        let authorization =
            refresh_token::authorize(&self.principals, client, &used, successor, request, cx.now).await?;
        let key = self.signer.signing_key(cx.now).await?;
        let issued = self.access_tokens.issue(&key, client, authorization, cx.now.seconds())?;
        match self.refresh_tokens.redeem(&used).await {
            Ok(()) => Ok(issued.record(client, client.secret(), cx)),
            Err(error) => {
                if matches!(error, OAuthError::InvalidGrant(_)) {
                    record_refresh_token(&used, cx);
                }
                Err(error)
            }
        }
    }

    /// Revokes the family of a refresh token of this client, and reports whether there was anything to revoke: a token
    /// that is not valid is answered like one that was revoked (RFC 7009 section 2.2).
    pub(crate) async fn revoke(
        &self,
        client: &Client,
        token: &str,
        cx: &mut RequestContext,
    ) -> Result<bool, OAuthError> {
        // RFC 7009 section 2.1: a hint may be wrong, so the token itself decides.
        match self.refresh_tokens.verify(self.signer.ring(), token, cx.now).await {
            Ok(claims) if claims.client_id == client.client_id => {
                self.refresh_tokens.revoke(&claims, cx.now).await?;
                record_refresh_token(&claims, cx);
                Ok(true)
            }
            Ok(_) => Err(OAuthError::InvalidGrant(GrantRefusal::ForeignClient)),
            Err(OAuthError::InvalidGrant(_)) if claims_to_be_access_token(token) => {
                Err(OAuthError::UnsupportedTokenType)
            }
            Err(OAuthError::InvalidGrant(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Finds an access token that is valid now and that the client may see: its own, or one for an
    /// API among its audiences. A token whose client, user or operator is disabled is not found.
    pub(crate) async fn find_access_token(
        &self,
        client: &Client,
        token: &str,
        cx: &RequestContext,
    ) -> Result<Option<Claims>, OAuthError> {
        let verified = self.access_tokens.verify(self.signer.ring(), token, cx.now).await?;
        let may_see =
            |claims: &Claims| claims.client_id == client.client_id || client.audiences.contains(&claims.aud);
        let Some(claims) = verified.ok().filter(may_see) else { return Ok(None) };
        Ok(if self.holders.are_enabled(&claims).await? { Some(claims) } else { None })
    }

    /// Finds a refresh token of this client that could be used now.
    pub(crate) async fn find_refresh_token(
        &self,
        client: &Client,
        token: &str,
        cx: &RequestContext,
    ) -> Result<Option<RefreshClaims>, OAuthError> {
        let found = async {
            let mut claims = self.refresh_tokens.verify(self.signer.ring(), token, cx.now).await?;
            refresh_token::check_session(&self.principals, client, &claims, cx.now).await?;
            claims.exp = claims.expires(client);
            Ok(if self.refresh_tokens.is_current(&claims).await? { Some(claims) } else { None })
        };
        match found.await {
            Err(OAuthError::InvalidGrant(_)) => Ok(None),
            found => found,
        }
    }

    /// Opens the key that signs at `now`, so that an obstacle shows before the first request.
    pub(crate) async fn ready(&self, now: Timestamp) -> Result<(), KeyError> {
        self.signer.signing_key(now).await.map(|_| ())
    }
}

fn record_refresh_token(claims: &RefreshClaims, cx: &mut RequestContext) {
    cx.audit.sub = Some(claims.sub.clone());
    cx.audit.family = Some(claims.family.clone());
    cx.audit.generation = Some(claims.generation);
}
