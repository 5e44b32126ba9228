//! `countersign key`.

use std::time::Duration;

use clap::Subcommand;
use countersign_issuer::keys::{
    ChangeRefused, KeyLifecycle, KeyState, Ring, RingChange, Rotation, Rotator, format_duration,
};
use countersign_verify::{Clock, Timestamp};
use serde_json::{Value, json};

use super::target::{self, Lookup};
use crate::announcement::Announcement;
use crate::logging::log_to_stderr;
use crate::outcome::{AnyError, Outcome, with_remedy, with_remedy_if_unanswered};
use crate::output::{Output, line};
use crate::prompt::confirm;
use crate::suggestions::did_you_mean;

pub(super) const EXAMPLES: &str = "\
Examples:
  countersign key list
  countersign key rotate
  countersign key withdraw rM-7ppuf0Ud3y1FNfaX_weX5vu6Pi_FBMGeODvb64wE";

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// List the signing keys with their states and the times of their changes
    #[command(after_help = "Example:\n  countersign key list")]
    List,
    /// Let the announced successor sign from now on and announce the next key; no verifier is
    /// affected
    #[command(after_help = "\
Example:
  countersign key rotate

On AWS a schedule rotates the keys; this command is for those who cannot wait for it. It adds keys that the ring lacks: \
an empty ring gets two. If the successor is too young to sign, the error says from when on it can.")]
    Rotate,
    /// Withdraw a compromised key at once; its tokens are refused where the keys are read again
    #[command(after_help = "\
Example:
  countersign key list
  countersign key withdraw rM-7ppuf0Ud3y1FNfaX_weX5vu6Pi_FBMGeODvb64wE

