//! `countersign client`.

use clap::{Args, Subcommand, ValueEnum};
use countersign_issuer::credentials::{ClientSecret, Secret};
use countersign_issuer::records::{AccessTokenType, Client, GrantType};
use countersign_issuer::store::Table;
use countersign_verify::Timestamp;
use serde_json::{Value, json};

use super::export::ClientExport;
use super::import::ClientImport;
use super::secret::{self, SecretCommand};
use super::{Administration, Outcome, confirm, read_secret, refuse, split, without_blank};
use crate::output::{line, list, moment, show};

/// Lifetimes of a client that is given none, in seconds: an hour, thirty days.
const ACCESS_TTL: u64 = 3600;
const REFRESH_TTL: u64 = 30 * 24 * 3600;

#[derive(Debug, Subcommand)]
pub(super) enum ClientCommand {
    /// Create a client; its generated secret is shown once
    #[command(after_help = "\
Examples:
  countersign client create billing --name 'Billing' --grant client_credentials --scope bills:read \\
      --role billing --brand acme --operator alice.ops --audience https://api.example.com --access-ttl 600
  countersign client create app --grant password --grant refresh_token --brand acme \\
      --audience https://api.example.com --refresh-ttl 86400 --typ JWT")]
    Create {
        /// The client's id
        client_id: String,
        #[command(flatten)]
        settings: Settings,
        /// Take the secret from standard input instead of generating one
        #[arg(long)]
        secret_stdin: bool,
    },
    /// List the clients
    List,
    /// Show a client
    Show {
        /// The client's id
        client_id: String,
    },
    /// Change what is named and leave the rest; a list that is named replaces the one before, and '' empties it
    #[command(
        after_help = "Examples:\n  countersign client update billing --scope bills:read --scope bills:write\n  countersign client update billing --role ''"
    )]
    Update {
        /// The client's id
        client_id: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Let no more requests of the client in
    Disable {
        /// The client's id
        client_id: String,
    },
    /// Let it in again
    Enable {
        /// The client's id
        client_id: String,
    },
    /// Delete a client
    Delete {
        /// The client's id
        client_id: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Write the clients as JSON, with the hashes of their secrets: a backup, or for another stack's `import`
    Export(ClientExport),
    /// Import clients from an export, or from Spring
    Import(ClientImport),
    /// Administer a client's secrets: up to two, so that one can be replaced without downtime
    #[command(subcommand)]
    Secret(SecretCommand),
}

/// What an administrator decides about a client.
#[derive(Debug, Args)]
pub(super) struct Settings {
    /// A name for people
    #[arg(long)]
    name: Option<String>,
    /// A grant type: client_credentials, password, operator_password or refresh_token (repeatable)
    #[arg(long = "grant", value_name = "GRANT")]
    grants: Option<Vec<GrantType>>,
    /// A scope that the client may ask for (repeatable)
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Option<Vec<String>>,
    /// A scope that it gets when it asks for none (repeatable) [default: all its scopes]
    #[arg(long = "default-scope", value_name = "SCOPE")]
    default_scopes: Option<Vec<String>>,
    /// A role of the client's own tokens (repeatable)
    #[arg(long = "role", value_name = "ROLE")]
    roles: Option<Vec<String>>,
    /// A brand that the client serves, or '*' for all (repeatable)
    #[arg(long = "brand", value_name = "BRAND")]
    brands: Option<Vec<String>>,
    /// An operator on whose behalf it may act (repeatable)
    #[arg(long = "operator", value_name = "USERNAME")]
    operators: Option<Vec<String>>,
    /// Whether client_credentials must name an operator
    #[arg(long, value_name = "BOOL")]
    require_operator: Option<bool>,
    /// An API that its tokens may be meant for (repeatable; the first is the default)
    #[arg(long = "audience", value_name = "URI")]
    audiences: Option<Vec<String>>,
    /// Lifetime of access tokens [default: 3600]
    #[arg(long, value_name = "SECONDS")]
    access_ttl: Option<u64>,
    /// Lifetime of refresh tokens, from the login on [default: 2592000]
    #[arg(long, value_name = "SECONDS")]
    refresh_ttl: Option<u64>,
    /// The typ header of access tokens [default: at+jwt]
    #[arg(long, value_name = "TYP")]
    typ: Option<Typ>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Typ {
    #[value(name = "at+jwt")]
    AtJwt,
    #[value(name = "JWT")]
    Jwt,
}

impl From<Typ> for AccessTokenType {
    fn from(typ: Typ) -> Self {
        match typ {
            Typ::AtJwt => Self::AtJwt,
            Typ::Jwt => Self::Jwt,
        }
    }
}

impl Settings {
    fn apply(self, client: &mut Client) {
        fn set<T>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        set(&mut client.name, self.name);
        set(&mut client.grant_types, self.grants);
        set(&mut client.scopes, self.scopes.map(without_blank));
        let default_scopes = self.default_scopes.map(without_blank);
        set(
            &mut client.default_scopes,
            default_scopes.map(|scopes| Some(scopes).filter(|some| !some.is_empty())),
        );
        set(&mut client.roles, self.roles.map(without_blank));
        set(&mut client.brands, self.brands.map(without_blank));
        set(&mut client.operators, self.operators.map(without_blank));
        set(&mut client.require_operator, self.require_operator);
        set(&mut client.audiences, self.audiences);
        set(&mut client.access_ttl, self.access_ttl);
        set(&mut client.refresh_ttl, self.refresh_ttl);
        set(&mut client.typ, self.typ.map(Into::into));
    }
}

impl ClientCommand {
    pub(super) async fn run(self, to: &Administration, json: bool) -> Outcome {
        let clients = to.table::<Client>();
        match self {
            Self::Create { client_id, settings, secret_stdin } => {
                create(to, &clients, client_id, settings, secret_stdin, json).await
            }
            Self::List => {
                let (mut all, unreadable) = split(clients.list().await?);
                all.sort_by(|one, other| one.client_id.cmp(&other.client_id));
                let views: Vec<Value> = all.iter().map(view).collect();
                list(&views, &["client_id", "name", "grant_types", "brands", "enabled"], json);
                unreadable
            }
            Self::Show { client_id } => {
                show(&view(&find(&clients, &client_id).await?), json);
                Ok(())
            }
            Self::Update { client_id, settings } => {
                let mut client = find(&clients, &client_id).await?;
                settings.apply(&mut client);
                refuse(&client.problems(to.limits()))?;
                save(to, &clients, client, json).await
            }
            Self::Disable { client_id } => {
                change(to, &clients, &client_id, json, |client| client.enabled = false).await
            }
            Self::Enable { client_id } => {
                change(to, &clients, &client_id, json, |client| client.enabled = true).await
            }
            Self::Delete { client_id, yes } => {
                confirm(&format!("Delete client {client_id}? Its refresh tokens end with it."), yes)?;
                if !clients.delete(&client_id).await? {
                    return Err(unknown(&client_id));
                }
                show(&json!({ "client_id": client_id, "deleted": true }), json);
                Ok(())
            }
            Self::Export(command) => command.run(to).await,
            Self::Import(command) => command.run(to, json).await,
            Self::Secret(command) => command.run(to, &clients, json).await,
        }
    }
}

async fn create(
    to: &Administration,
    clients: &Table<Client>,
    client_id: String,
    settings: Settings,
    secret_stdin: bool,
    json: bool,
) -> Outcome {
    let now = to.clock.now();
    let mut client = Client {
        name: client_id.clone(),
        client_id,
        secrets: Vec::new(),
        grant_types: Vec::new(),
        scopes: Vec::new(),
        default_scopes: None,
        roles: Vec::new(),
        brands: Vec::new(),
        operators: Vec::new(),
        require_operator: false,
        audiences: Vec::new(),
        access_ttl: ACCESS_TTL.min(to.limits().access),
        refresh_ttl: REFRESH_TTL.min(to.limits().refresh),
        typ: AccessTokenType::default(),
        enabled: true,
        created: now,
        updated: now,
        version: 1,
        imported: None,
    };
    settings.apply(&mut client);
    refuse(&client.problems(to.limits()))?;
    let (secret, stored) = new_secret(to, secret_stdin, now)?;
    client.secrets.push(stored);
    clients.create(&client).await.map_err(|error| format!("client {}: {error}", client.client_id))?;
    show_with_secret(view(&client), secret.as_ref(), json);
    Ok(())
}

/// A secret to store and, where it was generated here, to show.
pub(super) fn new_secret(
    to: &Administration,
    from_stdin: bool,
    now: Timestamp,
) -> Outcome<(Option<Secret>, ClientSecret)> {
    let secret = if from_stdin { read_secret("Secret", true)? } else { Secret::generate(&to.random)? };
    if secret.expose().is_empty() {
        return Err("the secret on standard input is empty".into());
    }
    let stored = ClientSecret::new(&secret, now, None, &to.random)?;
    Ok(((!from_stdin).then_some(secret), stored))
}

/// Shows a record and, this once, a generated secret.
pub(super) fn show_with_secret(mut record: Value, secret: Option<&Secret>, json: bool) {
    if let (Some(secret), true) = (secret, json) {
        record["client_secret"] = secret.expose().into();
    }
    show(&record, json);
    if let (Some(secret), false) = (secret, json) {
        line(&format!("\nclient_secret  {}\nIt is not stored and cannot be shown again.", secret.expose()));
    }
}

fn unknown(client_id: &str) -> Box<dyn std::error::Error + Send + Sync> {
    format!("there is no client {client_id}; see `countersign client list`").into()
}

pub(super) async fn find(clients: &Table<Client>, client_id: &str) -> Outcome<Client> {
    let client = clients.get(client_id).await?;
    client.ok_or_else(|| unknown(client_id))
}

/// Changes what makes no record worse, so that nothing that is wrong elsewhere in it stands in the way.
pub(super) async fn change(
    to: &Administration,
    clients: &Table<Client>,
    client_id: &str,
    json: bool,
    change: impl FnOnce(&mut Client),
) -> Outcome {
    let mut client = find(clients, client_id).await?;
    change(&mut client);
    save(to, clients, client, json).await
}

async fn save(to: &Administration, clients: &Table<Client>, mut client: Client, json: bool) -> Outcome {
    client.updated = to.clock.now();
    clients.save(&mut client).await?;
    show(&view(&client), json);
    Ok(())
}

/// A client for showing: moments as text, and of its secrets no hash.
fn view(client: &Client) -> Value {
    json!({
        "client_id": client.client_id,
        "name": client.name,
        "enabled": client.enabled,
        "grant_types": client.grant_types,
        "scopes": client.scopes,
        "default_scopes": client.default_scopes,
        "roles": client.roles,
        "brands": client.brands,
        "operators": client.operators,
        "require_operator": client.require_operator,
        "audiences": client.audiences,
        "access_ttl": client.access_ttl,
        "refresh_ttl": client.refresh_ttl,
        "typ": client.typ,
        "secrets": secrets(client),
        "created": moment(client.created),
        "updated": moment(client.updated),
        "version": client.version,
    })
}

fn secrets(client: &Client) -> Vec<Value> {
    client.secrets.iter().map(secret::view).collect()
}
