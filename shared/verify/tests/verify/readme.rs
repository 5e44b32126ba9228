//! The README contains the example that is compiled here.

#[test]
fn the_readme_contains_the_compiled_example() {
    let readme = include_str!("../../../../README.md");
    let example = include_str!("../../examples/protected_api.rs");
    let from = example.find("use std").unwrap_or_default();
    assert!(readme.contains(&example[from..]), "README.md, \"Protect your API\"");
}
