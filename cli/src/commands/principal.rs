//! `countersign user` and `countersign operator`.

use clap::{Args, Subcommand};
use countersign_issuer::records::{PrincipalKey, Username};
use countersign_verify::Timestamp;
use serde_json::{Value, json};

use super::changes;
use super::consequences::{Consequences, Effect};
use super::export::PrincipalExport;
use super::import::PrincipalImport;
use super::lists::{self, parse_item, replacement};
use super::views;
use crate::context::Context;
use crate::outcome::{Invalid, Outcome, usage_error};
use crate::output::Output;
use crate::prompt::{confirm, read_secret};
use crate::records::{Change, PrincipalKind, Principals, if_readable};

pub(super) const USER_EXAMPLES: &str = "\
Examples:
  countersign user create jane@example.com --brand acme --role subscriber
  countersign user list --brand acme
  countersign user disable jane@example.com --brand acme";

pub(super) const OPERATOR_EXAMPLES: &str = "\
Examples:
  countersign operator create alice.ops --brand acme --brand globex \\
      --role care-agent
  countersign operator list
  countersign operator disable alice.ops";

const CREATE_EXAMPLES: &str = "\
Examples:
  countersign user create jane@example.com --brand acme --role subscriber
  countersign operator create alice.ops --brand acme --brand globex \\
      --role care-agent --password-stdin < password";

const LIST_EXAMPLES: &str = "\
Examples:
  countersign user list --brand acme
  countersign operator list";

const SHOW_EXAMPLES: &str = "\
Examples:
  countersign user show jane@example.com --brand acme
  countersign operator show alice.ops";

const UPDATE_EXAMPLES: &str = "\
Examples:
  countersign user update jane@example.com --brand acme \\
      --password-stdin < new-password
  countersign user update jane@example.com --brand acme --add-role billing
  countersign operator update alice.ops --add-brand globex
  countersign operator update alice.ops --role care-agent,billing

--role, and --brand of an operator, replaces the list, and --role '' empties it. --add-role, --remove-role and so on leave \
the other items alone; what is removed must be there.";

const DISABLE_EXAMPLES: &str = "\
Examples:
  countersign user disable jane@example.com --brand acme
  countersign operator disable alice.ops";

const ENABLE_EXAMPLES: &str = "\
Examples:
  countersign user enable jane@example.com --brand acme
  countersign operator enable alice.ops";

const LOGOUT_EXAMPLES: &str = "\
Examples:
  countersign user logout jane@example.com --brand acme
  countersign operator logout alice.ops";

const DELETE_EXAMPLES: &str = "\
Examples:
  countersign user delete jane@example.com --brand acme
  countersign operator delete alice.ops";

