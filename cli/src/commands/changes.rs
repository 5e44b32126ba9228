//! The change that an update makes, shown before and after.

use serde_json::{Map, Value, json};

use super::consequences::{Consequences, Effect};
use crate::output::{Output, line, text};
use crate::records::Change;

/// Members that every write changes.
const BOOKKEEPING: [&str; 2] = ["updated", "version"];

/// Shows an updated record: for a program the whole record with its `changed` members, for a person
/// the changed members as they were before and are after. `name` is the record's, and
/// `secret_change` tells of a change that no member shows.
pub(super) fn show<R>(
    name: &str,
    [before, after]: [&R; 2],
    view: impl Fn(&R, &Output) -> Value,
    secret_change: Option<&str>,
    effect: &Effect,
    output: &Output,
) {
    // The same time must not look different because a second has passed.
    let output = &output.at_one_moment();
    let (before, mut after) = (view(before, output), view(after, output));
    let changed = compare(&before, &after);
    let is_same = changed.is_empty() && secret_change.is_none();
    if output.is_json() {
        after["changed"] = changed.into();
        if !is_same {
            after["effective_by"] = output.time(effect.by).into();
        }
        return output.show(&after);
    }
    if is_same {
        return line(&format!("{name}: nothing to change, it is so already"));
    }
    line(&format!("{name} updated"));
    for (member, change) in &changed {
        line(member);
        line(&format!("  before  {}", text(&change["before"])));
        line(&format!("  after   {}", text(&change["after"])));
    }
    secret_change.into_iter().for_each(line);
    line(&effect.sentence);
}

/// Shows a record that was enabled or disabled, which is its `state` now. If it was so before, that
/// is said.
pub(super) fn show_switched<R>(
    change: &Change<R>,
    state: &str,
    view: impl Fn(&R, &Output) -> Value,
    consequences: Option<Consequences>,
    output: &Output,
) {
    let output = &output.at_one_moment();
    let (before, mut after) = (view(&change.before, output), view(&change.after, output));
    let changed = compare(&before, &after);
    let is_same = changed.is_empty();
    if output.is_json() {
        after["changed"] = changed.into();
    }
    match consequences {
        Some(consequences) => consequences.show_with(after, output),
        None => output.show(&after),
    }
    if is_same && !output.is_json() {
        line(&format!("It was {state} already, and nothing was changed."));
    }
}

/// The members that differ, as they were before and are after.
fn compare(before: &Value, after: &Value) -> Map<String, Value> {
    let members = after.as_object().into_iter().flatten();
    let differing = members
        .filter(|(name, value)| !BOOKKEEPING.contains(&name.as_str()) && before[name.as_str()] != **value);
    differing
        .map(|(name, value)| (name.clone(), json!({ "before": before[name.as_str()], "after": value })))
        .collect()
}
