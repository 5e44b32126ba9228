//! `countersign client`.

use clap::{Arg, Args, Subcommand};
use countersign_issuer::credentials::{ClientSecret, SpringValue};
use countersign_issuer::records::{ClaimName, Client, GrantType};
use countersign_issuer::store::WriteError;
use serde_json::{Value, json};

use super::arguments::{GrantParser, Typ, parse_seconds};
use super::changes;
use super::consequences::{Consequences, Effect};
use super::export::ClientExport;
use super::import::ClientImport;
use super::lists::{self, parse_item, usernames};
use super::secret::{self, NewSecret, SecretCommand};
use super::views;
use crate::context::Context;
use crate::outcome::{
    AnyError, Invalid, Outcome, RecordError, WithRemedy, usage_error, with_remedy_if_unanswered,
};
use crate::output::Output;
use crate::prompt::confirm;
use crate::records::{Clients, if_readable};

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
      --audience https://api.example.com --access-ttl 10min
  countersign client create app --grant password,refresh_token \\
      --brand acme --audience https://api.example.com \\
      --refresh-ttl 7d --typ JWT";

const UPDATE_EXAMPLES: &str = "\
Examples:
  countersign client update billing --add-scope bills:write
  countersign client update billing --remove-brand acme --access-ttl 1h
  countersign client update billing --scope bills:read,bills:write
  countersign client update billing --role ''

--scope and every other option of a list replaces the list, and '' empties it. --add-scope and --remove-scope leave its \
other items alone; what is removed must be there.";

#[derive(Debug, Subcommand)]
pub(super) enum ClientCommand {
    /// Create a client; a generated secret is shown once
    #[command(after_help = CREATE_EXAMPLES, mut_args(show_default))]
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
    /// Change the given settings of a client, and show them before and after; no other setting
    /// changes
    #[command(after_help = UPDATE_EXAMPLES)]
    Update {
        /// Client id
        client_id: String,
        #[command(flatten)]
        settings: Box<Settings>,
        #[command(flatten)]
        changes: Box<ListChanges>,
    },
    /// Disable a client; its requests are refused within a minute, and its access tokens live on
    /// until they expire
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
    /// Delete a client; its requests are refused within a minute, its refresh tokens end with it, and
    /// its access tokens live on until they expire
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
#[derive(Debug, Default, PartialEq, Args)]
pub(super) struct Settings {
    /// Display name
    #[arg(long)]
    name: Option<String>,
    /// Grant type (repeatable, or a,b)
    #[arg(long = "grant", value_name = "GRANT", value_delimiter = ',', value_parser = GrantParser)]
    grants: Option<Vec<GrantType>>,
    /// Scope that the client may request (repeatable, or a,b)
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',')]
    scopes: Option<Vec<String>>,
    /// Scope of a token if the request names none (repeatable, or a,b); '' for all scopes of the
    /// client
    #[arg(long = "default-scope", value_name = "SCOPE", value_delimiter = ',')]
    default_scopes: Option<Vec<String>>,
    /// Role in the client's own tokens (repeatable, or a,b)
    #[arg(long = "role", value_name = "ROLE", value_delimiter = ',')]
    roles: Option<Vec<String>>,
    /// Brand that the client serves, or '*' for all (repeatable, or a,b)
    #[arg(long = "brand", value_name = "BRAND", value_delimiter = ',')]
    brands: Option<Vec<String>>,
    /// Operator on whose behalf the client may act (repeatable, or a,b)
    #[arg(long = "operator", value_name = "USERNAME", value_delimiter = ',')]
    operators: Option<Vec<String>>,
    /// Require an operator in every client_credentials request
    #[arg(long, value_name = "BOOL")]
    require_operator: Option<bool>,
    /// Audience of the client's tokens, an API's URI (repeatable, or a,b; the first is the default)
    #[arg(long = "audience", value_name = "URI", value_delimiter = ',')]
    audiences: Option<Vec<String>>,
    /// Lifetime of access tokens, such as 10min or 1h
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds, allow_hyphen_values = true)]
    access_ttl: Option<u64>,
    /// Lifetime of refresh tokens, counted from the login, such as 12h or 30d
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds, allow_hyphen_values = true)]
    refresh_ttl: Option<u64>,
    /// Longest time between two refreshes, such as 8h or 7d; a session that is idle for longer
    /// ends. `off` removes the limit
    #[arg(long, value_name = "DURATION", value_parser = parse_idle, allow_hyphen_values = true)]
    refresh_idle: Option<Limit<u64>>,
    /// Failed logins in 15 minutes from one address, over all usernames, after which further ones
    /// must wait; 0 is off, for a server whose users share its address; `default` is the
    /// deployment's
    #[arg(long, value_name = "N", value_parser = parse_login_failures, allow_hyphen_values = true)]
    max_login_failures: Option<Limit<u32>>,
    /// Claim that carries the username in the tokens of users and operators, such as user_name;
    /// `off` removes it
    #[arg(long, value_name = "NAME", value_parser = parse_username_claim)]
    username_claim: Option<Limit<ClaimName>>,
    /// Header typ of access tokens
    #[arg(long, value_name = "TYP")]
    typ: Option<Typ>,
}

