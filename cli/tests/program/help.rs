//! The help, the completions and the man pages.

use std::collections::BTreeSet;
use std::process::Output;

use crate::pipe;

fn run(arguments: &[&str]) -> Output {
    pipe::run(arguments, [], "")
}

fn stdout(output: Output) -> String {
    String::from_utf8(output.stdout).unwrap()
}

/// The commands without subcommands, as the help names them: `client secret add`.
pub(crate) fn leaves() -> BTreeSet<String> {
    let mut leaves = BTreeSet::new();
    for_each_command(&mut |path, subcommands, _| {
        // An import from a file is a command beside its subcommand `spring`.
        if subcommands.is_empty() || path.last() == Some(&"import") {
            leaves.insert(path.join(" "));
        }
    });
    leaves
}

/// Passes the path of every command, its subcommands and its help to `visit`.
fn for_each_command(visit: &mut impl FnMut(&[&str], &[String], &str)) {
    fn walk(path: &[&str], visit: &mut impl FnMut(&[&str], &[String], &str)) {
        let output = run(&[path, &["--help"]].concat());
        assert!(output.status.success(), "{path:?}");
        let help = stdout(output);
        let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        let listed = listed.take_while(|line| !line.is_empty());
        // A longer indentation goes on with a description.
        let names = listed.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
        let names = names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
        let subcommands: Vec<String> = names.map(str::to_owned).collect();
        visit(path, &subcommands, &help);
        for name in &subcommands {
            walk(&[path, &[name.as_str()]].concat(), visit);
        }
    }
    walk(&[], visit);
}

#[test]
fn every_command_has_an_example_of_itself_in_its_help() {
    let mut count = 0;
    for_each_command(&mut |path, _, help| {
        count += 1;
        let (_, examples) = help.split_once("\nExample").unwrap_or_else(|| panic!("{path:?} has no example"));
        let command = [&["countersign"], path].concat().join(" ");
        assert!(examples.contains(&command), "{command} in {examples}");
    });
    assert!(count >= 50, "{count}");
}

#[test]
fn the_help_of_an_update_shows_no_default_and_that_of_a_creation_does() {
    let help = |command| stdout(run(&["client", command, "--help"]));
    let create = help("create").split_whitespace().collect::<Vec<_>>().join(" ");
    let update = help("update");
    for default in ["1h", "30d", "off", "at+jwt", "all scopes of the client"] {
        assert!(create.contains(&format!("[default: {default}]")), "{default} in {create}");
    }
    let (options, _) = update.split_once("\nIssuer:").unwrap();
    assert!(!options.contains("[default"), "{options}");
    for option in ["grant", "scope", "default-scope", "role", "brand", "operator", "audience"] {
        for change in ["add", "remove"] {
            assert!(update.contains(&format!("--{change}-{option} ")), "--{change}-{option} in {update}");
            assert!(!create.contains(&format!("--{change}-{option} ")), "{create}");
        }
    }
}

#[test]
fn completions_of_each_shell_know_every_command_and_option() {
    for (shell, start) in [
        ("bash", "_countersign()"),
        ("zsh", "#compdef countersign"),
        ("fish", "# Print an optspec"),
        ("powershell", "using namespace"),
        ("elvish", "use builtin;"),
    ] {
        let script = stdout(run(&["completions", shell]));
        assert!(script.contains(start), "{shell}: {}", &script[..200]);
        for word in ["withdraw", "completions", "spring", "add-scope", "refresh-idle"] {
            assert!(script.contains(word), "{word} in the completions of {shell}");
        }
        // The generator for fish has two levels of commands.
        assert_eq!(script.contains("expire-others"), shell != "fish", "{shell}");
    }
    assert_eq!(run(&["completions", "tcsh"]).status.code(), Some(2));
    let help = stdout(run(&["completions", "--help"]));
    assert!(help.contains("countersign completions elvish"), "{help}");
}

#[test]
fn bash_completes_the_grant_types() {
    let script = stdout(run(&["completions", "bash"]));
    for option in ["--grant", "--add-grant"] {
        let (_, after) = script.split_once(&format!("                {option})\n")).unwrap();
        let (completed, _) = after.split_once(";;").unwrap();
        assert!(
            completed.contains("\"client_credentials password operator_password refresh_token\""),
            "{option}: {completed}"
        );
    }
}

