//! The command line: arguments and output.
#![allow(clippy::doc_markdown, reason = "doc comments are the help text, which shows backticks")]

mod arguments;
mod changes;
mod client;
mod consequences;
mod dev;
mod doctor;
mod export;
mod import;
mod key;
mod lists;
mod manual;
mod policy;
mod principal;
mod secret;
mod target;
mod token;
mod views;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use countersign_verify::Clock;
use serde_json::{Value, json};

use crate::outcome::Outcome;
use crate::output::{Output, escape_json};
use crate::progress::Progress;
use crate::records::PrincipalKind;
use crate::streams;
use client::ClientCommand;
use principal::PrincipalCommand;
use target::Target;

const EXAMPLES: &str = "\
Examples:
  countersign dev
  countersign client create billing --grant client_credentials \\
      --scope bills:read --audience https://api.example.com
  countersign user create jane@example.com --brand acme --role subscriber
  curl … | countersign token verify --jwks jwks.json \\
      --issuer https://issuer.example.com
  countersign doctor --profile admin --region eu-central-1

Credentials and the region come from the environment, a profile, SSO or a role, as for the AWS CLI. Administration also \
reads AWS_ENDPOINT_URL_DYNAMODB, AWS_ENDPOINT_URL_STS, COUNTERSIGN_TABLE_PREFIX and COUNTERSIGN_ISSUER, which it refuses as an audience. `key \
rotate`, `key withdraw` and `doctor` need COUNTERSIGN_KMS_KEY_ID and the key rotation settings as well: set them as the \
functions have them (stack output Environment).

For the store of a running `countersign dev`:
  set -a; . .countersign/env; set +a";

/// Run a stateless OAuth 2.0 token issuer locally, and administer a deployed one.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Print JSON
    #[arg(long, global = true, display_order = 900)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an issuer, its store and a protected demo API on this machine
    #[command(args(target::hidden_flags()))]
    Dev(dev::DevCommand),
    /// Administer clients and their secrets
    #[command(subcommand, after_help = client::EXAMPLES)]
    Client(client::ClientCommand),
    /// Administer the users of a brand
    #[command(subcommand, after_help = principal::USER_EXAMPLES)]
    User(principal::PrincipalCommand),
    /// Administer operators
    #[command(subcommand, after_help = principal::OPERATOR_EXAMPLES)]
    Operator(principal::PrincipalCommand),
    /// List, rotate and withdraw signing keys
    #[command(subcommand, after_help = key::EXAMPLES)]
    Key(key::KeyCommand),
    /// Check a deployment; report each fault with its remedy
    Doctor(doctor::DoctorCommand),
    /// Inspect and verify tokens
    #[command(subcommand, after_help = token::EXAMPLES, args(target::hidden_flags()))]
    Token(token::TokenCommand),
    /// Check which routes of an API callers may use
    #[command(subcommand, after_help = policy::EXAMPLES, args(target::hidden_flags()))]
    Policy(policy::PolicyCommand),
    /// Print the completions of a shell
    #[command(args(target::hidden_flags()))]
    Completions(manual::CompletionsCommand),
    /// Print the man page, or write one for each command
    #[command(args(target::hidden_flags()))]
    Man(manual::ManCommand),
}

impl Command {
    /// Returns true for a command that waits for the store and does not show its own progress.
    fn waits_for_store(&self) -> bool {
        match self {
            Self::Client(command) => !matches!(command, ClientCommand::Import(_)),
            Self::User(command) | Self::Operator(command) => !matches!(command, PrincipalCommand::Import(_)),
            Self::Key(_) | Self::Doctor(_) => true,
            _ => false,
        }
    }
}

impl Arguments {
    /// Reads the program's arguments.
    pub(crate) fn read() -> Result<Self, Usage> {
        let mut arguments: Vec<OsString> = std::env::args_os().collect();
        if arguments.get(1).is_some_and(|command| command == "help") {
            // clap takes the names of commands alone here. Help is text for a person either way.
            arguments.retain(|argument| argument != "--json");
        }
        Self::try_parse_from(&arguments).map_err(|error| {
            let options = arguments.iter().take_while(|argument| *argument != "--");
            Usage { error, json: options.into_iter().any(|argument| argument == "--json") }
        })
    }

