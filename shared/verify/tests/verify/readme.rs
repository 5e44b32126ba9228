//! The README shows the example that is compiled.

#[test]
fn the_readme_shows_the_example_as_it_compiles() {
    let readme = include_str!("../../../../README.md");
    let example = include_str!("../../examples/protected_api.rs");
    let from = example.find("use axum").unwrap_or_default();
    assert!(readme.contains(&example[from..]), "README.md, \"Protect your API\"");
}
