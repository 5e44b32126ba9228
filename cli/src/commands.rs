//! The command line.
#![allow(clippy::doc_markdown, reason = "doc comments are the help text, where a back-tick would be shown")]

mod client;
mod dev;
mod doctor;
mod export;
mod import;
mod key;
mod policy;
mod principal;
mod secret;
mod target;
mod token;

use std::error::Error;
use std::io::{IsTerminal, Read};

use clap::{Parser, Subcommand};
use countersign_issuer::audit::AuditLog;
use countersign_issuer::config::StoreConfig;
use countersign_issuer::credentials::Secret;
use countersign_issuer::keys::{KeyTable, Ring, RotationSchedule, Rotator};
use countersign_issuer::random::Random;
use countersign_issuer::records::Lifetimes;
use countersign_issuer::records::RecordProblem;
use countersign_issuer::store::{Record, StoreError, Table, dynamodb};
use countersign_verify::Clock;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use target::Target;

/// What a command comes to. An error is shown to the person as it stands.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// An outcome that is told apart by the program's exit code.
#[derive(Debug, thiserror::Error)]
#[error("{said}")]
pub struct Worst {
    /// The exit code.
    pub code: u8,
    /// What is said to the person.
    pub said: String,
}

const EXAMPLES: &str = "\
Examples:
  countersign dev
  countersign client create billing --name 'Billing' --grant client_credentials --scope bills:read \\
      --audience https://api.example.com
  countersign user create jane@example.com --brand acme --role subscriber
  curl … | countersign token verify --jwks jwks.json --issuer https://issuer.example.com

  countersign doctor --profile admin --region eu-central-1

Administration finds credentials and the region as the AWS CLI does (environment, profiles, SSO, roles), and reads
AWS_ENDPOINT_URL_DYNAMODB and COUNTERSIGN_TABLE_PREFIX; `key rotate`, `key withdraw` and `doctor` also
COUNTERSIGN_KMS_KEY_ID and the schedule as the functions have them (the stack's output Environment). For the store of a
running `countersign dev`:
  set -a; . .countersign/env; set +a";

/// A stateless OAuth 2.0 token issuer: a local one to try, and the administration of a deployed one.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an issuer, its store and a protected demo API on this machine
    Dev(dev::DevCommand),
    /// Administer clients and their secrets
    #[command(subcommand)]
    Client(client::ClientCommand),
    /// Administer the users of a brand
    #[command(subcommand, after_help = principal::USER_EXAMPLES)]
    User(principal::PrincipalCommand),
    /// Administer operators
    #[command(subcommand, after_help = principal::OPERATOR_EXAMPLES)]
    Operator(principal::PrincipalCommand),
    /// Look at the signing keys, rotate them, withdraw a compromised one
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Say what is wrong with a deployment, and what to do about it
    Doctor(doctor::DoctorCommand),
    /// Look into tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Check which routes of an API callers may use
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
}

impl Arguments {
    /// Does what was asked.
    pub async fn run(self) -> Outcome {
        let (json, target) = (self.json, &self.target);
        let outcome = match self.command {
            Command::Dev(command) => command.run(json).await,
            Command::Client(command) => command.run(&Administration::of(target).await?, json).await,
            Command::User(command) => {
                command.run(principal::Kind::User, &Administration::of(target).await?, json).await
            }
            Command::Operator(command) => {
                command.run(principal::Kind::Operator, &Administration::of(target).await?, json).await
            }
            Command::Key(command) => command.run(target, json).await,
            Command::Doctor(command) => command.run(target, json).await,
            Command::Token(command) => command.run(&Clock::system(), json),
            Command::Policy(command) => command.run(json),
        };
        outcome.map_err(|error| target.explain(error))
    }
}

/// The records' store, and what writing to it needs.
pub(crate) struct Administration {
    db: aws_sdk_dynamodb::Client,
    prefix: String,
    schedule: RotationSchedule,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
}

impl Administration {
    async fn of(target: &Target) -> Outcome<Self> {
        let config = StoreConfig::from_lookup(target.lookup().await?)?;
        Ok(Self {
            db: dynamodb(&config.aws),
            prefix: config.table_prefix,
            schedule: config.schedule,
            clock: Clock::system(),
            random: Random::system(),
        })
    }