    /// Returns true if a program reads the output.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// Runs the command.
    pub(crate) async fn run(self, output: &Output) -> Outcome {
        let (json, target) = (self.json, &self.target);
        let _progress =
            self.command.waits_for_store().then(|| Progress::spinner("Waiting for DynamoDB", json));
        let context = async || -> Outcome<_> { target::context(&target.lookup().await?, json) };
        let outcome = match self.command {
            Command::Dev(command) => command.run(json).await,
            Command::Client(command) => command.run(&context().await?, output).await,
            Command::User(command) => command.run(PrincipalKind::User, &context().await?, output).await,
            Command::Operator(command) => {
                command.run(PrincipalKind::Operator, &context().await?, output).await
            }
            Command::Key(command) => command.run(&target.lookup().await?, output).await,
            Command::Doctor(command) => command.run(&target.lookup().await?, output).await,
            Command::Token(command) => command.run(&Clock::system(), output),
            Command::Policy(command) => command.run(output),
            Command::Completions(command) => command.run(Self::command()),
            Command::Man(command) => command.run(Self::command()),
        };
        outcome.map_err(|error| target.explain(error))
    }
}

/// Arguments that name no command, or a request for help.
pub(crate) struct Usage {
    error: clap::Error,
    json: bool,
}

impl Usage {
    /// Prints the help to standard output, or the error to standard error.
    pub(crate) fn report(self) -> ExitCode {
        let shown = self.error.render();
        if !self.error.use_stderr() {
            streams::print(&shown.ansi().to_string());
            if let Some(error) = streams::lost_output() {
                streams::print_error(&format!("error: standard output: {error}\n"));
                return ExitCode::FAILURE;
            }
        } else if self.json {
            streams::print_error(&format!("{}\n", escape_json(&self.as_json().to_string())));
        } else {
            streams::print_error(&shown.ansi().to_string());
        }
        u8::try_from(self.error.exit_code()).unwrap_or(1).into()
    }

    /// The first paragraph is the error, and the others are the remedy.
    fn as_json(&self) -> Value {
        let text = self.error.render().to_string();
        let text = text.trim().strip_prefix("error: ").unwrap_or(text.trim());
        let (message, remedy) = match self.error.kind() {
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                ("a command or an argument is missing", text)
            }
            _ => text.split_once("\n\n").unwrap_or((text, "")),
        };
        json!({ "error": { "code": "usage", "message": message, "remedy": remedy } })
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory};

    use super::*;

    /// Passes every command with its path to `check`, except clap's own `help`.
    fn for_each_command(command: &Command, path: &str, check: &mut impl FnMut(&Command, &str)) {
        let path = format!("{path} {}", command.get_name());
        check(command, &path);
        for subcommand in command.get_subcommands().filter(|one| one.get_name() != "help") {
            for_each_command(subcommand, &path, check);
        }
    }

    /// The commands as the program has them, with the global options passed down.
    fn commands() -> Command {
        let mut commands = Arguments::command();
        commands.build();
        commands
    }

    fn after_help(command: &Command) -> String {
        command.get_after_help().map(ToString::to_string).unwrap_or_default()
    }

    #[test]
    fn every_command_has_examples_of_at_most_78_columns() {
        for_each_command(&commands(), "", &mut |command, path| {
            let text = after_help(command);
            let examples: Vec<&str> = text.lines().filter(|line| line.starts_with("  ")).collect();
            assert!(text.starts_with("Example") || text.contains("\nExample"), "{path}");
            let name = path.trim_start();
            let end = [" ", "\n"].map(|end| format!("{name}{end}"));
            let shows = |line: &&str| end.iter().any(|end| format!("{line}\n").contains(end.as_str()));
            assert!(examples.iter().any(shows), "an example of {name} in {text}");
            for line in examples {
                assert!(line.chars().count() <= 78, "{path}: {line}");
            }
        });
    }

    #[test]
    fn help_wraps_at_80_and_at_100_columns_and_breaks_no_example() {
        for columns in [80, 100] {
            for_each_command(&commands(), "", &mut |command, path| {
                let mut command = command.clone().term_width(columns);
                for help in [command.render_help(), command.render_long_help()].map(|help| help.to_string()) {
                    for line in help.lines() {
                        assert!(line.chars().count() <= columns, "{path} at {columns}: {line}");
                    }
                    for line in after_help(&command).lines().filter(|line| line.starts_with("  ")) {
                        assert!(help.lines().any(|shown| shown == line), "{path} at {columns}: {line}");
                    }
                }
            });
        }
    }

    #[test]
    fn help_is_one_line_to_a_paragraph_so_that_it_wraps_at_any_width() {
        for_each_command(&commands(), "", &mut |command, path| {
            let text = after_help(command);
            let is_prose = |line: &str| !line.is_empty() && !line.starts_with("  ") && !line.ends_with(':');
            let lines: Vec<&str> = text.lines().collect();
            for pair in lines.windows(2) {
                assert!(!is_prose(pair[0]) || !is_prose(pair[1]), "{path}: {} / {}", pair[0], pair[1]);
            }
        });
    }
}
