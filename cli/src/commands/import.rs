//! `import`, for clients, users and operators.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use countersign_issuer::records::{Client, Principal};
use jiff::tz::TimeZone;

use super::arguments::Typ;
use super::lists::{replacement, usernames};
use crate::context::Context;
use crate::import::{AcceptedValues, Mapping, PrincipalRows, SpringClients, convert_client, import, open};
use crate::outcome::{Outcome, usage_error};
use crate::records::PrincipalKind;

/// The end of every `import --help`.
macro_rules! with_exit_codes {
    ($text:literal) => {
        concat!(
            $text,
            "\n\nExit code: 0 if everything was imported, or is ready to be; 3 (dry run) if something would be lost; \
             4 if a row was refused; 1 if the store failed."
        )
    };
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = with_exit_codes!("\
Examples:
  countersign client import clients.json
  countersign client import spring oauth_client_details.csv \\
      --brand acme --audience https://api.example.com --dry-run"))]
pub(super) struct ClientImport {
    #[command(subcommand)]
    from: Option<From>,
    #[command(flatten)]
    files: Option<Files>,
}

#[derive(Debug, Subcommand)]
enum From {
    /// Import Spring's oauth_client_details or oauth2_registered_client
    #[command(after_help = with_exit_codes!("\
Examples:
  countersign client import spring oauth_client_details.csv \\
      --brand acme --audience https://api.example.com --dry-run
  countersign client import spring oauth2_registered_client.json \\
      --mapping mapping.toml

The columns show which of the two tables a file contains. It is CSV, text as mysql -B and COPY write it, each with a \
heading, or JSON. The mapping file's values for one client override the dump, and the dump overrides these options. See \
docs/migrate-from-spring.md for the mapping file, the supported hashes and the whole migration."))]
    Spring(Spring),
}

#[derive(Debug, Args)]
struct Files {
    /// Files that `export` wrote
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Check every row and write nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct Spring {
    /// Dumps of one of the two tables
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    options: ForeignTable,
    /// Operator on whose behalf the clients may act, if the dump names none (repeatable, or a,b)
    #[arg(long = "operator", value_name = "USERNAME", value_delimiter = ',')]
    operators: Option<Vec<String>>,
    /// Audience of the clients' tokens, if the dump has no resource_ids (repeatable, or a,b)
    #[arg(long = "audience", value_name = "URI", value_delimiter = ',')]
    audiences: Option<Vec<String>>,
    /// Time zone of times without an offset, such as Europe/Berlin [default: UTC, with a loss]
    #[arg(long, value_name = "ZONE", value_parser = parse_zone)]
    time_zone: Option<TimeZone>,
    /// Header typ of the clients' access tokens [default: at+jwt]
    #[arg(long, value_name = "TYP")]
    typ: Option<Typ>,
}

fn parse_zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name)
        .map_err(|_| "not a name of the IANA time zone database, such as Europe/Berlin or UTC".into())
}

/// The options of every import from a foreign table.
#[derive(Debug, Args)]
struct ForeignTable {
    /// Check every row and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Mapping file (TOML): where the dump has brands and operators, and new names for its values
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// Brand, or '*' for all, if the dump names none (repeatable, or a,b)
    #[arg(long = "brand", value_name = "BRAND", value_delimiter = ',')]
    brands: Option<Vec<String>>,
    /// Role, if the dump names none (repeatable, or a,b)
    #[arg(long = "role", value_name = "ROLE", value_delimiter = ',')]
    roles: Option<Vec<String>>,
    /// Accept {noop} and plain values; store them as argon2id
    #[arg(long)]
    hash_plain: bool,
    /// Accept {MD5}, {SHA-1}, {SHA-256} and {sha256}; store argon2id of the digest
    #[arg(long)]
    allow_legacy: bool,
}

impl ForeignTable {
    fn accepted(&self) -> AcceptedValues {
        AcceptedValues { hash_plain: self.hash_plain, allow_legacy: self.allow_legacy }
    }

    fn into_mapping(self) -> Outcome<Mapping> {
        let mut mapping = self.mapping.as_deref().map(Mapping::read).transpose()?.unwrap_or_default();
        let list =
            |option, items: Option<Vec<String>>| items.map(|items| replacement(option, items)).transpose();
        mapping.default.brands = list("brand", self.brands)?.or(mapping.default.brands);
        mapping.default.roles = list("role", self.roles)?.or(mapping.default.roles);
        Ok(mapping)
    }
}

impl ClientImport {
    pub(super) async fn run(self, context: &Context, json: bool) -> Outcome {
        match (self.from, self.files) {
            (Some(From::Spring(spring)), _) => spring.run(context, json).await,
            (None, Some(Files { files, dry_run })) => {
                let rules = context.client_rules();
                let files = open::<Client>(&files)?;
                if !dry_run {
                    context.announcement.show().await;
                }
                import(&files, |row| convert_client(&row, rules), Vec::new, context, dry_run, json).await
            }
            (None, None) => Err(usage_error("name a file")),
        }
    }
}

impl Spring {
    async fn run(self, context: &Context, json: bool) -> Outcome {
        let (dry_run, accepted) = (self.options.dry_run, self.options.accepted());
        let mut mapping = self.options.into_mapping()?;
        let operators = self.operators.map(|items| replacement("operator", items)).transpose()?;
        mapping.default.operators = operators.map(usernames).or(mapping.default.operators);
        let audiences = self.audiences.map(|items| replacement("audience", items)).transpose()?;
        mapping.default.audiences = audiences.or(mapping.default.audiences);
        let typ = self.typ.map(Typ::into).unwrap_or_default();
        let (rules, now) = (context.client_rules().clone(), context.clock.now());
        let files = open::<Client>(&self.files)?;
        let clients = SpringClients { mapping, rules, typ, accepted, zone: self.time_zone, now };
        let unmatched = || clients.mapping.unmatched(true);
        if !dry_run {
            context.announcement.show().await;
        }
        import(&files, |row| clients.convert_row(row), unmatched, context, dry_run, json).await
    }
}

#[derive(Debug, Args)]
#[command(after_help = with_exit_codes!("\
Examples:
  countersign user import users.csv --brand acme --role subscriber --dry-run
  countersign operator import operators.json

Columns: username, password (a hash as Spring's encoders write it), roles or authorities, brand or brands, enabled and \
Spring's other flags. A file of users needs a column of roles, or --role. Files that `export` wrote are imported too."))]
pub(super) struct PrincipalImport {
    /// CSV or other text with a heading, or JSON
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    options: ForeignTable,
}

impl PrincipalImport {
    pub(super) async fn run(self, kind: PrincipalKind, context: &Context, json: bool) -> Outcome {
        let (dry_run, accepted) = (self.options.dry_run, self.options.accepted());
        let principals = PrincipalRows {
            kind,
            mapping: self.options.into_mapping()?,
            accepted,
            now: context.clock.now(),
            random: context.random.clone(),
        };
        let files = open::<Principal>(&self.files)?;
        principals.check(&files)?;
        let unmatched = || principals.mapping.unmatched(false);
        if !dry_run {
            context.announcement.show().await;
        }
        import(&files, |row| principals.convert_row(row), unmatched, context, dry_run, json).await
    }
}
