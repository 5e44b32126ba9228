//! `countersign completions` and `countersign man`, both made from the definitions of the commands.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::outcome::Outcome;
use crate::streams;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign completions bash \\
      > ~/.local/share/bash-completion/completions/countersign
  countersign completions zsh > \"${fpath[1]}/_countersign\"
  countersign completions fish \\
      > ~/.config/fish/completions/countersign.fish
  countersign completions powershell >> $PROFILE

Start a new shell afterwards.")]
pub(super) struct CompletionsCommand {
    /// Shell to complete in
    shell: Shell,
}

impl CompletionsCommand {
    pub(super) fn run(self, mut commands: Command) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut commands, "countersign", &mut script);
        streams::print(&String::from_utf8(script)?);
        Ok(())
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign man | man -l -
  countersign man ~/.local/share/man/man1
  man countersign-client-create")]
pub(super) struct ManCommand {
    /// Write a page for each command into this folder [default: print that of countersign]
    folder: Option<PathBuf>,
}

impl ManCommand {
    pub(super) fn run(self, commands: Command) -> Outcome {
        let Some(folder) = self.folder else {
            let mut page = Vec::new();
            Man::new(commands).render(&mut page)?;
            streams::print(&String::from_utf8(page)?);
            return Ok(());
        };
        let failed = |error| format!("{}: {error}", folder.display());
        std::fs::create_dir_all(&folder).map_err(failed)?;
        Ok(clap_mangen::generate_to(commands, &folder).map_err(failed)?)
    }
}
