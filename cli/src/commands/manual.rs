//! `countersign completions` and `countersign man`, both made from the definitions of the commands.

use std::path::{Path, PathBuf};

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
  countersign completions elvish >> ~/.config/elvish/rc.elv

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
        let mut commands = commands.disable_help_subcommand(true);
        commands.build();
        let Some(folder) = self.folder else {
            streams::print(&page(&Man::new(commands))?);
            return Ok(());
        };
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        write_pages(&commands, &folder)
    }
}

/// Writes the page of a command and those of its subcommands.
fn write_pages(command: &Command, folder: &Path) -> Outcome {
    let man = Man::new(command.clone());
    let path = folder.join(man.get_filename());
    std::fs::write(&path, page(&man)?).map_err(|error| format!("{}: {error}", path.display()))?;
    command.get_subcommands().try_for_each(|subcommand| write_pages(subcommand, folder))
}

/// Renders a page. The generator calls the section with the examples EXTRA.
fn page(man: &Man) -> Outcome<String> {
    let mut page = Vec::new();
    man.render(&mut page)?;
    Ok(String::from_utf8(page)?.replace(".SH EXTRA\n", ".SH EXAMPLES\n"))
}
