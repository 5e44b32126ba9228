//! The administration of clients and principals, without arguments and output: `commands` adds
//! those.

use countersign_issuer::credentials::{ClientSecret, Secret};
use countersign_issuer::records::{Client, LargestToken, Principal, PrincipalKey, RecordProblem};
use countersign_issuer::store::{Record, Table, WriteError};
use countersign_verify::Clock;

use crate::context::Context;
use crate::outcome::{AnyError, Outcome, RecordError};
use crate::output::warn;

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

/// Rejects a record that breaks a rule, with all of its problems.
fn ensure_valid(problems: &[RecordProblem]) -> Outcome {
    if problems.is_empty() {
        return Ok(());
    }
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Err(format!("not stored:\n  {}", problems.join("\n  ")).into())
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

    pub(crate) async fn list(&self) -> Outcome<Listing<Client>> {
        Listing::read(&self.table).await
    }

    pub(crate) async fn find(&self, client_id: &str) -> Outcome<Client> {
        self.table.get(client_id).await?.ok_or_else(|| unknown_client(client_id))
    }

    /// A client with defaults, not stored yet.
    pub(crate) fn draft(&self, client_id: String) -> Client {
        let (now, limits) = (self.context.clock.now(), self.context.client_rules().limits());
        let mut client = Client::new(client_id, now);
        client.access_ttl = client.access_ttl.min(limits.access);
        client.refresh_ttl = client.refresh_ttl.min(limits.refresh);
        client
    }

    /// Rejects a client that breaks a rule. Warns of one whose tokens can be large.
    pub(crate) fn ensure_valid(&self, client: &Client) -> Outcome {
        let rules = self.context.client_rules();
        ensure_valid(&rules.problems(client))?;
        if let Some(largest) = rules.large_token(client) {
            warn(&large_token_warning(largest));
        }
        Ok(())
    }

    /// Stores a client that does not exist yet.
    pub(crate) async fn create(&self, client: &Client) -> Result<(), WriteError> {
        self.table.create(client).await
    }

    /// Stores a client that was read before, if it breaks no rule.
    pub(crate) async fn save_valid(&self, client: &mut Client) -> Outcome {
        self.ensure_valid(client)?;
        self.save(client).await
    }

    /// Stores a client that was read before.
    pub(crate) async fn save(&self, client: &mut Client) -> Outcome {
        client.updated = self.context.clock.now();
        Ok(self.table.save(client).await?)
    }

    /// Applies a change that breaks no rule. The rules are not checked again, so that an old
    /// problem elsewhere in the record does not block it: disabling a client must always work.
    pub(crate) async fn change(&self, client_id: &str, change: impl FnOnce(&mut Client)) -> Outcome<Client> {
        let mut client = self.find(client_id).await?;
        change(&mut client);
        self.save(&mut client).await?;
        Ok(client)
    }

    pub(crate) async fn delete(&self, client_id: &str) -> Outcome {
        if self.table.delete(client_id).await? { Ok(()) } else { Err(unknown_client(client_id)) }
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

fn unknown_client(client_id: &str) -> AnyError {
    format!("there is no client {client_id}; see `countersign client list`").into()
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

    pub(crate) async fn list(&self) -> Outcome<Listing<Principal>> {
        let mut listing = Listing::read(&self.table).await?;
        let is_of_kind =
            |one: &Principal| PrincipalKey::parse(&one.key()).is_some_and(|key| self.kind.matches(&key));
        listing.records.retain(is_of_kind);
        Ok(listing)
    }

    pub(crate) async fn find(&self, key: &PrincipalKey) -> Outcome<Principal> {
        self.table.get(&key.to_string()).await?.ok_or_else(|| unknown_principal(key))
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
        principal.updated = self.context.clock.now();
        Ok(self.table.save(principal).await?)
    }

    pub(crate) async fn disable(&self, key: &PrincipalKey) -> Outcome<Principal> {
        self.change(key, |principal| principal.disable(self.context.clock.now())).await
    }

    pub(crate) async fn enable(&self, key: &PrincipalKey) -> Outcome<Principal> {
        self.change(key, |principal| principal.enabled = true).await
    }

    pub(crate) async fn end_sessions(&self, key: &PrincipalKey) -> Outcome<Principal> {
        self.change(key, |principal| principal.end_sessions(self.context.clock.now())).await
    }

    /// Applies a change that breaks no rule. As with clients, the rules are not checked again.
    async fn change(&self, key: &PrincipalKey, change: impl FnOnce(&mut Principal)) -> Outcome<Principal> {
        let mut principal = self.find(key).await?;
        change(&mut principal);
        self.save(&mut principal).await?;
        Ok(principal)
    }

    pub(crate) async fn delete(&self, key: &PrincipalKey) -> Outcome {
        if self.table.delete(&key.to_string()).await? { Ok(()) } else { Err(unknown_principal(key)) }
    }
}

fn unknown_principal(key: &PrincipalKey) -> AnyError {
    match key {
        PrincipalKey::User { brand, username } => format!("brand {brand} has no user {username}").into(),
        PrincipalKey::Operator { username } => format!("there is no operator {username}").into(),
    }
}
