//! What a record may say: rules that clients and principals share, and the words for breaking them.

/// A list in a record has no more items than this.
const MAX_ITEMS: usize = crate::records::scope::MAX_SCOPES;

/// What is wrong with a record, in words for the administrator who wrote it.
#[derive(Default)]
pub(crate) struct Problems(pub(crate) Vec<String>);

impl Problems {
    pub(crate) fn unless(&mut self, condition: bool, problem: impl FnOnce() -> String) {
        if !condition {
            self.0.push(problem());
        }
    }

    /// Names every item of a list that breaks `rule`, a repeated item, and a list that is too long.
    pub(crate) fn check_list(
        &mut self,
        what: &str,
        list: &[String],
        rule: &str,
        holds: impl Fn(&str) -> bool,
    ) {
        self.unless(list.len() <= MAX_ITEMS, || format!("{what}: at most {MAX_ITEMS}"));
        for (at, item) in list.iter().enumerate() {
            self.unless(holds(item), || format!("{what} {item:?}: {rule}"));
            self.unless(!list[..at].contains(item), || format!("{what} {item:?}: given twice"));
        }
    }
}

pub(crate) const BRAND_RULE: &str = "1 to 64 of A-Z a-z 0-9 . _ -";
pub(crate) const ROLE_RULE: &str =
    "1 to 64 printable ASCII characters without space, '\"', '\\', '*' and '?'";
pub(crate) const MAX_ROLE_BYTES: usize = 2048;

pub(crate) fn is_role(value: &str) -> bool {
    (1..=64).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\*?".contains(&b))
}
