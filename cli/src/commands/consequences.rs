//! The consequences of disabling, deleting and logging out: when they take effect, and which tokens
//! live on; and when a changed record is used. docs/design.md has the reasons under "DynamoDB outages" and "Refresh tokens".

use std::time::Duration;

use countersign_issuer::keys::format_duration;
use countersign_issuer::records::Client;
use countersign_issuer::store::{FRESHNESS, FRESHNESS_BEFORE_REFUSING};
use countersign_verify::Timestamp;
use serde_json::Value;

use crate::output::{Output, line};
use crate::records::PrincipalKind;

/// The reason why a record is used until some time after it was changed.
fn old_copies() -> String {
    format!(
        "a warm function may use its copy of the record for {}, and for MaxStale more (15 min by default) while \
         DynamoDB is out of reach",
        format_duration(FRESHNESS)
    )
}

/// The time from which on a function that refuses a new secret has read it. Before that, one that has
/// just read the client's record refuses it.
pub(super) fn new_secret_usable_from(now: Timestamp) -> Timestamp {
    now.plus(FRESHNESS_BEFORE_REFUSING)
}

/// The time by which every function uses an updated record.
pub(super) struct Effect {
    pub(super) by: Timestamp,
    pub(super) sentence: String,
}

impl Effect {
    pub(super) fn of_client_update(now: Timestamp, output: &Output) -> Self {
        let by = now.plus(FRESHNESS);
        Self { by, sentence: format!("In effect by {}: {}.", output.time(by), old_copies()) }
    }

    /// Logins and refreshes read the record itself, and clients that act for an operator a copy.
    pub(super) fn of_principal_update(kind: PrincipalKind, now: Timestamp, output: &Output) -> Self {
        match kind {
            PrincipalKind::User => {
                Self { by: now, sentence: "In effect from the next login or refresh on.".into() }
            }
            PrincipalKind::Operator => {
                let by = now.plus(FRESHNESS);
                let sentence = format!(
                    "In effect from the next login or refresh on, and by {} for clients that act for the operator: {}.",
                    output.time(by),
                    old_copies()
                );
                Self { by, sentence }
            }
        }
    }
}

/// The consequences of a change for requests and tokens.
pub(super) struct Consequences {
    /// From now on every request is refused by the last warm function.
    effective_by: Timestamp,
    /// The last access token has expired.
    tokens_valid_until: Timestamp,
    sentences: Vec<String>,
}

impl Consequences {
    /// The consequences for a client that is refused from `now` on.
    pub(super) fn of_refused_client(client: &Client, now: Timestamp, output: &Output) -> Self {
        Self::of_client(client, now, output, "Its requests", "Refresh tokens are refused.")
    }

    /// The consequences for a client one of whose secrets is refused from `now` on.
    pub(super) fn of_revoked_secret(client: &Client, now: Timestamp, output: &Output) -> Self {
        Self::of_client(client, now, output, "Requests with the secret", "Refresh tokens stay valid.")
    }

    fn of_client(
        client: &Client,
        now: Timestamp,
        output: &Output,
        requests: &str,
        refresh_tokens: &str,
    ) -> Self {
        let ttl = Duration::from_secs(client.access_ttl);
        let effective_by = now.plus(FRESHNESS);
        let tokens_valid_until = effective_by.plus(ttl);
        let sentences = vec![
            format!("{requests} are refused by {}: {}.", output.time(effective_by), old_copies()),
            format!(
                "Access tokens that were issued live on until they expire, {} after they were issued, the last one at \
                 {}. {refresh_tokens}",
                format_duration(ttl),
                output.time(tokens_valid_until)
            ),
        ];
        Self { effective_by, tokens_valid_until, sentences }
    }

    /// The consequences for a user or an operator whose sessions ended at `now`. `longest` is the
    /// longest lifetime of an access token.
    pub(super) fn of_ended_sessions(
        kind: PrincipalKind,
        is_refused: bool,
        longest: Duration,
        now: Timestamp,
        output: &Output,
    ) -> Self {
        let acts_through_clients = is_refused && kind == PrincipalKind::Operator;
        let effective_by = if acts_through_clients { now.plus(FRESHNESS) } else { now };
        let tokens_valid_until = effective_by.plus(longest);
        let mut sentences = vec![if is_refused {
            "Logins and refreshes are refused from now on.".to_owned()
        } else {
            "Refresh tokens that were issued so far are refused from now on; a new login is possible."
                .to_owned()
        }];
        if acts_through_clients {
            sentences.push(format!(
                "Clients can act for the operator until {}: {}.",
                output.time(effective_by),
                old_copies()
            ));
        }
        sentences.push(format!(
            "Access tokens that were issued live on until they expire, the last one by {}: {} is the longest lifetime.",
            output.time(tokens_valid_until),
            format_duration(longest)
        ));
        Self { effective_by, tokens_valid_until, sentences }
    }

    /// Shows a changed record with the consequences.
    pub(super) fn show_with(&self, mut record: Value, output: &Output) {
        if output.is_json() {
            record["effective_by"] = output.time(self.effective_by).into();
            record["access_tokens_valid_until"] = output.time(self.tokens_valid_until).into();
            return output.show(&record);
        }
        output.show(&record);
        line("");
        self.sentences.iter().for_each(|sentence| line(sentence));
    }
}
