//! A login with a username and a password, for both password grants.

use std::sync::Arc;

use crate::audit;
use crate::authn::hashing_pool::{HashingPermit, HashingPool};
use crate::authn::throttle::{Guess, LoginThrottle, Verdict};
use crate::context::RequestContext;
use crate::credentials::password::DUMMY_HASH;
use crate::records::{Client, Principal, PrincipalKey};
use crate::request::error::{GrantRefusal, OAuthError};
use crate::request::token_request::Login;
use crate::store::{StoreError, Table};

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

    /// Logs a principal in through `client`; `key` makes the record's key from a username. The guess is counted before a
    /// password is hashed, and an unknown or impossible username takes as long as a wrong password.
    pub(super) async fn log_in(
        &self,
        login: &Login,
        client: &Client,
        brand_key: Option<&str>,
        key: impl FnOnce(String) -> PrincipalKey,
        cx: &mut RequestContext,
    ) -> Result<(PrincipalKey, Principal), OAuthError> {
        // A text that cannot be a username is counted as it was sent.
        let username = &login.username;
        let key = key(username.username.as_ref().map_or(&*username.sent, |known| known.as_str()).to_owned());
        let name = key.to_string();
        let looked_up = username.username.is_some().then_some(&*name);
        let guess = Guess { name: &name, secrets: vec![&login.password] };
        let permit = self.hashing.acquire().await?;
        let mut reservation = self.throttle.reserve_in_network(guess.clone(), cx).await?;
        let found = if let Some(session) = reservation.known_session() {
            let found = self.find(looked_up).await;
            let is_known = |found: &Found| found.as_ref().is_ok_and(|one| one.sessions_valid_from == session);
            if found.as_ref().is_ok_and(|found| !is_known(found)) {
                reservation = self.throttle.reserve_beyond_network(reservation, guess, client, cx).await?;
            }
            found
        } else {
            // Nothing is read before this: the time of a refusal must not tell whether there is such a principal.
            reservation = self.throttle.reserve_beyond_network(reservation, guess, client, cx).await?;
            self.find(looked_up).await
        };
        let verified = match found {
            Ok(found) => verify(&permit, login, found, brand_key).await,
            Err(error) => Err(error),
        };
        let verdict = match &verified {
            Ok(Ok(principal)) => Verdict::LoggedIn(principal.sessions_valid_from),
            Ok(Err(_)) => Verdict::Refused,
            Err(_) => Verdict::Unverified,
        };
        self.throttle.settle(reservation, verdict).await;
        match verified? {
            Ok(principal) => Ok((key, principal)),
            Err(refusal) => {
                if refusal != GrantRefusal::UnknownPrincipal {
                    cx.audit.username = Some(audit::bounded(&login.username.sent));
                }
                Err(OAuthError::InvalidGrant(refusal))
            }
        }
    }

    async fn find(&self, key: Option<&str>) -> Result<Found, OAuthError> {
        let Some(key) = key else { return Ok(Err(GrantRefusal::UnknownPrincipal)) };
        match self.principals.get(key).await {
            Ok(found) => Ok(found.ok_or(GrantRefusal::UnknownPrincipal)),
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(%error, "a login is refused because the record is broken");
                Ok(Err(GrantRefusal::BrokenRecord))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The principal, or the reason why there is none to log in.
type Found = Result<Principal, GrantRefusal>;

/// Verifies the password, and whether the principal may log in with it.
async fn verify(
    permit: &HashingPermit,
    login: &Login,
    found: Found,
    brand_key: Option<&str>,
) -> Result<Found, OAuthError> {
    let stored = found.as_ref().map_or(DUMMY_HASH, Principal::password_hash);
    let is_right = permit.verify(&login.password, stored).await?;
    Ok(found.and_then(|principal| {
        if !is_right {
            Err(GrantRefusal::WrongPassword)
        } else if !principal.enabled {
            Err(GrantRefusal::Disabled)
        } else if !principal.serves(brand_key) {
            Err(GrantRefusal::OperatorOutsideBrand)
        } else {
            Ok(principal)
        }
    }))
}