Functions and verifiers notice the withdrawal when they next read the keys. The command prints by when a verifier does so \
that reads them again after a time, and from when on one that reads them only when a token names an unknown key. See \
docs/keys.md for both kinds and for the remedies. The command may be repeated.")]
    Withdraw {
        /// Id of the key, from `key list`
        #[arg(allow_hyphen_values = true)]
        kid: String,
        /// Withdraw the key even if verifiers may not know the successor yet
        #[arg(long)]
        force: bool,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

impl KeyCommand {
    pub(super) async fn run(self, lookup: &Lookup, output: &Output) -> Outcome {
        // The rotator logs who changed the ring and which items it cannot read.
        log_to_stderr(output.is_json());
        let clock = Clock::system();
        match self {
            Self::List => {
                let ring = target::ring(lookup).await?;
                let views: Vec<Value> = ring.states(clock.now()).map(|key| view(key, output)).collect();
                let columns =
                    ["seq", "state", "kid", "signs_from", "signs_until", "published_until", "kept_until"];
                output.list(&views, &columns);
                Ok(())
            }
            Self::Rotate => {
                let rotator = target::rotator(lookup)?;
                target::announcement(lookup, output.is_json())?.show().await;
                let ring = rotator.ring().await?;
                let now = clock.now();
                // Complete the ring first; only a complete ring has a successor that may take over.
                let is_complete = ring.signing(now).is_some() && ring.announced(now).is_some();
                let change = if is_complete {
                    rotator.rotate_now().await.map_err(|refused| explain(refused, output))?
                } else {
                    RingChange { completion: Ok(rotator.rotate().await?) }
                };
                let report = Report::read(&rotator, change, clock.now()).await;
                output.show(&report.view());
                report.warn_of_failures("the announced key signs now", output);
                Ok(())
            }
            Self::Withdraw { kid, force, yes } => {
                let (rotator, announcement) =
                    (target::rotator(lookup)?, target::announcement(lookup, output.is_json())?);
                withdraw(&rotator, &announcement, &kid, force, yes, &clock, output).await
            }
        }
    }
}

async fn withdraw(
    rotator: &Rotator,
    announcement: &Announcement,
    kid: &str,
    force: bool,
    yes: bool,
    clock: &Clock,
    output: &Output,
) -> Outcome {
    let before = rotator.ring().await?;
    let Some((_, state)) = before.states(clock.now()).find(|(lifecycle, _)| lifecycle.key.jwk.kid() == kid)
    else {
        let kids = before.lifecycles().iter().map(|lifecycle| lifecycle.key.jwk.kid());
        return Err(with_remedy(ChangeRefused::NoSuchKey, did_you_mean(kid, kids)));
    };
    announcement.show().await;
    confirm(&format!("Withdraw key {kid}? Every token that it signed becomes invalid."), yes)?;
    let change = rotator.withdraw(kid, force).await.map_err(|refused| {
        let remedy = "If DynamoDB did not answer, the key may be withdrawn all the same: repeat the command.";
        with_remedy_if_unanswered(explain(refused, output), remedy.into())
    })?;
    let report = Report::read(rotator, change, clock.now()).await;
    let withdrawn_at = report.withdrawn_at(kid).unwrap_or_else(|| clock.now());
    let forgotten_by = withdrawn_at.plus(rotator.forgotten_after());
    let next = report.announced_since(withdrawn_at);
    if output.is_json() {
        let next = next.map(|(kid, signs_from)| json!({ "kid": kid, "signs_from": output.time(signs_from) }));
        let view = json!({
            "withdrawn": kid, "signing": report.kids(KeyState::Signing).first(),
            "forgotten_by": output.time(forgotten_by), "next": next,
        });
        output.show(&view);
    } else {
        output.show(&report.view());
        line("");
        line(&format!("withdrawn  {kid}"));
        for text in consequences(state, forgotten_by, rotator.forgotten_after(), next, output) {
            line(&text);
        }
    }
    report.warn_of_failures("the key is withdrawn", output);
    Ok(())
}

/// The consequences of a withdrawal, a line each. `state` is the key's state before it, and `next`
/// the key that was announced after it.
fn consequences(
    state: KeyState,
    forgotten_by: Timestamp,
    forgotten_after: Duration,
    next: Option<(&str, Timestamp)>,
    output: &Output,
) -> Vec<String> {
    let sessions = "sessions that ever used the key end as soon as a function reads the ring again; their users must log \
                    in again";
    let by_age = format!(
        "access tokens that it signed are refused by a verifier as soon as it fetches the JWKS again: by {} ({}) if it \
         reaches the issuer and honours the JWKS's max-age, or caches it for two hours at most",
        output.time(forgotten_by),
        format_duration(forgotten_after),
    );
    let until = match next {
        Some((kid, signs_from)) => format!(
            "for longer: until a token under {kid}, which signs from {}, reaches them. Restart those that cannot wait, \
             or that get few requests; docs/keys.md has another remedy",
            output.time(signs_from)
        ),
        None => {
            "until a key signs that is announced from now on: restart them; docs/keys.md has other remedies"
                .into()
        }
    };
    let on_demand = format!(
        "verifiers that fetch the JWKS only when a token names an unknown key (go-oidc, zitadel/oidc, hashicorp/cap, \
         aws-jwt-verify; with them oauth2-proxy, kube-apiserver, Vault) trust the withdrawn key {until}"
    );
    let signer = match state {
        KeyState::Signing => {
            "functions may sign with it for up to five minutes, until they read the ring again; those tokens are refused \
             too"
        }
        _ => {
            "access tokens obtained with a forged refresh token are signed by the current key and are valid until they \
             expire"
        }
    };
    vec![sessions.into(), by_age, on_demand, signer.into()]
}

/// The ring after a change. What could not be read or completed is a warning, because the change
/// was made.
struct Report {
    rotation: Rotation,
    ring: Option<Ring>,
    now: Timestamp,
    failures: Vec<String>,
}

impl Report {
    async fn read(rotator: &Rotator, change: RingChange, now: Timestamp) -> Self {
        let mut failures = Vec::new();
        let rotation = change.completion.unwrap_or_else(|error| {
            failures.push(format!(
                "the next key could not be made: {error}; the rotate function makes it within the hour, or run \
                 `countersign key rotate`"
            ));
            Rotation::default()
        });
        let ring = rotator.ring().await;
        let ring =
            ring.map_err(|error| failures.push(format!("the ring could not be read again: {error}"))).ok();
        Self { rotation, ring, now, failures }
    }

    fn kids(&self, wanted: KeyState) -> Vec<&str> {
        let states = self.ring.iter().flat_map(|ring| ring.states(self.now));
        states.filter(|(_, state)| *state == wanted).map(|(lifecycle, _)| lifecycle.key.jwk.kid()).collect()
    }

    fn withdrawn_at(&self, kid: &str) -> Option<Timestamp> {
        let mut lifecycles = self.ring.as_ref()?.lifecycles().iter();
        lifecycles.find(|lifecycle| lifecycle.key.jwk.kid() == kid)?.key.withdrawn_at
    }

    /// The announced key, if no verifier that knows it can know a key that was withdrawn at
    /// `withdrawn_at`.
    fn announced_since(&self, withdrawn_at: Timestamp) -> Option<(&str, Timestamp)> {
        let announced = self.ring.as_ref()?.announced(self.now)?;
        let is_newer = announced.key.announced_at >= withdrawn_at;
        is_newer.then_some((announced.key.jwk.kid(), announced.signs_from))
    }

    fn view(&self) -> Value {
        let created: Vec<&str> = self.rotation.created.iter().map(|key| key.jwk.kid()).collect();
        json!({
            "signing": self.kids(KeyState::Signing), "announced": self.kids(KeyState::Announced),
            "created": created, "deleted": self.rotation.deleted,
        })
    }

    fn warn_of_failures(&self, done: &str, output: &Output) {
        for failure in &self.failures {
            output.warn(&format!("{done}, but {failure}"));
        }
    }
}

/// Adds the remedy to a refused change.
fn explain(refused: ChangeRefused, output: &Output) -> AnyError {
    match refused {
        ChangeRefused::NotYetKnown { since, known } => format!(
            "the successor was announced only at {}, and verifiers may not know it before {}: wait until then, or \
             withdraw a compromised key with --force, which lets verifiers fail until they read the key set again",
            output.time(since),
            output.time(known),
        )
        .into(),
        ChangeRefused::NoSuccessor => "no successor is announced: make one with `countersign key rotate`, which every \
             verifier knows once its lead has passed; or withdraw a compromised key with --force"
            .into(),
        other => other.into(),
    }
}

fn view((lifecycle, state): (&KeyLifecycle, KeyState), output: &Output) -> Value {
    let state_name = match state {
        KeyState::Announced => "announced",
        KeyState::Signing => "signing",
        KeyState::Published => "published",
        KeyState::Kept => "kept for refresh",
        KeyState::Gone => "gone",
        KeyState::Withdrawn => "withdrawn",
    };
    let time = |at| output.time_in_table(at);
    // A withdrawn key left the key set at once and may never have signed.
    let unless_withdrawn = |at: Option<Timestamp>| at.filter(|_| state != KeyState::Withdrawn).map(time);
    json!({
        "seq": lifecycle.key.seq,
        "state": state_name,
        "kid": lifecycle.key.jwk.kid(),
        "announced_at": time(lifecycle.key.announced_at),
        "signs_from": unless_withdrawn(Some(lifecycle.signs_from)),
        "signs_until": lifecycle.signs_until.map(time),
        "published_until": unless_withdrawn(lifecycle.published_until),
        "kept_until": lifecycle.kept_until.map(time),
        "withdrawn_at": lifecycle.key.withdrawn_at.map(time),
    })
}