#[derive(Debug, Subcommand)]
pub(super) enum PrincipalCommand {
    /// Create a user or an operator; ask for the password
    #[command(after_help = CREATE_EXAMPLES)]
    Create {
        #[command(flatten)]
        name: Name,
        /// Role in the tokens (repeatable, or a,b)
        #[arg(long = "role", value_name = "ROLE", value_delimiter = ',')]
        roles: Vec<String>,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// List the users or operators
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// List only those of this brand
        #[arg(long)]
        brand: Option<String>,
    },
    /// Show a user or an operator
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        #[command(flatten)]
        name: Name,
    },
    /// Change the given settings, and show them before and after; a new password ends all sessions
    #[command(after_help = UPDATE_EXAMPLES)]
    Update {
        #[command(flatten)]
        name: Name,
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// Disable a user or an operator and end all sessions; logins are refused, and access tokens
    /// live on until they expire
    #[command(after_help = DISABLE_EXAMPLES)]
    Disable {
        #[command(flatten)]
        name: Name,
    },
    /// Enable a disabled user or operator
    #[command(after_help = ENABLE_EXAMPLES)]
    Enable {
        #[command(flatten)]
        name: Name,
    },
    /// End all sessions; every refresh token issued so far is refused
    #[command(after_help = LOGOUT_EXAMPLES)]
    Logout {
        #[command(flatten)]
        name: Name,
    },
    /// Export the records as JSON with the hashes of their passwords, for a backup or for another
    /// stack
    Export(PrincipalExport),
    /// Import records from an export, from CSV or from JSON
    Import(PrincipalImport),
    /// Delete a user or an operator; the refresh tokens end with the record, and access tokens live on
    /// until they expire
    #[command(after_help = DELETE_EXAMPLES)]
    Delete {
        #[command(flatten)]
        name: Name,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

/// The changes to a user or an operator.
#[derive(Debug, Default, PartialEq, Args)]
pub(super) struct Settings {
    /// Role in the tokens (repeatable, or a,b; replaces the old roles)
    #[arg(long = "role", value_name = "ROLE", value_delimiter = ',')]
    roles: Option<Vec<String>>,
    /// Add a role in the tokens (repeatable, or a,b)
    #[arg(long, value_name = "ROLE", value_delimiter = ',', value_parser = parse_item, conflicts_with = "roles")]
    add_role: Vec<String>,
    /// Remove a role in the tokens (repeatable, or a,b)
    #[arg(long, value_name = "ROLE", value_parser = parse_item, conflicts_with = "roles")]
    remove_role: Vec<String>,
    /// Add a brand that an operator serves (repeatable, or a,b)
    #[arg(long, value_name = "BRAND", value_delimiter = ',', value_parser = parse_item)]
    add_brand: Vec<String>,
    /// Remove a brand that an operator serves (repeatable, or a,b)
    #[arg(long, value_name = "BRAND", value_parser = parse_item)]
    remove_brand: Vec<String>,
    /// Ask for a new password
    #[arg(long, conflicts_with = "password_stdin")]
    password: bool,
    /// Read a new password from standard input
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, Args)]
pub(super) struct Name {
    /// Username, in upper or lower case
    username: String,
    /// Brand of a user; for an operator to create or update, a brand to serve ('*' for all;
    /// repeatable, or a,b)
    #[arg(long = "brand", value_name = "BRAND", value_delimiter = ',')]
    brands: Vec<String>,
}

impl Name {
    /// The key of an existing record, for commands that do not set an operator's brands.
    fn existing_key(&self, kind: PrincipalKind) -> Outcome<PrincipalKey> {
        if kind == PrincipalKind::Operator && !self.brands.is_empty() {
            return Err(usage_error("an operator is named by the username alone: leave out --brand"));
        }
        self.key(kind)
    }

    fn key(&self, kind: PrincipalKind) -> Outcome<PrincipalKey> {
        let username = Username::parse(&self.username).map_err(|error| Invalid(error.to_string()))?;
        let username = username.into_string();
        match (kind, self.brands.as_slice()) {
            (PrincipalKind::Operator, _) => Ok(PrincipalKey::Operator { username }),
            (PrincipalKind::User, [brand]) if !brand.trim().is_empty() => {
                Ok(PrincipalKey::User { brand: brand.trim().to_owned(), username })
            }
            (PrincipalKind::User, _) => {
                Err(usage_error("a user belongs to one brand: name it with --brand BRAND"))
            }
        }
    }
}

impl PrincipalCommand {
    pub(super) async fn run(self, kind: PrincipalKind, context: &Context, output: &Output) -> Outcome {
        let principals = Principals::new(context, kind);
        let principal = match self {
            Self::Create { name, roles, password_stdin } => {
                let key = name.key(kind)?;
                let roles = replacement("role", roles)?;
                let brands = replacement("brand", name.brands)?;
                if !password_stdin {
                    principals.announce().await;
                }
                let password = read_secret("Password", password_stdin)?;
                principals.create(&key, &password, roles, brands).await?
            }
            Self::List { brand } => {
                let mut listing = principals.list().await?;
                listing.records.retain(|one| brand.as_ref().is_none_or(|brand| one.brands.contains(brand)));
                let views: Vec<Value> =
                    listing.records.iter().map(|principal| views::principal(principal, output)).collect();
                output.list(&views, &["username", "brands", "roles", "enabled", "id"]);
                return listing.unreadable;
            }
            Self::Show { name } => principals.find(&name.existing_key(kind)?).await?,
            Self::Update { name, settings } => {
                return update(&principals, kind, name, *settings, output).await;
            }
            Self::Disable { name } => {
                let change = principals.disable(&name.existing_key(kind)?).await?;
                // One that was disabled before has been so since its last change at the latest.
                let since = change.after.updated;
                let consequences = ended_sessions(&principals, kind, true, since, output);
                changes::show_switched(&change, "disabled", views::principal, Some(consequences), output);
                return Ok(());
            }
            Self::Enable { name } => {
                let change = principals.enable(&name.existing_key(kind)?).await?;
                changes::show_switched(&change, "enabled", views::principal, None, output);
                return Ok(());
            }
            Self::Logout { name } => {
                let Change { after, .. } = principals.end_sessions(&name.existing_key(kind)?).await?;
                let consequences = ended_sessions(&principals, kind, false, after.updated, output);
                consequences.show_with(views::principal(&after, output), output);
                return Ok(());
            }
            Self::Export(command) => return command.run(&principals).await,
            Self::Import(command) => return command.run(kind, context, output.is_json()).await,
            Self::Delete { name, yes } => {
                let key = name.existing_key(kind)?;
                if_readable(principals.find(&key).await)?;
                principals.announce().await;
                confirm(&format!("Delete {}? Its refresh tokens end with it.", key.username()), yes)?;
                principals.delete(&key).await?;
                let consequences = ended_sessions(&principals, kind, true, principals.clock().now(), output);
                consequences.show_with(json!({ "username": key.username(), "deleted": true }), output);
                return Ok(());
            }
        };
        output.show(&views::principal(&principal, output));
        Ok(())
    }
}

async fn update(
    principals: &Principals<'_>,
    kind: PrincipalKind,
    name: Name,
    settings: Settings,
    output: &Output,
) -> Outcome {
    let key = name.key(kind)?;
    let changes_brands = !settings.add_brand.is_empty() || !settings.remove_brand.is_empty();
    // The option --brand is part of a user's name.
    let brands = if kind == PrincipalKind::Operator { name.brands } else { Vec::new() };
    if settings == Settings::default() && brands.is_empty() {
        return Err(usage_error(
            "nothing to change: name a setting, such as --add-role ROLE or --password; --help lists them",
        ));
    }
    if changes_brands && kind == PrincipalKind::User {
        return Err(usage_error(
            "a user belongs to one brand, which cannot change: create a user of the other brand",
        ));
    }
    if changes_brands && !brands.is_empty() {
        return Err(usage_error(
            "--brand replaces the brands: leave it out beside --add-brand and --remove-brand",
        ));
    }
    let before = principals.find(&key).await?;
    let mut principal = before.clone();
    if let Some(roles) = settings.roles {
        principal.roles = replacement("role", roles)?;
    }
    if !brands.is_empty() {
        principal.brands = replacement("brand", brands)?;
    }
    lists::remove(&mut principal.roles, "role", settings.remove_role)?;
    lists::add(&mut principal.roles, settings.add_role);
    lists::remove(&mut principal.brands, "brand", settings.remove_brand)?;
    lists::add(&mut principal.brands, settings.add_brand);
    let sets_password = settings.password || settings.password_stdin;
    if sets_password {
        if settings.password {
            principals.announce().await;
        }
        let password = read_secret("New password", settings.password_stdin)?;
        principals.set_password(&mut principal, &password)?;
    }
    if principal != before {
        principals.save_valid(&mut principal).await?;
    }
    let secret_change = sets_password.then_some("The password is new, and all sessions have ended.");
    let effect = Effect::of_principal_update(kind, principals.clock().now(), output);
    changes::show(key.username(), [&before, &principal], views::principal, secret_change, &effect, output);
    Ok(())
}

/// The consequences for a principal whose sessions ended at `since`.
fn ended_sessions(
    principals: &Principals<'_>,
    kind: PrincipalKind,
    is_refused: bool,
    since: Timestamp,
    output: &Output,
) -> Consequences {
    Consequences::of_ended_sessions(kind, is_refused, principals.longest_access(), since, output)
}
