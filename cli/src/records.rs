//! The administration of clients and principals, without arguments and output: `commands` adds
//! those.

use std::collections::BTreeSet;
use std::time::Duration;

use countersign_issuer::credentials::{ClientSecret, Secret};
use countersign_issuer::keys::format_duration;
use countersign_issuer::records::{ANY_BRAND, Client, LargestToken, Principal, PrincipalKey, RecordProblem};
use countersign_issuer::store::{Record, StoreError, Table, WriteError};
use countersign_verify::Clock;

use crate::context::Context;
use crate::outcome::{AnyError, Invalid, NotFound, Outcome, RecordError, store_error, with_remedy};
use crate::suggestions::did_you_mean;

/// The most records that are read for a hint on a misspelt name. A table may have millions, and a
/// hint may miss one.
const MAX_READ_FOR_HINT: usize = 5_000;

/// The two kinds of principals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PrincipalKind {
    User,
    Operator,
}

impl PrincipalKind {
    pub(crate) fn matches(self, key: &PrincipalKey) -> bool {
        match key {
            PrincipalKey::User { .. } => self == Self::User,
            PrincipalKey::Operator { .. } => self == Self::Operator,
        }
    }
}

/// The records of a table that can be read, and an error that names the others.
pub(crate) struct Listing<R> {
    pub(crate) records: Vec<R>,
    pub(crate) unreadable: Outcome,
}

impl<R: Record> Listing<R> {
    /// Lists the records in the order of their keys.
    async fn read(table: &Table<R>) -> Outcome<Self> {
        let (mut records, mut problems) = (Vec::new(), Vec::new());
        for record in table.list().await? {
            match record {
                Ok(record) => records.push(record),
                Err(error) => problems.push(error.to_string()),
            }
        }
        records.sort_by_cached_key(Record::key);
        let unreadable = if problems.is_empty() { Ok(()) } else { Err(problems.join("\n").into()) };
        Ok(Self { records, unreadable })
    }
}

/// A record before and after a change.
pub(crate) struct Change<R> {
    pub(crate) before: R,
    pub(crate) after: R,
}

/// Returns a record that is about to be deleted, or none if it is there and cannot be read: deleting it
/// must work all the same.
pub(crate) fn if_readable<R>(found: Outcome<R>) -> Outcome<Option<R>> {
    match found {
        Err(error) if matches!(store_error(&*error), Some(StoreError::Corrupt { .. })) => Ok(None),
        found => found.map(Some),
    }
}

/// Describes a problem; a lifetime also in the largest units.
fn describe(problem: &RecordProblem) -> String {
    match problem {
        RecordProblem::LifetimeOutOfBounds { max, .. } => {
            format!("{problem} ({})", format_duration(Duration::from_secs(*max)))
        }
        _ => problem.to_string(),
    }
}

/// Rejects a record that breaks a rule, with all of its problems.
fn ensure_valid(problems: &[RecordProblem]) -> Outcome {
    if problems.is_empty() {
        return Ok(());
    }
    let problems: Vec<String> = problems.iter().map(describe).collect();
    Err(Invalid(format!("not stored:\n  {}", problems.join("\n  "))).into())
}

/// The clients of an issuer.
pub(crate) struct Clients<'a> {
    context: &'a Context,
    table: Table<Client>,
}

impl<'a> Clients<'a> {
    pub(crate) fn new(context: &'a Context) -> Self {
        Self { context, table: context.table() }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.context.clock
    }

    /// Says what is about to be changed.
    pub(crate) async fn announce(&self) {
        self.context.announcement.show().await;
    }

    pub(crate) async fn list(&self) -> Outcome<Listing<Client>> {
        Listing::read(&self.table).await
    }

    pub(crate) async fn find(&self, client_id: &str) -> Outcome<Client> {
        match self.table.get(client_id).await? {
            Some(client) => Ok(client),
            None => Err(self.unknown(client_id).await),
        }
    }

    async fn unknown(&self, client_id: &str) -> AnyError {
        let error = NotFound(format!("there is no client {client_id}; see `countersign client list`"));
        let known = self.table.list_some(MAX_READ_FOR_HINT).await.unwrap_or_default();
        with_remedy(error, did_you_mean(client_id, known.iter().map(|client| client.client_id.as_str())))
    }

