//! Both README files contain the example that is compiled here.

#[test]
fn the_readmes_contain_the_compiled_example() {
    let example = include_str!("../../examples/protected_api.rs");
    let from = example.find("use std").unwrap_or_default();
    for (name, readme) in [
        ("README.md", include_str!("../../../../README.md")),
        ("shared/verify/README.md", include_str!("../../README.md")),
    ] {
        assert!(readme.contains(&example[from..]), "{name}");
    }
}
