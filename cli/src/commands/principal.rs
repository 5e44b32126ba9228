//! `countersign user` and `countersign operator`.

use clap::{Args, Subcommand};
use countersign_issuer::records::{PrincipalKey, Username};
use serde_json::{Value, json};

use super::arguments::without_blank;
use super::export::PrincipalExport;
use super::import::PrincipalImport;
use super::views;
use crate::context::Context;
use crate::outcome::Outcome;
use crate::output::{list, show};
use crate::prompt::{confirm, read_secret};
use crate::records::{PrincipalKind, Principals};

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
  countersign operator update alice.ops --role care-agent --role billing";

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
        /// Role in the tokens (repeatable)
        #[arg(long = "role", value_name = "ROLE")]
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
    /// Change the given settings; a new password ends all sessions
    #[command(after_help = UPDATE_EXAMPLES)]
    Update {
        #[command(flatten)]
        name: Name,
        /// Role in the tokens (repeatable; replaces the old roles)
        #[arg(long = "role", value_name = "ROLE")]
        roles: Option<Vec<String>>,
        /// Ask for a new password
        #[arg(long, conflicts_with = "password_stdin")]
        password: bool,
        /// Read a new password from standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Disable a user or an operator and end all sessions; logins are refused
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
    /// Export the records as JSON with the hashes of their passwords, for a backup or for another stack
    Export(PrincipalExport),
    /// Import records from an export, from CSV or from JSON
    Import(PrincipalImport),
    /// Delete a user or an operator; the refresh tokens end with the record
    #[command(after_help = DELETE_EXAMPLES)]
    Delete {
        #[command(flatten)]
        name: Name,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Name {
    /// Username, in upper or lower case
    username: String,
    /// Brand of a user; for an operator to create or update, a brand to serve ('*' for all, repeatable)
    #[arg(long = "brand", value_name = "BRAND")]
    brands: Vec<String>,
}

impl Name {
    /// The key of an existing record, for commands that do not set an operator's brands.
    fn existing_key(&self, kind: PrincipalKind) -> Outcome<PrincipalKey> {
        if kind == PrincipalKind::Operator && !self.brands.is_empty() {
            return Err("an operator is named by the username alone: leave out --brand".into());
        }
        self.key(kind)
    }

    fn key(&self, kind: PrincipalKind) -> Outcome<PrincipalKey> {
        let username = Username::parse(&self.username)?.into_string();
        match (kind, self.brands.as_slice()) {
            (PrincipalKind::Operator, _) => Ok(PrincipalKey::Operator { username }),
            (PrincipalKind::User, [brand]) => Ok(PrincipalKey::User { brand: brand.clone(), username }),
            (PrincipalKind::User, _) => Err("a user belongs to one brand: name it with --brand".into()),
        }
    }
}

impl PrincipalCommand {
    pub(super) async fn run(self, kind: PrincipalKind, context: &Context, json: bool) -> Outcome {
        let principals = Principals::new(context, kind);
        let principal = match self {
            Self::Create { name, roles, password_stdin } => {
                let key = name.key(kind)?;
                let password = read_secret("Password", password_stdin)?;
                principals.create(&key, &password, without_blank(roles), name.brands).await?
            }
            Self::List { brand } => {
                let mut listing = principals.list().await?;
                listing.records.retain(|one| brand.as_ref().is_none_or(|brand| one.brands.contains(brand)));
                let views: Vec<Value> = listing.records.iter().map(views::principal).collect();
                list(&views, &["username", "brands", "roles", "enabled", "id"], json);
                return listing.unreadable;
            }
            Self::Show { name } => principals.find(&name.existing_key(kind)?).await?,
            Self::Update { name, roles, password, password_stdin } => {
                let mut principal = principals.find(&name.key(kind)?).await?;
                if let Some(roles) = roles {
                    principal.roles = without_blank(roles);
                }
                if kind == PrincipalKind::Operator && !name.brands.is_empty() {
                    principal.brands = name.brands;
                }
                if password || password_stdin {
                    let password = read_secret("New password", password_stdin)?;
                    principals.set_password(&mut principal, &password)?;
                }
                principals.save_valid(&mut principal).await?;
                principal
            }
            Self::Disable { name } => principals.disable(&name.existing_key(kind)?).await?,
            Self::Enable { name } => principals.enable(&name.existing_key(kind)?).await?,
            Self::Logout { name } => principals.end_sessions(&name.existing_key(kind)?).await?,
            Self::Export(command) => return command.run(&principals).await,
            Self::Import(command) => return command.run(kind, context, json).await,
            Self::Delete { name, yes } => {
                let key = name.existing_key(kind)?;
                confirm(&format!("Delete {}? Its refresh tokens end with it.", key.username()), yes)?;
                principals.delete(&key).await?;
                show(&json!({ "username": key.username(), "deleted": true }), json);
                return Ok(());
            }
        };
        show(&views::principal(&principal), json);
        Ok(())
    }
}