    /// A client with defaults, not stored yet.
    pub(crate) fn draft(&self, client_id: String) -> Client {
        let (now, limits) = (self.context.clock.now(), self.context.client_rules().limits());
        let mut client = Client::new(client_id, now);
        client.access_ttl = client.access_ttl.min(limits.access);
        client.refresh_ttl = client.refresh_ttl.min(limits.refresh);
        client
    }

    /// Rejects a client that breaks a rule.
    pub(crate) fn ensure_valid(&self, client: &Client) -> Outcome {
        ensure_valid(&self.context.client_rules().problems(client))
    }

    /// Warnings of settings that no rule forbids and that are most likely mistakes: tokens that are
    /// too large for some servers, audiences that are no URI or differ in a slash, operators that do
    /// not exist, and brands that no other record has. Names that `before` has too are not looked up again.
    pub(crate) async fn warnings(&self, client: &Client, before: Option<&Client>) -> Vec<String> {
        let largest = self.context.client_rules().large_token(client);
        let mut warnings: Vec<String> = largest.map(large_token_warning).into_iter().collect();
        let is_new = |name: &&String, list: fn(&Client) -> &Vec<String>| {
            before.is_none_or(|before| !list(before).contains(*name))
        };
        let audiences: Vec<&String> =
            client.audiences.iter().filter(|name| is_new(name, |client| &client.audiences)).collect();
        warnings.extend(audience_warnings(&audiences, &client.audiences));
        let operators = client.operators.iter().filter(|name| is_new(name, |client| &client.operators));
        let principals = self.context.table::<Principal>();
        let operators: Vec<&String> = operators.collect();
        warnings.extend(operator_warnings(&operators, &principals).await.unwrap_or_default());
        let brands = client.brands.iter().filter(|name| is_new(name, |client| &client.brands));
        let brands: Vec<&String> = brands.filter(|brand| *brand != ANY_BRAND).collect();
        if !brands.is_empty() {
            let unknown = self.brand_warnings(&client.client_id, &brands, &principals).await;
            warnings.extend(unknown.unwrap_or_default());
        }
        warnings
    }

    /// Clients are few, so all of them are read. Principals may be many: they are read only for a
    /// brand that no client has.
    async fn brand_warnings(
        &self,
        client_id: &str,
        brands: &[&String],
        principals: &Table<Principal>,
    ) -> Result<Vec<String>, StoreError> {
        let clients = self.table.list().await?.into_iter().flatten();
        let others = clients.filter(|other| other.client_id != client_id);
        let mut known: BTreeSet<String> = others.flat_map(|other| other.brands).collect();
        if brands.iter().all(|brand| known.contains(*brand)) {
            return Ok(Vec::new());
        }
        let read = principals.list_some(MAX_READ_FOR_HINT).await?;
        if read.len() == MAX_READ_FOR_HINT {
            // The brand may be that of a principal that was not read.
            return Ok(Vec::new());
        }
        known.extend(read.into_iter().flat_map(|principal| principal.brands));
        let unknown = brands.iter().filter(|brand| !known.contains(**brand));
        let warning = |brand: &&String| {
            let meant = did_you_mean(brand, known.iter().map(String::as_str)).unwrap_or_default();
            format!("no other client, no user and no operator has the brand {brand}. {meant}")
                .trim()
                .to_owned()
        };
        Ok(unknown.map(warning).collect())
    }

    /// Stores a client that does not exist yet.
    pub(crate) async fn create(&self, client: &Client) -> Result<(), WriteError> {
        self.table.create(client).await
    }

    /// Stores a client that was read before.
    pub(crate) async fn save(&self, client: &mut Client) -> Outcome {
        self.announce().await;
        client.updated = self.context.clock.now();
        Ok(self.table.save(client).await?)
    }

    /// Enables or disables a client.
    pub(crate) async fn set_enabled(&self, client_id: &str, enabled: bool) -> Outcome<Change<Client>> {
        self.change(client_id, |client| client.enabled = enabled).await
    }

    /// Applies a change that breaks no rule, and writes nothing if it changes nothing. The rules are
    /// not checked again, so that an old problem elsewhere in the record does not block it: disabling
    /// a client must always work.
    pub(crate) async fn change(
        &self,
        client_id: &str,
        change: impl FnOnce(&mut Client),
    ) -> Outcome<Change<Client>> {
        let before = self.find(client_id).await?;
        let mut after = before.clone();
        change(&mut after);
        if after != before {
            self.save(&mut after).await?;
        }
        Ok(Change { before, after })
    }