/// Adds to an option's help the value that a new client has without it, or that it needs one.
fn show_default(argument: Arg) -> Arg {
    let note = match argument.get_id().as_str() {
        "grants" | "audiences" => "[required]",
        "default_scopes" => "[default: all scopes of the client]",
        "access_ttl" => "[default: 1h]",
        "refresh_ttl" => "[default: 30d]",
        "refresh_idle" | "username_claim" => "[default: off]",
        "max_login_failures" => "[default: default]",
        "typ" => "[default: at+jwt]",
        _ => return argument,
    };
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    argument.help(format!("{help} {note}"))
}

/// The changes to a client's lists.
#[derive(Debug, Default, PartialEq, Args)]
#[command(next_help_heading = "Items of a list")]
pub(super) struct ListChanges {
    /// Add a grant type (repeatable, or a,b)
    #[arg(long, value_name = "GRANT", value_delimiter = ',', value_parser = GrantParser, conflicts_with = "grants")]
    add_grant: Vec<GrantType>,
    /// Remove a grant type (repeatable, or a,b)
    #[arg(long, value_name = "GRANT", value_parser = parse_item, conflicts_with = "grants")]
    remove_grant: Vec<String>,
    /// Add a scope (repeatable, or a,b)
    #[arg(long, value_name = "SCOPE", value_delimiter = ',', value_parser = parse_item, conflicts_with = "scopes")]
    add_scope: Vec<String>,
    /// Remove a scope (repeatable, or a,b)
    #[arg(long, value_name = "SCOPE", value_parser = parse_item, conflicts_with = "scopes")]
    remove_scope: Vec<String>,
    /// Add a scope of a token if the request names none (repeatable, or a,b)
    #[arg(long, value_name = "SCOPE", value_delimiter = ',', value_parser = parse_item, conflicts_with = "default_scopes")]
    add_default_scope: Vec<String>,
    /// Remove a scope of a token if the request names none (repeatable, or a,b)
    #[arg(long, value_name = "SCOPE", value_parser = parse_item, conflicts_with = "default_scopes")]
    remove_default_scope: Vec<String>,
    /// Add a role in the client's own tokens (repeatable, or a,b)
    #[arg(long, value_name = "ROLE", value_delimiter = ',', value_parser = parse_item, conflicts_with = "roles")]
    add_role: Vec<String>,
    /// Remove a role in the client's own tokens (repeatable, or a,b)
    #[arg(long, value_name = "ROLE", value_parser = parse_item, conflicts_with = "roles")]
    remove_role: Vec<String>,
    /// Add a brand that the client serves (repeatable, or a,b)
    #[arg(long, value_name = "BRAND", value_delimiter = ',', value_parser = parse_item, conflicts_with = "brands")]
    add_brand: Vec<String>,
    /// Remove a brand that the client serves (repeatable, or a,b)
    #[arg(long, value_name = "BRAND", value_parser = parse_item, conflicts_with = "brands")]
    remove_brand: Vec<String>,
    /// Add an operator on whose behalf the client may act (repeatable, or a,b)
    #[arg(long, value_name = "USERNAME", value_delimiter = ',', value_parser = parse_item, conflicts_with = "operators")]
    add_operator: Vec<String>,
    /// Remove an operator on whose behalf the client may act (repeatable, or a,b)
    #[arg(long, value_name = "USERNAME", value_parser = parse_item, conflicts_with = "operators")]
    remove_operator: Vec<String>,
    /// Add an audience after the others (repeatable, or a,b)
    #[arg(long, value_name = "URI", value_delimiter = ',', value_parser = parse_item, conflicts_with = "audiences")]
    add_audience: Vec<String>,
    /// Remove an audience (repeatable, or a,b)
    #[arg(long, value_name = "URI", value_parser = parse_item, conflicts_with = "audiences")]
    remove_audience: Vec<String>,
}

