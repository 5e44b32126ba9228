//! `export`: the records with their hashes, as a JSON list with one record a line.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use clap::Args;
use countersign_issuer::records::ANY_BRAND;
use serde::Serialize;

use crate::outcome::Outcome;
use crate::output::escape_json;
use crate::records::{Clients, Principals};
use crate::streams;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  countersign client export --output clients.json")]
pub(super) struct ClientExport {
    #[command(flatten)]
    to: Destination,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign user export --brand acme --output users.json
  countersign operator export --output operators.json")]
pub(super) struct PrincipalExport {
    /// Export only the principals that serve this brand, those of all brands included
    #[arg(long)]
    brand: Option<String>,
    #[command(flatten)]
    to: Destination,
}

#[derive(Debug, Args)]
struct Destination {
    /// Write a new file that only its owner can read [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl ClientExport {
    pub(super) async fn run(self, clients: &Clients<'_>) -> Outcome {
        let listing = clients.list().await?;
        self.to.write(&listing.records)?;
        listing.unreadable
    }
}

impl PrincipalExport {
    pub(super) async fn run(self, principals: &Principals<'_>) -> Outcome {
        let mut listing = principals.list().await?;
        listing.records.retain(|one| {
            let serves = |brand: &String| one.brands.iter().any(|own| own == brand || own == ANY_BRAND);
            self.brand.as_ref().is_none_or(serves)
        });
        self.to.write(&listing.records)?;
        listing.unreadable
    }
}

impl Destination {
    fn write<R: Serialize>(&self, records: &[R]) -> Outcome {
        let out: Box<dyn Write> = match &self.output {
            None => Box::new(streams::stdout()),
            Some(path) => {
                let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
                Box::new(file.map_err(|error| format!("{}: {error}", path.display()))?)
            }
        };
        let mut out = BufWriter::new(out);
        let mut separator = "[\n";
        for record in records {
            out.write_all(separator.as_bytes())?;
            // Standard output may be a terminal, and escapes change no value.
            out.write_all(escape_json(&serde_json::to_string(record)?).as_bytes())?;
            separator = ",\n";
        }
        out.write_all(if records.is_empty() { b"[]\n" } else { b"\n]\n" })?;
        Ok(out.flush()?)
    }
}