    pub(crate) async fn delete(&self, client_id: &str) -> Outcome {
        if self.table.delete(client_id).await? { Ok(()) } else { Err(self.unknown(client_id).await) }
    }

    pub(crate) fn generate_secret(&self) -> Outcome<Secret> {
        Ok(Secret::generate(&self.context.random)?)
    }

    /// Hashes a secret.
    pub(crate) fn hash_secret(&self, secret: &Secret) -> Outcome<ClientSecret> {
        Ok(ClientSecret::new(secret, self.context.clock.now(), None, &self.context.random)?)
    }
}

/// The warning for a client whose largest token is large.
pub(crate) fn large_token_warning(largest: LargestToken) -> String {
    format!("{largest}; many servers and proxies refuse a request whose headers are longer than 8 KiB")
}

/// Warnings of new audiences that are no absolute URI (RFC 8707 section 2), or that differ from
/// another one in the final slash alone: an API compares audiences character by character.
fn audience_warnings(new: &[&String], all: &[String]) -> Vec<String> {
    let mut warnings = Vec::new();
    for audience in new {
        if !is_absolute_uri(audience) {
            warnings.push(format!(
                "the audience {audience} is no absolute URI, such as https://api.example.com or urn:example:api"
            ));
        }
        let without_slash = audience.strip_suffix('/').unwrap_or(audience);
        let is_twin =
            |other: &String| other != *audience && other.strip_suffix('/').unwrap_or(other) == without_slash;
        let warning = format!(
            "the audiences {without_slash} and {without_slash}/ differ in the final slash alone: an API accepts only one \
             of them"
        );
        // Both may be new, and one warning is enough.
        if all.iter().any(is_twin) && !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    warnings
}

/// Returns true for a text with a scheme (RFC 3986 section 3.1) and something after it.
fn is_absolute_uri(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, rest)| {
        !rest.trim_start_matches('/').is_empty()
            && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

/// Warnings of operators that do not exist or are disabled.
async fn operator_warnings(
    usernames: &[&String],
    principals: &Table<Principal>,
) -> Result<Vec<String>, StoreError> {
    let (mut warnings, mut known) = (Vec::new(), None);
    for username in usernames {
        let key = PrincipalKey::Operator { username: (*username).clone() };
        match principals.get(&key.to_string()).await? {
            Some(operator) if operator.enabled => {}
            Some(_) => warnings.push(format!("the operator {username} is disabled")),
            None => {
                if known.is_none() {
                    let read = principals.list_some(MAX_READ_FOR_HINT).await?;
                    known = Some(usernames_of(&read, PrincipalKind::Operator, None));
                }
                let names = known.iter().flatten();
                let meant = did_you_mean(username, names.map(String::as_str)).unwrap_or_default();
                warnings.push(format!("there is no operator {username}. {meant}").trim().to_owned());
            }
        }
    }
    Ok(warnings)
}

/// The usernames of the principals of a kind; of users, those of one brand.
fn usernames_of(principals: &[Principal], kind: PrincipalKind, brand: Option<&str>) -> Vec<String> {
    let keys = principals.iter().filter_map(|principal| PrincipalKey::parse(&principal.key()));
    let wanted = keys.filter(|key| match key {
        PrincipalKey::User { brand: own, .. } => {
            kind == PrincipalKind::User && brand.is_none_or(|brand| brand == own)
        }
        PrincipalKey::Operator { .. } => kind == PrincipalKind::Operator,
    });
    wanted.map(|key| key.username().to_owned()).collect()
}

/// The users or the operators of an issuer.
pub(crate) struct Principals<'a> {
    context: &'a Context,
    table: Table<Principal>,
    kind: PrincipalKind,
}

impl<'a> Principals<'a> {
    pub(crate) fn new(context: &'a Context, kind: PrincipalKind) -> Self {
        Self { context, table: context.table(), kind }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.context.clock
    }

    /// Says what is about to be changed.
    pub(crate) async fn announce(&self) {
        self.context.announcement.show().await;
    }

    /// The longest lifetime of an access token.
    pub(crate) fn longest_access(&self) -> Duration {
        Duration::from_secs(self.context.client_rules().limits().access)
    }

    pub(crate) async fn list(&self) -> Outcome<Listing<Principal>> {
        let mut listing = Listing::read(&self.table).await?;
        let is_of_kind =
            |one: &Principal| PrincipalKey::parse(&one.key()).is_some_and(|key| self.kind.matches(&key));
        listing.records.retain(is_of_kind);
        Ok(listing)
    }

    pub(crate) async fn find(&self, key: &PrincipalKey) -> Outcome<Principal> {
        match self.table.get(&key.to_string()).await? {
            Some(principal) => Ok(principal),
            None => Err(self.unknown(key).await),
        }
    }

    async fn unknown(&self, key: &PrincipalKey) -> AnyError {
        let known = self.table.list_some(MAX_READ_FOR_HINT).await.unwrap_or_default();
        let (error, names) = match key {
            PrincipalKey::User { brand, username } => {
                let elsewhere = known.iter().filter(|other| {
                    let key = PrincipalKey::parse(&other.key());
                    matches!(key, Some(PrincipalKey::User { username: other, .. }) if other == *username)
                });
                let brands: Vec<&str> =
                    elsewhere.flat_map(|other| &other.brands).map(String::as_str).collect();
                let error = NotFound(format!("brand {brand} has no user {username}"));
                if !brands.is_empty() {
                    let remedy = format!("A user of that name has the brand {}.", brands.join(" or "));
                    return with_remedy(error, Some(remedy));
                }
                (error, usernames_of(&known, PrincipalKind::User, Some(brand)))
            }
            PrincipalKey::Operator { username } => (
                NotFound(format!("there is no operator {username}")),
                usernames_of(&known, PrincipalKind::Operator, None),
            ),
        };
        with_remedy(error, did_you_mean(key.username(), names.iter().map(String::as_str)))
    }

    /// Stores a principal that does not exist yet.
    pub(crate) async fn create(
        &self,
        key: &PrincipalKey,
        password: &Secret,
        roles: Vec<String>,
        brands: Vec<String>,
    ) -> Outcome<Principal> {
        let (now, random) = (self.context.clock.now(), &self.context.random);
        let principal = Principal::new(key, password.expose(), roles, brands, now, random)?;
        ensure_valid(&principal.problems())?;
        self.announce().await;
        let created = self.table.create(&principal).await;
        created.map_err(|source| RecordError { record: key.username().to_owned(), source })?;
        Ok(principal)
    }

    /// Replaces the password, which ends all sessions.
    pub(crate) fn set_password(&self, principal: &mut Principal, password: &Secret) -> Outcome {
        Ok(principal.set_password(password.expose(), self.context.clock.now(), &self.context.random)?)
    }

    /// Stores a principal that was read before, if it breaks no rule.
    pub(crate) async fn save_valid(&self, principal: &mut Principal) -> Outcome {
        ensure_valid(&principal.problems())?;
        self.save(principal).await
    }

    async fn save(&self, principal: &mut Principal) -> Outcome {
        self.announce().await;
        principal.updated = self.context.clock.now();
        Ok(self.table.save(principal).await?)
    }

    pub(crate) async fn disable(&self, key: &PrincipalKey) -> Outcome<Change<Principal>> {
        let disable = |principal: &mut Principal| {
            // The sessions of a disabled one have ended.
            if principal.enabled {
                principal.disable(self.context.clock.now());
            }
        };
        self.change(key, disable).await
    }

    pub(crate) async fn enable(&self, key: &PrincipalKey) -> Outcome<Change<Principal>> {
        self.change(key, |principal| principal.enabled = true).await
    }

    pub(crate) async fn end_sessions(&self, key: &PrincipalKey) -> Outcome<Change<Principal>> {
        self.change(key, |principal| principal.end_sessions(self.context.clock.now())).await
    }

    /// Applies a change that breaks no rule, and writes nothing if it changes nothing. As with
    /// clients, the rules are not checked again.
    async fn change(
        &self,
        key: &PrincipalKey,
        change: impl FnOnce(&mut Principal),
    ) -> Outcome<Change<Principal>> {
        let before = self.find(key).await?;
        let mut after = before.clone();
        change(&mut after);
        if after != before {
            self.save(&mut after).await?;
        }
        Ok(Change { before, after })
    }

    pub(crate) async fn delete(&self, key: &PrincipalKey) -> Outcome {
        if self.table.delete(&key.to_string()).await? { Ok(()) } else { Err(self.unknown(key).await) }
    }
}
