//! `countersign user` and `countersign operator`.

use clap::{Args, Subcommand};
use countersign_issuer::records::{Principal, PrincipalKey, Username};
use countersign_issuer::store::{Record, Table};
use serde_json::{Value, json};

use super::export::PrincipalExport;
use super::import::PrincipalImport;
use super::{Administration, Outcome, confirm, read_secret, refuse, split, without_blank};
use crate::output::{list, moment, show};

pub(super) const USER_EXAMPLES: &str = "\
Examples:
  countersign user create jane@example.com --brand acme --role subscriber
  countersign user update jane@example.com --brand acme --password-stdin < new-password
  countersign user list --brand acme";

pub(super) const OPERATOR_EXAMPLES: &str = "\
Examples:
  countersign operator create alice.ops --brand acme --brand globex --role care-agent
  countersign operator disable alice.ops";

/// Whose record it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    User,
    Operator,
}

impl Kind {
    /// Whether the principal is one of this kind.
    pub(super) fn is_of(self, principal: &Principal) -> bool {
        match PrincipalKey::parse(&principal.key()) {
            Some(PrincipalKey::User { .. }) => self == Self::User,
            Some(PrincipalKey::Operator { .. }) => self == Self::Operator,
            None => false,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum PrincipalCommand {
    /// Create one; the password is asked for
    Create {
        #[command(flatten)]
        name: Name,
        /// A role of the tokens (repeatable)
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// Take the password from standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// List them
    List {
        /// Only those of this brand
        #[arg(long)]
        brand: Option<String>,
    },
    /// Show one
    Show {
        #[command(flatten)]
        name: Name,
    },
    /// Change what is named and leave the rest; a new password ends all sessions
    Update {
        #[command(flatten)]
        name: Name,
        /// A role of the tokens (repeatable; replaces those before)
        #[arg(long = "role", value_name = "ROLE")]
        roles: Option<Vec<String>>,
        /// Ask for a new password
        #[arg(long, conflicts_with = "password_stdin")]
        password: bool,
        /// Take a new password from standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Let one in no more, and end all sessions
    Disable {
        #[command(flatten)]
        name: Name,
    },
    /// Let one in again
    Enable {
        #[command(flatten)]
        name: Name,
    },
    /// End all sessions: every refresh token given out so far
    Logout {
        #[command(flatten)]
        name: Name,
    },
    /// Write them as JSON, with the hashes of their passwords: a backup, or for another stack's `import`
    Export(PrincipalExport),
    /// Import them from an export, or from CSV or JSON
    Import(PrincipalImport),
    /// Delete one
    Delete {
        #[command(flatten)]
        name: Name,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Name {
    /// The username; case does not matter
    username: String,
    /// A user's brand; or the brands that an operator is to serve ('*' for all), when created or updated
    #[arg(long = "brand", value_name = "BRAND")]
    brands: Vec<String>,
}

impl Name {
    /// Whom the name means, where brands are no news about them.
    fn only_key(&self, kind: Kind) -> Outcome<PrincipalKey> {
        if kind == Kind::Operator && !self.brands.is_empty() {
            return Err("an operator is named by the username alone: leave out --brand".into());
        }
        self.key(kind)
    }

    fn key(&self, kind: Kind) -> Outcome<PrincipalKey> {
        let username = Username::parse(&self.username)?.into_string();
        match (kind, self.brands.as_slice()) {
            (Kind::Operator, _) => Ok(PrincipalKey::Operator { username }),
            (Kind::User, [brand]) => Ok(PrincipalKey::User { brand: brand.clone(), username }),
            (Kind::User, _) => Err("a user belongs to one brand: name it with --brand".into()),
        }
    }
}

impl PrincipalCommand {
    pub(super) async fn run(self, kind: Kind, to: &Administration, json: bool) -> Outcome {
        let table = to.table::<Principal>();
        match self {
            Self::Create { name, roles, password_stdin } => {
                let key = name.key(kind)?;
                let password = read_secret("Password", password_stdin)?;
                let principal = Principal::new(
                    &key,
                    password.expose(),
                    without_blank(roles),
                    name.brands,
                    to.clock.now(),
                    &to.random,
                )?;
                refuse(&principal.problems())?;
                table.create(&principal).await.map_err(|error| format!("{}: {error}", key.username()))?;
                show(&view(&principal), json);
                Ok(())
            }
            Self::List { brand } => {
                let (mut all, unreadable) = split(table.list().await?);
                all.retain(|one| {
                    kind.is_of(one) && brand.as_ref().is_none_or(|brand| one.brands.contains(brand))
                });
                all.sort_by_key(Record::key);
                let views: Vec<Value> = all.iter().map(view).collect();
                list(&views, &["username", "brands", "roles", "enabled", "id"], json);
                unreadable
            }
            Self::Show { name } => {
                show(&view(&find(&table, &name.only_key(kind)?).await?), json);
                Ok(())
            }
            Self::Update { name, roles, password, password_stdin } => {
                let mut principal = find(&table, &name.key(kind)?).await?;
                if let Some(roles) = roles {
                    principal.roles = without_blank(roles);
                }
                if kind == Kind::Operator && !name.brands.is_empty() {
                    principal.brands = name.brands;
                }
                if password || password_stdin {
                    let password = read_secret("New password", password_stdin)?;
                    principal.set_password(password.expose(), to.clock.now(), &to.random)?;
                }
                refuse(&principal.problems())?;
                save(to, &table, principal, json).await
            }
            Self::Disable { name } => {
                let mut principal = find(&table, &name.only_key(kind)?).await?;
                principal.disable(to.clock.now());
                save(to, &table, principal, json).await
            }
            Self::Enable { name } => {
                let mut principal = find(&table, &name.only_key(kind)?).await?;
                principal.enabled = true;
                save(to, &table, principal, json).await
            }
            Self::Logout { name } => {
                let mut principal = find(&table, &name.only_key(kind)?).await?;
                principal.end_sessions(to.clock.now());
                save(to, &table, principal, json).await
            }
            Self::Export(command) => command.run(kind, to).await,
            Self::Import(command) => command.run(kind, to, json).await,
            Self::Delete { name, yes } => {
                let key = name.only_key(kind)?;
                confirm(&format!("Delete {}? Its refresh tokens end with it.", key.username()), yes)?;
                if !table.delete(&key.to_string()).await? {
                    return Err(unknown(&key));
                }
                show(&json!({ "username": key.username(), "deleted": true }), json);
                Ok(())
            }
        }
    }
}

async fn find(table: &Table<Principal>, key: &PrincipalKey) -> Outcome<Principal> {
    let principal = table.get(&key.to_string()).await?;
    principal.ok_or_else(|| unknown(key))
}

fn unknown(key: &PrincipalKey) -> Box<dyn std::error::Error + Send + Sync> {
    match key {
        PrincipalKey::User { brand, username } => format!("brand {brand} has no user {username}").into(),
        PrincipalKey::Operator { username } => format!("there is no operator {username}").into(),
    }
}

async fn save(
    to: &Administration,
    table: &Table<Principal>,
    mut principal: Principal,
    json: bool,
) -> Outcome {
    principal.updated = to.clock.now();
    table.save(&mut principal).await?;
    show(&view(&principal), json);
    Ok(())
}

/// A principal for showing: moments as text, and no hash.
fn view(principal: &Principal) -> Value {
    let key = principal.key();
    json!({
        "username": PrincipalKey::parse(&key).map(|key| key.username().to_owned()),
        "id": principal.id,
        "brands": principal.brands,
        "roles": principal.roles,
        "enabled": principal.enabled,
        "sessions_valid_from": moment(principal.sessions_valid_from),
        "created": moment(principal.created),
        "updated": moment(principal.updated),
        "version": principal.version,
    })
}
