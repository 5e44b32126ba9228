//! `countersign key`.

use std::time::Duration;

use clap::Subcommand;
use countersign_issuer::keys::{
    ChangeRefused, KeyLifecycle, KeyState, Ring, RingChange, Rotation, Rotator, format_duration,
};
use countersign_verify::{Clock, Timestamp};
use serde_json::{Value, json};

use super::target::Target;
use crate::logging::log_to_stderr;
use crate::outcome::{AnyError, Outcome, with_remedy_if_unanswered};
use crate::output::{format_time, line, list, show, warn};
use crate::prompt::confirm;

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
    pub(super) async fn run(self, target: &Target, json: bool) -> Outcome {
        // The rotator logs who changed the ring and which items it cannot read.
        log_to_stderr();
        let clock = Clock::system();
        match self {
            Self::List => {
                let ring = target.ring().await?;
                let views: Vec<Value> = ring.states(clock.now()).map(view).collect();
                let columns =
                    ["seq", "state", "kid", "signs_from", "signs_until", "published_until", "kept_until"];
                list(&views, &columns, json);
                Ok(())
            }
            Self::Rotate => {
                let rotator = target.rotator().await?;
                let ring = rotator.ring().await?;
                let now = clock.now();
                // Complete the ring first; only a complete ring has a successor that may take over.
                let is_complete = ring.signing(now).is_some() && ring.announced(now).is_some();
                let change = if is_complete {
                    rotator.rotate_now().await.map_err(with_remedy)?
                } else {
                    RingChange { completion: Ok(rotator.rotate().await?) }
                };
                let report = Report::read(&rotator, change, clock.now()).await;
                show(&report.view(), json);
                report.warn_of_failures("the announced key signs now");
                Ok(())
            }
            Self::Withdraw { kid, force, yes } => {
                withdraw(&target.rotator().await?, &kid, force, yes, &clock, json).await
            }
        }
    }
}

async fn withdraw(
    rotator: &Rotator,
    kid: &str,
    force: bool,
    yes: bool,
    clock: &Clock,
    json: bool,
) -> Outcome {
    let before = rotator.ring().await?;
    let Some((_, state)) = before.states(clock.now()).find(|(lifecycle, _)| lifecycle.key.jwk.kid() == kid)
    else {
        return Err(with_remedy(ChangeRefused::NoSuchKey));
    };
    confirm(&format!("Withdraw key {kid}? Every token that it signed becomes invalid."), yes)?;
    let change = rotator.withdraw(kid, force).await.map_err(|refused| {
        let remedy = "If DynamoDB did not answer, the key may be withdrawn all the same: repeat the command.";
        with_remedy_if_unanswered(with_remedy(refused), remedy.into())
    })?;
    let report = Report::read(rotator, change, clock.now()).await;
    let withdrawn_at = report.withdrawn_at(kid).unwrap_or_else(|| clock.now());
    let forgotten_by = withdrawn_at.plus(rotator.forgotten_after());
    let next = report.announced_since(withdrawn_at);
    if json {
        let next = next.map(|(kid, signs_from)| json!({ "kid": kid, "signs_from": format_time(signs_from) }));
        let view = json!({
            "withdrawn": kid, "signing": report.kids(KeyState::Signing).first(),
            "forgotten_by": format_time(forgotten_by), "next": next,
        });
        show(&view, true);
    } else {
        show(&report.view(), false);
        line("");
        line(&format!("withdrawn  {kid}"));
        for text in consequences(state, forgotten_by, rotator.forgotten_after(), next) {
            line(&text);
        }
    }
    report.warn_of_failures("the key is withdrawn");
    Ok(())
}

/// The consequences of a withdrawal, a line each. `state` is the key's state before it, and `next`
/// the key that was announced after it.
fn consequences(
    state: KeyState,
    forgotten_by: Timestamp,
    forgotten_after: Duration,
    next: Option<(&str, Timestamp)>,
) -> Vec<String> {
    let sessions = "sessions that ever used the key end as soon as a function reads the ring again; their users must log \
                    in again";
    let by_age = format!(
        "access tokens that it signed are refused by a verifier as soon as it fetches the JWKS again: by {} ({}) if it \
         reaches the issuer and honours the JWKS's max-age, or caches it for two hours at most",
        format_time(forgotten_by),
        format_duration(forgotten_after),
    );
    let until = match next {
        Some((kid, signs_from)) => format!(
            "for longer: until a token under {kid}, which signs from {}, reaches them. Restart those that cannot wait, \
             or that get few requests; docs/keys.md has another remedy",
            format_time(signs_from)
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

    fn warn_of_failures(&self, done: &str) {
        for failure in &self.failures {
            warn(&format!("{done}, but {failure}"));
        }
    }
}

/// Adds the remedy to a refused change.
fn with_remedy(refused: ChangeRefused) -> AnyError {
    match refused {
        ChangeRefused::NotYetKnown { since, known } => format!(
            "the successor was announced only at {}, and verifiers may not know it before {}: wait until then, or \
             withdraw a compromised key with --force, which lets verifiers fail until they read the key set again",
            format_time(since),
            format_time(known),
        )
        .into(),
        ChangeRefused::NoSuccessor => "no successor is announced: make one with `countersign key rotate`, which every \
             verifier knows once its lead has passed; or withdraw a compromised key with --force"
            .into(),
        other => other.into(),
    }
}

fn view((lifecycle, state): (&KeyLifecycle, KeyState)) -> Value {
    let state_name = match state {
        KeyState::Announced => "announced",
        KeyState::Signing => "signing",
        KeyState::Published => "published",
        KeyState::Kept => "kept for refresh",
        KeyState::Gone => "gone",
        KeyState::Withdrawn => "withdrawn",
    };
    // A withdrawn key left the key set at once and may never have signed.
    let unless_withdrawn =
        |at: Option<Timestamp>| at.filter(|_| state != KeyState::Withdrawn).map(format_time);
    json!({
        "seq": lifecycle.key.seq,
        "state": state_name,
        "kid": lifecycle.key.jwk.kid(),
        "announced_at": format_time(lifecycle.key.announced_at),
        "signs_from": unless_withdrawn(Some(lifecycle.signs_from)),
        "signs_until": lifecycle.signs_until.map(format_time),
        "published_until": unless_withdrawn(lifecycle.published_until),
        "kept_until": lifecycle.kept_until.map(format_time),
        "withdrawn_at": lifecycle.key.withdrawn_at.map(format_time),
    })
}
