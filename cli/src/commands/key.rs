//! `countersign key`.

use clap::Subcommand;
use countersign_issuer::keys::{
    ChangeRefused, KeyLifecycle, KeyState, Ring, Rotation, Rotator, format_duration,
};
use countersign_verify::{Clock, Timestamp};
use serde_json::{Value, json};

use super::target::Target;
use crate::logging::log_to_stderr;
use crate::outcome::{AnyError, Outcome};
use crate::output::{line, list, moment, show};
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
    /// Let the announced successor sign from now on and announce the next key; no verifier is affected
    #[command(after_help = "\
Example:
  countersign key rotate

On AWS a schedule rotates the keys; this command is for those who cannot wait for it. It adds keys that the ring lacks: \
an empty ring gets two. If the successor is too young to sign, the error says from when on it can.")]
    Rotate,
    /// Withdraw a compromised key at once; tokens that it signed are refused
    #[command(after_help = "\
Example:
  countersign key list
  countersign key withdraw rM-7ppuf0Ud3y1FNfaX_weX5vu6Pi_FBMGeODvb64wE

Functions and verifiers notice the withdrawal when they next read the keys; the command prints by when.")]
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
                let rotation = if is_complete {
                    rotator.rotate_now().await.map_err(with_remedy)?
                } else {
                    rotator.rotate().await?
                };
                report(&rotator.ring().await?, &rotation, clock.now(), json);
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
    let rotation = rotator.withdraw(kid, force).await.map_err(with_remedy)?;
    let forgotten = rotator.forgotten_after();
    let by = moment(clock.now().plus(forgotten));
    let ring = rotator.ring().await?;
    if json {
        let signing = ring.signing(clock.now()).map(|lifecycle| lifecycle.key.jwk.kid());
        show(&json!({ "withdrawn": kid, "signing": signing, "forgotten_by": by }), true);
        return Ok(());
    }
    report(&ring, &rotation, clock.now(), false);
    line(&format!("\nwithdrawn  {kid}"));
    line(
        "sessions that ever used the key end as soon as a function reads the ring again; their users must log in again",
    );
    line(&format!(
        "access tokens that it signed are refused as soon as a verifier reads the key set again: by {by} ({}) \
         every verifier that reaches the issuer has dropped the key",
        format_duration(forgotten),
    ));
    line(if state == KeyState::Signing {
        "functions may sign with it for up to five minutes, until they read the ring again; those tokens are refused too"
    } else {
        "access tokens obtained with a forged refresh token are signed by the current key and are valid until they expire"
    });
    Ok(())
}

fn report(ring: &Ring, rotation: &Rotation, now: Timestamp, json: bool) {
    let kids = |wanted| {
        let in_state = ring.states(now).filter(move |(_, state)| *state == wanted);
        in_state.map(|(lifecycle, _)| lifecycle.key.jwk.kid().to_owned()).collect::<Vec<_>>()
    };
    let created: Vec<&str> = rotation.created.iter().map(|key| key.jwk.kid()).collect();
    let view = json!({
        "signing": kids(KeyState::Signing), "announced": kids(KeyState::Announced), "created": created,
        "deleted": rotation.deleted,
    });
    show(&view, json);
}

/// Adds the remedy to a refused change.
fn with_remedy(refused: ChangeRefused) -> AnyError {
    match refused {
        ChangeRefused::NotYetKnown { since, known } => format!(
            "the successor was announced only at {}, and verifiers may not know it before {}: wait until then, or \
             withdraw a compromised key with --force, which lets verifiers fail until they read the key set again",
            moment(since),
            moment(known),
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
    let unless_withdrawn = |at: Option<Timestamp>| at.filter(|_| state != KeyState::Withdrawn).map(moment);
    json!({
        "seq": lifecycle.key.seq,
        "state": state_name,
        "kid": lifecycle.key.jwk.kid(),
        "announced_at": moment(lifecycle.key.announced_at),
        "signs_from": unless_withdrawn(Some(lifecycle.signs_from)),
        "signs_until": lifecycle.signs_until.map(moment),
        "published_until": unless_withdrawn(lifecycle.published_until),
        "kept_until": lifecycle.kept_until.map(moment),
        "withdrawn_at": lifecycle.key.withdrawn_at.map(moment),
    })
}
