//! A login with a username and a password, for both password grants.

use std::sync::Arc;

use crate::audit;
use crate::authn::hashing_pool::{HashingPermit, HashingPool};
use crate::authn::throttle::LoginThrottle;
use crate::context::RequestContext;
use crate::credentials::password as passwords;
use crate::records::{Principal, PrincipalKey};
use crate::request::error::{GrantRefusal, OAuthError};
use crate::request::token_request::Login;
use crate::store::Table;

/// Verifies usernames and passwords.
#[derive(Debug)]
pub(crate) struct PasswordLogin {
    principals: Table<Principal>,
    throttle: Arc<LoginThrottle>,
    hashing: Arc<HashingPool>,
}

impl PasswordLogin {
    pub(crate) fn new(
        principals: Table<Principal>,
        throttle: Arc<LoginThrottle>,
        hashing: Arc<HashingPool>,
    ) -> Self {
        Self { principals, throttle, hashing }
    }

    /// Logs a principal in; `key` makes the record's key from a username. The guess is counted before anything is read
    /// or hashed, and an unknown or impossible username takes as long as a wrong password.
    pub(super) async fn log_in(
        &self,
        login: &Login,
        brand_key: Option<&str>,
        key: impl FnOnce(String) -> PrincipalKey,
        cx: &mut RequestContext,
    ) -> Result<(PrincipalKey, Principal), OAuthError> {
        // A text that cannot be a username is counted as it was sent.
        let username = &login.username;
        let key = key(username.username.as_ref().map_or(&*username.sent, |known| known.as_str()).to_owned());
        let permit = self.hashing.acquire().await?;
        let reservation = self.throttle.reserve_for_principal(&key.to_string(), cx).await?;
        let looked_up = username.username.is_some().then_some(&key);
        let checked = self.check(&permit, login, looked_up, brand_key).await;
        if !matches!(checked, Ok(Err(_))) {
            self.throttle.release(reservation).await;
        }
        match checked? {
            Ok(principal) => Ok((key, principal)),
            Err(refusal) => {
                if refusal != GrantRefusal::UnknownPrincipal {
                    cx.audit.username = Some(audit::bounded(&login.username.sent));
                }
                Err(OAuthError::InvalidGrant(refusal))
            }
        }
    }

    /// Reads the principal and verifies its password.
    async fn check(
        &self,
        permit: &HashingPermit,
        login: &Login,
        key: Option<&PrincipalKey>,
        brand_key: Option<&str>,
    ) -> Result<Result<Principal, GrantRefusal>, OAuthError> {
        let principal = match key {
            Some(key) => self.principals.get(&key.to_string()).await?,
            None => None,
        };
        let password = login.password.clone();
        let hash = move || {
            let Some(principal) = principal else {
                passwords::verify_dummy(password.expose());
                return None;
            };
            Some((principal.has_password(password.expose()), principal))
        };
        Ok(match permit.run(hash).await? {
            None => Err(GrantRefusal::UnknownPrincipal),
            Some((false, _)) => Err(GrantRefusal::WrongPassword),
            Some((true, principal)) if !principal.enabled => Err(GrantRefusal::Disabled),
            Some((true, principal)) if !principal.serves(brand_key) => {
                Err(GrantRefusal::OperatorOutsideBrand)
            }
            Some((true, principal)) => Ok(principal),
        })
    }
}
