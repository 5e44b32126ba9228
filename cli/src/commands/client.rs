//! `countersign client`.

use clap::{Args, Subcommand};
use countersign_issuer::credentials::{ClientSecret, SpringValue};
use countersign_issuer::records::{ClaimName, Client, GrantType};
use countersign_issuer::store::WriteError;
use serde_json::{Value, json};

use super::arguments::{Typ, parse_duration, without_blank};
use super::export::ClientExport;
use super::import::ClientImport;
use super::secret::{self, NewSecret, SecretCommand};
use super::views;
use crate::context::Context;
use crate::outcome::{AnyError, Outcome, RecordError, WithRemedy, with_remedy_if_unanswered};
use crate::output::{format_time, list, show};
use crate::prompt::confirm;
use crate::records::Clients;

pub(super) const EXAMPLES: &str = "\
Examples:
  countersign client create billing --grant client_credentials \\
      --scope bills:read --audience https://api.example.com
  countersign client list
  countersign client secret add billing --expire-others 7d";

const CREATE_EXAMPLES: &str = "\
Examples:
  countersign client create billing --name 'Billing' \\
      --grant client_credentials --scope bills:read --role billing \\
      --brand acme --operator alice.ops \\
      --audience https://api.example.com --access-ttl 600
  countersign client create app --grant password --grant refresh_token \\
      --brand acme --audience https://api.example.com \\
      --refresh-ttl 86400 --typ JWT";

const UPDATE_EXAMPLES: &str = "\
Examples:
  countersign client update billing --scope bills:read --scope bills:write
  countersign client update billing --role ''";

