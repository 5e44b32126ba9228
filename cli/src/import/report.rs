//! The report of an import: lines for a person as rows are finished, or one JSON document.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::conversion::Conversion;
use super::importer::RowOutcome;
use crate::outcome::{AnyError, ExitError, Outcome};
use crate::output::{escape_json, line};

/// The report counts at most this many kinds of dropped values.
const MAX_DROPPED: usize = 100;

/// Prints each row and counts the results.
pub(super) struct Report {
    dry_run: bool,
    json: bool,
    rows: u64,
    verdicts: BTreeMap<&'static str, u64>,
    actions: BTreeMap<&'static str, u64>,
    dropped: BTreeMap<(String, &'static str), u64>,
    /// The first failure of the store.
    failure: Option<AnyError>,
    /// The place of the last row.
    last: String,
}

const READY: &str = "ready";
const LOSS: &str = "ready with a loss";
const REFUSED: &str = "refused";
const FAILED: &str = "failed";

impl Report {
    pub(super) fn new(plural: &str, dry_run: bool, json: bool) -> Self {
        if json {
            line(&format!("{{\"dry_run\":{dry_run},\"{plural}\":["));
        } else if dry_run {
            line(&format!("{:<28}  VERDICT", "NAME"));
        }
        let (verdicts, actions, dropped) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { dry_run, json, rows: 0, verdicts, actions, dropped, failure: None, last: String::new() }
    }

    /// Reports a row. `outcome` is absent if the row could not be converted.
    pub(super) fn add<R>(
        &mut self,
        file: &Path,
        line_number: u64,
        conversion: Conversion<R>,
        outcome: Option<RowOutcome>,
    ) {
        let Conversion { id, mut reasons, losses, dropped, .. } = conversion;
        let mut differs = Vec::new();
        let action = match outcome {
            Some(RowOutcome::Created) => "created",
            Some(RowOutcome::Updated(members)) => {
                differs = members;
                "updated"
            }
            Some(RowOutcome::Unchanged) => "unchanged",
            Some(RowOutcome::Refused(reason)) => {
                reasons.push(reason);
                REFUSED
            }
            Some(RowOutcome::Failed(error)) => {
                reasons.push(error.to_string());
                self.failure.get_or_insert(error);
                FAILED
            }
            None => REFUSED,
        };
        let verdict = match action {
            REFUSED | FAILED => action,
            _ if losses.is_empty() => READY,
            _ => LOSS,
        };
        self.rows += 1;
        *self.verdicts.entry(verdict).or_default() += 1;
        *self.actions.entry(action).or_default() += 1;
        let place = format!("{}:{line_number}", file.display());
        if self.json {
            let separator = if self.rows == 1 { "" } else { "," };
            let names: Vec<Value> =
                dropped.iter().map(|(what, reason)| json!({ "what": what, "reason": reason })).collect();
            let row = json!({
                "id": id, "file": file.to_string_lossy(), "line": line_number, "verdict": verdict, "action": action, "differs": differs,
                "reasons": reasons, "losses": losses, "dropped": names,
            });
            line(&escape_json(&format!("{separator}{row}")));
        } else if self.dry_run || verdict != READY || !differs.is_empty() {
            let id = if id.is_empty() { "-" } else { &id };
            let first = match action {
                REFUSED | FAILED => place.clone(),
                "updated" if self.dry_run => format!("would be updated: {}", differs.join(", ")),
                "updated" => format!("updated: {}", differs.join(", ")),
                "unchanged" => "unchanged".into(),
                _ => String::new(),
            };
            line(format!("{id:<28}  {verdict:<17}  {first}").trim_end());
            for note in reasons.iter().chain(&losses) {
                line(&format!("    {note}"));
            }
        }
        self.last = place;
        for dropped in dropped {
            if self.dropped.len() < MAX_DROPPED || self.dropped.contains_key(&dropped) {
                *self.dropped.entry(dropped).or_default() += 1;
            }
        }
    }

    /// Prints the totals. The outcome is that of the worst row.
    pub(super) fn finish(self, unmatched: &[String]) -> Outcome {
        let count = |counts: &BTreeMap<&'static str, u64>, name| counts.get(name).copied().unwrap_or(0);
        let [ready, loss, refused, failed] =
            [READY, LOSS, REFUSED, FAILED].map(|name| count(&self.verdicts, name));
        let failing = if failed > 0 { format!(", {failed} failed or not tried") } else { String::new() };
        if self.json {
            let dropped: Vec<Value> = self
                .dropped
                .iter()
                .map(|((what, reason), count)| json!({ "what": what, "reason": reason, "count": count }))
                .collect();
            let summary = json!({ "rows": self.rows, "verdicts": self.verdicts, "actions": self.actions });
            let (dropped, unmatched) = (Value::from(dropped), Value::from(unmatched));
            let end = format!("],\"dropped\":{dropped},\"unmatched\":{unmatched},\"summary\":{summary}}}");
            line(&escape_json(&end));
        } else {
            if !self.dropped.is_empty() {
                line("");
                line("Left out, because it has no use here:");
            }
            for ((what, reason), count) in &self.dropped {
                line(&format!("    {what} ({count}): {reason}"));
            }
            if !unmatched.is_empty() {
                line("");
                line("In the mapping file, but used by no row:");
            }
            for entry in unmatched {
                line(&format!("    {entry}"));
            }
            line("");
            if self.dry_run {
                line(&format!(
                    "{ready} ready, {loss} ready with a loss, {refused} refused{failing}; nothing was written"
                ));
            } else {
                let [created, updated, unchanged] =
                    ["created", "updated", "unchanged"].map(|name| count(&self.actions, name));
                line(&format!(
                    "{created} created, {updated} updated, {unchanged} unchanged, {refused} refused{failing}"
                ));
            }
        }
        if let Some(failure) = self.failure {
            let remedy = "written records stay; repeat the command to continue from here";
            let message = format!("stopped after {}: {failure}; {remedy}", self.last);
            return Err(ExitError { code: 1, message, source: Some(failure) }.into());
        }
        if self.rows == 0 {
            return Err(ExitError::new(4, "no rows: there is nothing to import").into());
        }
        match (refused, loss, self.dry_run) {
            (0, 0, _) | (0, _, false) => Ok(()),
            (0, _, true) => Err(ExitError::new(3, format!("{loss} ready with a loss")).into()),
            _ => Err(ExitError::new(4, format!("{refused} refused")).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn a_file_name_that_is_not_utf_8_is_reported() {
        let mut report = Report::new("clients", false, true);
        report.add(Path::new(OsStr::from_bytes(b"\xFF.csv")), 1, Conversion::<()>::new("x"), None);
        assert_eq!(report.last, "\u{fffd}.csv:1");
    }
}
