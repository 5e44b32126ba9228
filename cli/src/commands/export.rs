//! `export`: the records with their hashes, one a line of a JSON list.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use clap::Args;
use countersign_issuer::records::{ANY_BRAND, Client, Principal};
use countersign_issuer::store::Record;

use super::principal::Kind;
use super::{Administration, Outcome, split};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  countersign client export --output clients.json")]
pub(super) struct ClientExport {
    #[command(flatten)]
    to: Target,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  countersign user export --brand acme --output users.json")]
pub(super) struct PrincipalExport {
    /// Only those of this brand, operators of all brands included
    #[arg(long)]
    brand: Option<String>,
    #[command(flatten)]
    to: Target,
}

#[derive(Debug, Args)]
struct Target {
    /// A new file, for its owner's eyes alone [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl ClientExport {
    pub(super) async fn run(self, from: &Administration) -> Outcome {
        let (clients, unreadable) = split(from.table::<Client>().list().await?);
        self.to.write(clients)?;
        unreadable
    }
}

impl PrincipalExport {
    pub(super) async fn run(self, kind: Kind, from: &Administration) -> Outcome {
        let (mut principals, unreadable) = split(from.table::<Principal>().list().await?);
        principals.retain(|one| {
            let serves = |brand: &String| one.brands.iter().any(|own| own == brand || own == ANY_BRAND);
            kind.is_of(one) && self.brand.as_ref().is_none_or(serves)
        });
        self.to.write(principals)?;
        unreadable
    }
}

impl Target {
    fn write<R: Record>(self, mut records: Vec<R>) -> Outcome {
        records.sort_by_cached_key(Record::key);
        let out: Box<dyn Write> = match &self.output {
            None => Box::new(std::io::stdout()),
            Some(path) => {
                let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
                Box::new(file.map_err(|error| format!("{}: {error}", path.display()))?)
            }
        };
        let mut out = BufWriter::new(out);
        let mut separator = "[\n";
        for record in &records {
            out.write_all(separator.as_bytes())?;
            serde_json::to_writer(&mut out, record)?;
            separator = ",\n";
        }
        out.write_all(if records.is_empty() { b"[]\n" } else { b"\n]\n" })?;
        Ok(out.flush()?)
    }
}