#[derive(Debug, Subcommand)]
pub(super) enum ClientCommand {
    /// Create a client; a generated secret is shown once
    #[command(after_help = CREATE_EXAMPLES)]
    Create {
        /// Client id
        client_id: String,
        #[command(flatten)]
        settings: Box<Settings>,
        /// Read the secret from standard input instead of generating one
        #[arg(long)]
        secret_stdin: bool,
    },
    /// List the clients
    #[command(after_help = "Example:\n  countersign client list")]
    List,
    /// Show a client
    #[command(after_help = "Example:\n  countersign client show billing")]
    Show {
        /// Client id
        client_id: String,
    },
    /// Change the given settings of a client; a given list replaces the old one, and '' empties it
    #[command(after_help = UPDATE_EXAMPLES)]
    Update {
        /// Client id
        client_id: String,
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// Disable a client; its requests are refused
    #[command(after_help = "Example:\n  countersign client disable billing")]
    Disable {
        /// Client id
        client_id: String,
    },
    /// Enable a disabled client
    #[command(after_help = "Example:\n  countersign client enable billing")]
    Enable {
        /// Client id
        client_id: String,
    },
    /// Delete a client; its refresh tokens end with it
    #[command(after_help = "Example:\n  countersign client delete billing")]
    Delete {
        /// Client id
        client_id: String,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Export the clients as JSON with the hashes of their secrets, for a backup or for another
    /// stack
    Export(ClientExport),
    /// Import clients from an export or from Spring
    Import(ClientImport),
    /// Administer the secrets of a client; it can have two, so that one is replaced without
    /// downtime
    #[command(subcommand, after_help = secret::EXAMPLES)]
    Secret(SecretCommand),
}

/// The settings of a client.
#[derive(Debug, Args)]
pub(super) struct Settings {
    /// Display name
    #[arg(long)]
    name: Option<String>,
    /// Grant type: client_credentials, password, operator_password or refresh_token (repeatable)
    #[arg(long = "grant", value_name = "GRANT")]
    grants: Option<Vec<GrantType>>,
    /// Scope that the client may request (repeatable)
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Option<Vec<String>>,
    /// Scope of a token if the request names none (repeatable) [default: all scopes of the client]
    #[arg(long = "default-scope", value_name = "SCOPE")]
    default_scopes: Option<Vec<String>>,
    /// Role in the client's own tokens (repeatable)
    #[arg(long = "role", value_name = "ROLE")]
    roles: Option<Vec<String>>,
    /// Brand that the client serves, or '*' for all (repeatable)
    #[arg(long = "brand", value_name = "BRAND")]
    brands: Option<Vec<String>>,
    /// Operator on whose behalf the client may act (repeatable)
    #[arg(long = "operator", value_name = "USERNAME")]
    operators: Option<Vec<String>>,
    /// Require an operator in every client_credentials request
    #[arg(long, value_name = "BOOL")]
    require_operator: Option<bool>,
    /// Audience of the client's tokens, an API's URI (repeatable; the first is the default)
    #[arg(long = "audience", value_name = "URI")]
    audiences: Option<Vec<String>>,
    /// Lifetime of access tokens [default: 3600]
    #[arg(long, value_name = "SECONDS")]
    access_ttl: Option<u64>,
    /// Lifetime of refresh tokens, counted from the login [default: 2592000]
    #[arg(long, value_name = "SECONDS")]
    refresh_ttl: Option<u64>,
    /// Longest time between two refreshes, such as 8h or 7d; a session that is idle for longer ends.
    /// `off` removes the limit [default: off]
    #[arg(long, value_name = "DURATION", value_parser = parse_idle)]
    refresh_idle: Option<Limit<u64>>,
    /// Failed logins in 15 minutes from one address, over all usernames, after which further ones
    /// must wait; 0 is off, for a server whose users share its address; `default` is the
    /// deployment's [default: default]
    #[arg(long, value_name = "N", value_parser = parse_login_failures)]
    max_login_failures: Option<Limit<u32>>,
    /// Claim that carries the username in the tokens of users and operators, such as user_name;
    /// `off` removes it [default: off]
    #[arg(long, value_name = "NAME", value_parser = parse_username_claim)]
    username_claim: Option<Limit<ClaimName>>,
    /// Header typ of access tokens [default: at+jwt]
    #[arg(long, value_name = "TYP")]
    typ: Option<Typ>,
}

/// A setting that a client may have, such as a limit; none where it is switched off.
#[derive(Debug, Clone)]
struct Limit<T>(Option<T>);

impl<T> Limit<T> {
    /// Parses a setting. The word `none` stands for none.
    fn parse(value: &str, none: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Self, String> {
        if value == none {
            return Ok(Self(None));
        }
        parse(value).map(|limit| Self(Some(limit))).map_err(|expected| format!("{expected}, or {none}"))
    }
}

fn parse_login_failures(value: &str) -> Result<Limit<u32>, String> {
    Limit::parse(value, "default", |value| value.parse().map_err(|_| "expected a number".to_owned()))
}

fn parse_username_claim(value: &str) -> Result<Limit<ClaimName>, String> {
    Limit::parse(value, "off", |value| ClaimName::parse(value).map_err(|error| error.to_string()))
}

/// In seconds.
fn parse_idle(value: &str) -> Result<Limit<u64>, String> {
    Limit::parse(value, "off", |value| parse_duration(value).map(|duration| duration.as_secs()))
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
        set(&mut client.refresh_idle, self.refresh_idle.map(|Limit(seconds)| seconds));
        set(&mut client.max_login_failures, self.max_login_failures.map(|Limit(max)| max));
        set(&mut client.username_claim, self.username_claim.map(|Limit(name)| name));
        set(&mut client.typ, self.typ.map(Into::into));
    }
}

impl ClientCommand {
    pub(super) async fn run(self, context: &Context, json: bool) -> Outcome {
        let clients = Clients::new(context);
        match self {
            Self::Create { client_id, settings, secret_stdin } => {
                create(&clients, client_id, *settings, secret_stdin, json).await
            }
            Self::List => {
                let listing = clients.list().await?;
                let views: Vec<Value> = listing.records.iter().map(views::client).collect();
                list(&views, &["client_id", "name", "grant_types", "brands", "enabled"], json);
                listing.unreadable
            }
            Self::Show { client_id } => {
                show(&views::client(&clients.find(&client_id).await?), json);
                Ok(())
            }
            Self::Update { client_id, settings } => {
                let mut client = clients.find(&client_id).await?;
                settings.apply(&mut client);
                clients.save_valid(&mut client).await?;
                show(&views::client(&client), json);
                Ok(())
            }
            Self::Disable { client_id } => {
                let client = clients.change(&client_id, |client| client.enabled = false).await?;
                show(&views::client(&client), json);
                Ok(())
            }
            Self::Enable { client_id } => {
                let client = clients.change(&client_id, |client| client.enabled = true).await?;
                show(&views::client(&client), json);
                Ok(())
            }
            Self::Delete { client_id, yes } => {
                confirm(&format!("Delete client {client_id}? Its refresh tokens end with it."), yes)?;
                clients.delete(&client_id).await?;
                show(&json!({ "client_id": client_id, "deleted": true }), json);
                Ok(())
            }
            Self::Export(command) => command.run(&clients).await,
            Self::Import(command) => command.run(context, json).await,
            Self::Secret(command) => command.run(&clients, json).await,
        }
    }
}

async fn create(
    clients: &Clients<'_>,
    client_id: String,
    settings: Settings,
    secret_stdin: bool,
    json: bool,
) -> Outcome {
    let mut client = clients.draft(client_id);
    settings.apply(&mut client);
    clients.ensure_valid(&client)?;
    let secret = NewSecret::make(clients, secret_stdin)?;
    client.secrets.push(secret.stored().clone());
    let Err(source) = clients.create(&client).await else {
        secret.show_with(views::client(&client), json);
        return Ok(());
    };
    let exists = matches!(source, WriteError::Exists);
    let error: AnyError = RecordError { record: format!("client {}", client.client_id), source }.into();
    if !exists {
        let remedy = "If DynamoDB did not answer, the client may be stored all the same: repeat the command, which \
                      then finds it.";
        return Err(with_remedy_if_unanswered(error, remedy.into()));
    }
    let stored = clients.find(&client.client_id).await?;
    let Some(lost) = find_repeated(&stored, client) else {
        return Err(error);
    };
    if let NewSecret::Chosen(secret, _) = secret
        && lost.holds(&SpringValue::Plain(secret))
    {
        show(&views::client(&stored), json);
        return Ok(());
    }
    let (id, created) = (&stored.client_id, format_time(stored.created));
    let remedy = format!(
        "It was created at {created} with these settings, and nothing was changed since. A generated secret was shown \
         then and cannot be shown again. If that answer was lost, make a new secret, and then revoke the lost one:\n  \
         countersign client secret add {id}\n  countersign client secret revoke {id} {}",
        lost.id
    );
    Err(WithRemedy { source: error, remedy }.into())
}

/// Returns the secret of a stored client that is as an earlier run of the same command has created
/// it.
fn find_repeated(stored: &Client, client: Client) -> Option<&ClientSecret> {
    let [secret] = stored.secrets.as_slice() else { return None };
    let (secrets, version) = (stored.secrets.clone(), 1);
    let (created, updated) = (stored.created, stored.created);
    (*stored == Client { secrets, version, created, updated, ..client }).then_some(secret)
}