impl ListChanges {
    fn apply(self, client: &mut Client) -> Outcome {
        lists::remove(&mut client.grant_types, "grant", self.remove_grant)?;
        lists::add(&mut client.grant_types, self.add_grant);
        let mut default_scopes = client.default_scopes.take().unwrap_or_default();
        let had_default_scopes = !default_scopes.is_empty();
        lists::remove(&mut default_scopes, "default-scope", self.remove_default_scope)?;
        lists::add(&mut default_scopes, self.add_default_scope);
        if had_default_scopes && default_scopes.is_empty() {
            // A list that shrinks may not widen what a token gets.
            return Err(Invalid(
                "--remove-default-scope: none would be left, and then a request that names no scope gets all scopes of \
                 the client; if that is meant, say --default-scope ''"
                    .into(),
            )
            .into());
        }
        client.default_scopes = Some(default_scopes).filter(|scopes| !scopes.is_empty());
        let removed_operators = usernames(self.remove_operator);
        for (list, option, removed, added) in [
            (&mut client.scopes, "scope", self.remove_scope, self.add_scope),
            (&mut client.roles, "role", self.remove_role, self.add_role),
            (&mut client.brands, "brand", self.remove_brand, self.add_brand),
            (&mut client.operators, "operator", removed_operators, usernames(self.add_operator)),
            (&mut client.audiences, "audience", self.remove_audience, self.add_audience),
        ] {
            lists::remove(list, option, removed)?;
            lists::add(list, added);
        }
        Ok(())
    }
}

/// A setting that a client may have, such as a limit; none where it is switched off.
#[derive(Debug, Clone, PartialEq)]
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
    Limit::parse(value, "default", |value| {
        value.parse().map_err(|_| "expected a whole number from 0 on".to_owned())
    })
}

fn parse_username_claim(value: &str) -> Result<Limit<ClaimName>, String> {
    Limit::parse(value, "off", |value| ClaimName::parse(value).map_err(|error| error.to_string()))
}

/// In seconds.
fn parse_idle(value: &str) -> Result<Limit<u64>, String> {
    Limit::parse(value, "off", parse_seconds)
}

impl Settings {
    fn apply(self, client: &mut Client) -> Outcome {
        fn set<T>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        let list = |option, items: Option<Vec<String>>| {
            items.map(|items| lists::replacement(option, items)).transpose()
        };
        set(&mut client.name, self.name);
        set(&mut client.grant_types, self.grants);
        set(&mut client.scopes, list("scope", self.scopes)?);
        let default_scopes = list("default-scope", self.default_scopes)?;
        set(
            &mut client.default_scopes,
            default_scopes.map(|scopes| Some(scopes).filter(|some| !some.is_empty())),
        );
        set(&mut client.roles, list("role", self.roles)?);
        set(&mut client.brands, list("brand", self.brands)?);
        set(&mut client.operators, list("operator", self.operators)?.map(usernames));
        set(&mut client.require_operator, self.require_operator);
        set(&mut client.audiences, list("audience", self.audiences)?);
        set(&mut client.access_ttl, self.access_ttl);
        set(&mut client.refresh_ttl, self.refresh_ttl);
        set(&mut client.refresh_idle, self.refresh_idle.map(|Limit(seconds)| seconds));
        set(&mut client.max_login_failures, self.max_login_failures.map(|Limit(max)| max));
        set(&mut client.username_claim, self.username_claim.map(|Limit(name)| name));
        set(&mut client.typ, self.typ.map(Into::into));
        Ok(())
    }
}

