//! The layers: an import points downwards, or stays inside its own module.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The issuer's modules, from top to bottom. Modules in one row may not import each other.
const ISSUER: &[&[&str]] = &[
    &["fuzzing"],
    &["http", "callers"],
    &["issuer"],
    &["config"],
    &["grants"],
    &["tokens", "authn"],
    &["keys"],
    &["request"],
    &["records"],
    &["credentials"],
    &["store"],
    &["context"],
    &["audit", "random"],
];

/// The program's modules, from top to bottom.
const CLI: &[&[&str]] = &[
    &["main"],
    &["commands"],
    &["import"],
    &["records"],
    &["context"],
    &["announcement", "logging", "prompt", "token_input"],
    &["output", "text_input"],
    &["outcome", "streams", "suggestions"],
    &["progress"],
];

#[test]
fn the_issuer_has_no_upward_import() {
    assert_eq!(upward_imports("../shared/issuer/src", ISSUER), Vec::<String>::new());
}

#[test]
fn the_program_has_no_upward_import() {
    assert_eq!(upward_imports("../cli/src", CLI), Vec::<String>::new());
}

#[test]
fn an_upward_import_is_found_however_it_is_written() {
    for written in [
        "use crate::http::Request;",
        "pub(crate) use crate::{random::Random, http};",
        "    let response = crate::http::not_found();",
        "use crate::{\n    context,\n    http::{Request, Response},\n};",
        "use super::super::http::Request;",
    ] {
        assert!(imports(written, Path::new("store/table.rs")).contains("http"), "{written}");
    }
    let in_root = imports_through_super("use super::{http::Request, audit};", Path::new("store.rs"));
    assert_eq!(in_root, BTreeSet::from(["audit".to_owned(), "http".to_owned()]));
    for written in ["use ::http::Request;", "use http::Request;", "// use crate::http::Request;"] {
        assert!(!imports(written, Path::new("store/table.rs")).contains("http"), "{written}");
    }
}

/// Lists the imports below `source` that do not point to a lower layer.
fn upward_imports(source: &str, layers: &[&[&str]]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let level: BTreeMap<&str, usize> =
        layers.iter().enumerate().flat_map(|(at, row)| row.iter().map(move |name| (*name, at))).collect();
    let mut found = Vec::new();
    for file in rust_files(&root) {
        let relative = file.strip_prefix(&root).unwrap().to_owned();
        let module = module_of(&relative);
        if module == "lib" {
            continue;
        }
        let Some(from) = level.get(module.as_str()) else {
            found.push(format!("{}: the module has no layer", relative.display()));
            continue;
        };
        let text = fs::read_to_string(&file).unwrap();
        let through_super = imports_through_super(&text, &relative);
        let through_super = through_super.into_iter().filter(|name| level.contains_key(name.as_str()));
        for imported in imports(&text, &relative).into_iter().chain(through_super) {
            let is_below = level.get(imported.as_str()).is_some_and(|to| to > from);
            if imported != module && !is_below {
                found.push(format!("{} imports {imported}", relative.display()));
            }
        }
    }
    found
}

/// The crate's own modules that a file names.
fn imports(text: &str, relative: &Path) -> BTreeSet<String> {
    // `super` leads out of a folder once for each folder, and once more for a file in it.
    let depth = relative.components().count();
    let mut found = names_after("crate::", text);
    if depth > 1 {
        found.extend(names_after(&format!("{}::", vec!["super"; depth].join("::")), text));
    }
    found
}

/// The names that a file of the root takes from `super`. For the file itself that is the root; for a
/// test module in it, it is the file, so some of them are no modules.
fn imports_through_super(text: &str, relative: &Path) -> BTreeSet<String> {
    if relative.components().count() == 1 { names_after("super::", text) } else { BTreeSet::new() }
}

fn names_after(prefix: &str, text: &str) -> BTreeSet<String> {
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let is_word =
            !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$');
        if is_word {
            found.extend(heads(&code[at + prefix.len()..]));
        }
    }
    found
}

/// The first names of a path, or of every path in a group of them.
fn heads(rest: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = rest.strip_prefix('{') else {
        return vec![word(rest)];
    };
    let mut heads = vec![word(group.trim_start())];
    let mut open = 0;
    for (at, character) in group.char_indices() {
        match character {
            '{' => open += 1,
            '}' if open == 0 => break,
            '}' => open -= 1,
            ',' if open == 0 => heads.push(word(group[at + 1..].trim_start())),
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

/// The top-level module that a file belongs to.
fn module_of(relative: &Path) -> String {
    let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