#[test]
fn the_help_of_a_command_without_an_issuer_has_no_flags_for_one() {
    for command in
        ["token verify", "token inspect", "policy check", "policy explain", "dev", "completions", "man"]
    {
        let help = stdout(run(&command.split(' ').chain(["--help"]).collect::<Vec<_>>()));
        for flag in ["--region", "--profile", "--prefix", "Issuer:"] {
            assert!(!help.contains(flag), "{flag} in the help of {command}");
        }
    }
    for command in ["client show", "key list", "doctor"] {
        let help = stdout(run(&command.split(' ').chain(["--help"]).collect::<Vec<_>>()));
        assert!(help.contains("--region") && help.contains("--prefix"), "{command}");
    }
    // They are accepted everywhere all the same, before and after the command.
    for line in ["--region x completions bash", "completions bash --prefix y"] {
        assert!(run(&line.split(' ').collect::<Vec<_>>()).status.success(), "{line}");
    }
}

#[test]
fn the_help_of_a_creation_marks_what_is_required() {
    let help = stdout(run(&["client", "create", "--help"])).split_whitespace().collect::<Vec<_>>().join(" ");
    let of = |option: &str| {
        help.split(&format!(" {option} <")).nth(1).unwrap().split(" --").next().unwrap().to_owned()
    };
    for option in ["--grant", "--audience"] {
        assert!(of(option).contains("[required]"), "{}", of(option));
    }
    assert!(!of("--scope").contains("[required]"));
    assert!(!stdout(run(&["client", "update", "--help"])).contains("[required]"));
}

#[test]
fn help_is_text_beside_json_too() {
    let plain = stdout(run(&["help", "client"]));
    assert!(plain.contains("Commands:"));
    for line in ["help client --json", "help --json client"] {
        assert_eq!(stdout(run(&line.split(' ').collect::<Vec<_>>())), plain, "{line}");
    }
}

#[test]
fn help_that_is_not_printed_is_a_failure() {
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else { return };
    for line in [&["--help"][..], &["client", "create", "--help"], &["--version"]] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(line)
            .stdout(full.try_clone().unwrap())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{line:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.starts_with("error: standard output: "), "{error}");
    }
}

#[test]
fn bash_accepts_its_completions() {
    let script = stdout(run(&["completions", "bash"]));
    let line = format!(
        "{script}\nCOMP_WORDS=(countersign key wi); COMP_CWORD=2; _countersign countersign wi key; echo ${{COMPREPLY[@]}}"
    );
    let Ok(bash) = std::process::Command::new("bash").args(["-c", &line]).output() else {
        return;
    };
    assert_eq!(
        String::from_utf8(bash.stdout).unwrap(),
        "withdraw\n",
        "{}",
        String::from_utf8_lossy(&bash.stderr)
    );
}

#[test]
fn there_is_a_man_page_for_each_command() {
    let page = stdout(run(&["man"]));
    assert!(page.contains(".TH countersign 1") && page.contains("withdraw"), "{page}");
    assert!(page.contains("countersign doctor \\-\\-profile admin"), "the examples: {page}");
    let folder = tempfile::TempDir::new().unwrap();
    let pages = folder.path().join("share/man1");
    assert!(run(&["man", pages.to_str().unwrap()]).status.success());
    for_each_command(&mut |path, _, _| {
        let name = [&["countersign"], path].concat().join("-");
        let page = std::fs::read_to_string(pages.join(format!("{name}.1"))).expect(&name);
        assert!(page.contains(".SH DESCRIPTION"), "{name}");
    });
    let create = std::fs::read_to_string(pages.join("countersign-client-create.1")).unwrap();
    for page in [&page, &create] {
        assert!(page.contains(".SH EXAMPLES\n") && !page.contains("EXTRA"), "{page}");
    }
    let unwritable = run(&["man", "/dev/null/man1"]);
    assert_eq!(unwritable.status.code(), Some(1));
    assert!(String::from_utf8(unwritable.stderr).unwrap().contains("/dev/null/man1"));
}
