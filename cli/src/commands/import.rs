//! `import`, for clients, users and operators.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::principal::Kind;
use super::{Administration, Outcome};
use crate::commands::client::Typ;
use crate::import::{Mapping, Principals, SpringClients, Values, import, own_client};

const EXIT_CODES: &str = "\
Exit code: 0 done, or everything is ready; 3 (dry run) something would be lost; 4 something was refused; 1 the store \
failed.";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = format!("\
Examples:
  countersign client import clients.json
  countersign client import spring oauth_client_details.csv --brand acme --audience https://api.example.com --dry-run

{EXIT_CODES}"))]
pub(super) struct ClientImport {
    #[command(subcommand)]
    from: Option<From>,
    #[command(flatten)]
    files: Option<Files>,
}

#[derive(Debug, Subcommand)]
enum From {
    /// Import Spring's oauth_client_details or oauth2_registered_client
    #[command(after_help = format!("\
Examples:
  countersign client import spring oauth_client_details.csv --brand acme --audience https://api.example.com --dry-run
  countersign client import spring oauth2_registered_client.json --mapping mapping.toml

The two tables are told apart by their columns; CSV needs its heading, JSON is a list of objects or one object a line.
What the mapping file says of one client goes before the dump, and the dump before these options.
docs/migrate-from-spring.md has the mapping file, the hashes, and the whole way.

{EXIT_CODES}"))]
    Spring(Spring),
}

#[derive(Debug, Args)]
struct Files {
    /// Files as `export` writes them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Judge every row and write nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct Spring {
    /// Dumps of either table
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    given: Given,
    /// An operator on whose behalf they may act, where the dump names none (repeatable)
    #[arg(long = "operator", value_name = "USERNAME")]
    operators: Option<Vec<String>>,
    /// An API that their tokens may be meant for, where the dump has no resource_ids (repeatable)
    #[arg(long = "audience", value_name = "URI")]
    audiences: Option<Vec<String>>,
    /// The typ header of their access tokens [default: at+jwt]
    #[arg(long, value_name = "TYP")]
    typ: Option<Typ>,
}

/// What every import from a foreign table takes.
#[derive(Debug, Args)]
struct Given {
    /// Judge every row and write nothing
    #[arg(long)]
    dry_run: bool,
    /// A mapping file (TOML): where brands and operators stand in the dump, and what its words are here
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// A brand, or '*' for all, where the dump names none (repeatable)
    #[arg(long = "brand", value_name = "BRAND")]
    brands: Option<Vec<String>>,
    /// A role, where the dump names none (repeatable)
    #[arg(long = "role", value_name = "ROLE")]
    roles: Option<Vec<String>>,
    /// Take {noop} and plain values, and keep argon2id of them
    #[arg(long)]
    hash_plain: bool,
    /// Take {MD5}, {SHA-1}, {SHA-256} and {sha256}, and keep argon2id of the digest
    #[arg(long)]
    allow_legacy: bool,
}

impl Given {
    fn values(&self) -> Values {
        Values { hash_plain: self.hash_plain, allow_legacy: self.allow_legacy }
    }

    fn into_mapping(self) -> Outcome<Mapping> {
        let mut mapping = self.mapping.as_deref().map(Mapping::read).transpose()?.unwrap_or_default();
        mapping.default.brands = self.brands.or(mapping.default.brands);
        mapping.default.roles = self.roles.or(mapping.default.roles);
        Ok(mapping)
    }
}

impl ClientImport {
    pub(super) async fn run(self, to: &Administration, json: bool) -> Outcome {
        match (self.from, self.files) {
            (Some(From::Spring(spring)), _) => spring.run(to, json).await,
            (None, Some(Files { files, dry_run })) => {
                let limits = to.limits();
                import(files, move |row| own_client(row, limits), Vec::new, to, dry_run, json).await
            }
            (None, None) => Err("name a file".into()),
        }
    }
}

impl Spring {
    async fn run(self, to: &Administration, json: bool) -> Outcome {
        let (dry_run, values) = (self.given.dry_run, self.given.values());
        let mut mapping = self.given.into_mapping()?;
        mapping.default.operators = self.operators.or(mapping.default.operators);
        mapping.default.audiences = self.audiences.or(mapping.default.audiences);
        let typ = self.typ.map(Typ::into).unwrap_or_default();
        let clients = SpringClients { mapping, limits: to.limits(), typ, values, now: to.clock.now() };
        let unmatched = || clients.mapping.unmatched(true);
        import(self.files, |row| clients.judge(row), unmatched, to, dry_run, json).await
    }
}

#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  countersign user import users.csv --brand acme --role subscriber --dry-run
  countersign operator import operators.json

Columns: username, password (a hash as Spring's encoders write it), roles or authorities, brand or brands, enabled; or
what `export` writes.

{EXIT_CODES}"))]
pub(super) struct PrincipalImport {
    /// CSV with a heading, or JSON
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    given: Given,
}

impl PrincipalImport {
    pub(super) async fn run(self, kind: Kind, to: &Administration, json: bool) -> Outcome {
        let (dry_run, values) = (self.given.dry_run, self.given.values());
        let principals = Principals {
            is_operator: kind == Kind::Operator,
            mapping: self.given.into_mapping()?,
            values,
            now: to.clock.now(),
            random: to.random.clone(),
        };
        let unmatched = || principals.mapping.unmatched(false);
        import(self.files, |row| principals.judge(row), unmatched, to, dry_run, json).await
    }
}