    /// The longest lifetimes that a client may be given.
    fn limits(&self) -> Lifetimes {
        self.schedule.settings().max_lifetimes
    }

    pub(crate) fn table<R: Record>(&self) -> Table<R> {
        Table::new(self.db.clone(), &self.prefix)
    }
}

/// Whoever changes the ring of keys: needs what the records' store needs, and the key that wraps signing keys.
async fn rotator_of(target: &Target) -> Outcome<Rotator> {
    let (config, envelope) = StoreConfig::with_envelope_from_lookup(target.lookup().await?)?;
    let envelope = envelope.into_envelope(&config.aws);
    let db = dynamodb(&config.aws);
    let (clock, random, audit) = (Clock::system(), Random::system(), AuditLog::tracing());
    Ok(Rotator::new(&db, &config.table_prefix, config.schedule, envelope, clock, random, audit))
}

/// The ring of keys: needs no key that wraps.
async fn ring_of(target: &Target) -> Outcome<Ring> {
    let config = StoreConfig::from_lookup(target.lookup().await?)?;
    Ok(KeyTable::new(dynamodb(&config.aws), &config.table_prefix).ring(&config.schedule).await?)
}

/// Lines for a person, on standard error.
fn log_to_stderr() {
    #[expect(clippy::disallowed_methods, reason = "start-up is where the environment is read")]
    let filter = std::env::var("RUST_LOG").ok().and_then(|value| value.parse().ok());
    let filter: Targets = filter.unwrap_or_else(|| {
        // A refused condition is how a refresh learns where its family stands: no news of the embedded store's.
        Targets::new().with_default(LevelFilter::INFO).with_target("dynoxide", LevelFilter::ERROR)
    });
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(filter).init();
}

/// Standard input, without the line's end.
fn read_stdin() -> Outcome<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// A secret from standard input, or typed twice and not shown.
fn read_secret(what: &str, from_stdin: bool) -> Outcome<Secret> {
    if from_stdin {
        return Ok(Secret::from_string(read_stdin()?));
    }
    if !std::io::stdin().is_terminal() {
        let flag = format!("--{}-stdin", what.rsplit(' ').next().unwrap_or_default().to_lowercase());
        return Err(format!("there is no terminal to ask at: give it on standard input with {flag}").into());
    }
    let typed = Secret::from_string(rpassword::prompt_password(format!("{what}: "))?);
    let again = Secret::from_string(rpassword::prompt_password(format!("{what}, again: "))?);
    if typed.expose() == again.expose() {
        Ok(typed)
    } else {
        Err("the two do not match; nothing was changed".into())
    }
}

/// Asks before something is lost; `--yes` answers.
fn confirm(question: &str, yes: bool) -> Outcome {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(format!("{question} Repeat the command with --yes.").into());
    }
    #[expect(clippy::print_stderr, reason = "a question to the person at the terminal")]
    {
        eprint!("{question} [y/N] ");
    }
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if answer.trim().eq_ignore_ascii_case("y") { Ok(()) } else { Err("nothing was changed".into()) }
}

/// Refuses a record with problems, naming them all.
fn refuse(problems: &[RecordProblem]) -> Outcome {
    if problems.is_empty() {
        return Ok(());
    }
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Err(format!("not stored:\n  {}", problems.join("\n  ")).into())
}

/// A list from the command line: one blank item stands for none at all.
fn without_blank(mut items: Vec<String>) -> Vec<String> {
    items.retain(|item| !item.is_empty());
    items
}

/// The records that can be read, and the outcome that names the others.
fn split<R>(records: Vec<Result<R, StoreError>>) -> (Vec<R>, Outcome) {
    let mut readable = Vec::new();
    let mut problems = Vec::new();
    for record in records {
        match record {
            Ok(record) => readable.push(record),
            Err(error) => problems.push(error.to_string()),
        }
    }
    let outcome = if problems.is_empty() { Ok(()) } else { Err(problems.join("\n").into()) };
    (readable, outcome)
}