impl ClientCommand {
    pub(super) async fn run(self, context: &Context, output: &Output) -> Outcome {
        let clients = Clients::new(context);
        match self {
            Self::Create { client_id, settings, secret_stdin } => {
                create(&clients, client_id, *settings, secret_stdin, output).await
            }
            Self::List => {
                let listing = clients.list().await?;
                let views: Vec<Value> =
                    listing.records.iter().map(|client| views::client(client, output)).collect();
                output.list(&views, &["client_id", "name", "grant_types", "brands", "enabled"]);
                listing.unreadable
            }
            Self::Show { client_id } => {
                output.show(&views::client(&clients.find(&client_id).await?, output));
                Ok(())
            }
            Self::Update { client_id, settings, changes } => {
                update(&clients, &client_id, *settings, *changes, output).await
            }
            Self::Disable { client_id } => {
                let change = clients.set_enabled(&client_id, false).await?;
                // A client that was disabled before has been so since its last change at the latest.
                let since = change.after.updated;
                let consequences = Consequences::of_refused_client(&change.after, since, output);
                changes::show_switched(&change, "disabled", views::client, Some(consequences), output);
                Ok(())
            }
            Self::Enable { client_id } => {
                let change = clients.set_enabled(&client_id, true).await?;
                changes::show_switched(&change, "enabled", views::client, None, output);
                Ok(())
            }
            Self::Delete { client_id, yes } => {
                let client = if_readable(clients.find(&client_id).await)?;
                clients.announce().await;
                confirm(&format!("Delete client {client_id}? Its refresh tokens end with it."), yes)?;
                clients.delete(&client_id).await?;
                let deleted = json!({ "client_id": client_id, "deleted": true });
                match client {
                    Some(client) => {
                        let now = clients.clock().now();
                        Consequences::of_refused_client(&client, now, output).show_with(deleted, output);
                    }
                    None => output.show(&deleted),
                }
                Ok(())
            }
            Self::Export(command) => command.run(&clients).await,
            Self::Import(command) => command.run(context, output.is_json()).await,
            Self::Secret(command) => command.run(&clients, output).await,
        }
    }
}

async fn update(
    clients: &Clients<'_>,
    client_id: &str,
    settings: Settings,
    changes: ListChanges,
    output: &Output,
) -> Outcome {
    if settings == Settings::default() && changes == ListChanges::default() {
        return Err(usage_error(
            "nothing to change: name a setting, such as --add-scope SCOPE or --access-ttl 1h; `countersign client update \
             --help` lists them",
        ));
    }
    let before = clients.find(client_id).await?;
    let mut client = before.clone();
    settings.apply(&mut client)?;
    changes.apply(&mut client)?;
    if client != before {
        clients.ensure_valid(&client)?;
        clients.announce().await;
        for warning in clients.warnings(&client, Some(&before)).await {
            output.warn(&warning);
        }
        clients.save(&mut client).await?;
    }
    let effect = Effect::of_client_update(clients.clock().now(), output);
    changes::show(client_id, [&before, &client], views::client, None, &effect, output);
    Ok(())
}

async fn create(
    clients: &Clients<'_>,
    client_id: String,
    settings: Settings,
    secret_stdin: bool,
    output: &Output,
) -> Outcome {
    let mut client = clients.draft(client_id);
    settings.apply(&mut client)?;
    clients.ensure_valid(&client)?;
    let secret = NewSecret::make(clients, secret_stdin, output)?;
    client.secrets.push(secret.stored().clone());
    clients.announce().await;
    for warning in clients.warnings(&client, None).await {
        output.warn(&warning);
    }
    let Err(source) = clients.create(&client).await else {
        secret.show_with(views::client(&client, output), output);
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
        output.show(&views::client(&stored, output));
        return Ok(());
    }
    let (id, created) = (&stored.client_id, output.time(stored.created));
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
