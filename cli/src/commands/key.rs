//! `countersign key`.

use clap::Subcommand;
use countersign_issuer::keys::{
    ChangeRefused, KeyLifecycle, KeyState, Ring, Rotation, Rotator, format_duration,
};
use countersign_verify::{Clock, Timestamp};
use serde_json::{Value, json};

use super::target::Target;
use super::{Outcome, confirm, log_to_stderr, ring_of, rotator_of};
use crate::output::{line, list, moment, show};

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// List the signing keys with their states and the times of their changes
    List,
    /// Let the announced successor sign from now on, and announce the next one; breaks no verifier
    #[command(after_help = "\
Where the ring lacks a key, this makes it (an empty one gets two). Where the successor is too young, this says from when on it
can be done. On AWS a schedule rotates; this is for not waiting.

Example:
  countersign key rotate")]
    Rotate,
    /// Take a compromised key away at once: tokens that it signed are refused wherever that is noticed
    #[command(after_help = "\
Example:
  countersign key list
  countersign key withdraw rM-7ppuf0Ud3y1FNfaX_weX5vu6Pi_FBMGeODvb64wE")]
    Withdraw {
        /// The key's id, as `key list` shows it
        #[arg(allow_hyphen_values = true)]
        kid: String,
        /// Withdraw it although verifiers may not know the successor yet
        #[arg(long)]
        force: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

impl KeyCommand {
    pub(super) async fn run(self, target: &Target, json: bool) -> Outcome {
        // Who changed the ring, and what in it cannot be read, goes where the functions' logs go elsewhere.
        log_to_stderr();
        let clock = Clock::system();
        match self {
            Self::List => {
                let ring = ring_of(target).await?;
                let views: Vec<Value> = ring.states(clock.now()).map(view).collect();
                let columns =
                    ["seq", "state", "kid", "signs_from", "signs_until", "published_until", "kept_until"];
                list(&views, &columns, json);
                Ok(())
            }
            Self::Rotate => {
                let rotator = rotator_of(target).await?;
                let ring = rotator.ring().await?;
                let now = clock.now();
                // A ring that lacks a key gets it first; whether a successor may take over is another question.
                let is_complete = ring.signing(now).is_some() && ring.announced(now).is_some();
                let rotation = if is_complete {
                    rotator.rotate_now().await.map_err(in_words)?
                } else {
                    rotator.rotate().await?
                };
                report(&rotator.ring().await?, &rotation, clock.now(), json);
                Ok(())
            }
            Self::Withdraw { kid, force, yes } => {
                withdraw(&rotator_of(target).await?, &kid, force, yes, &clock, json).await
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
        return Err(in_words(ChangeRefused::NoSuchKey));
    };
    confirm(&format!("Withdraw key {kid}? Every token that it signed dies."), yes)?;
    let rotation = rotator.withdraw(kid, force).await.map_err(in_words)?;
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
        "sessions that were ever under it end as soon as a function reads the ring again; their owners log in again",
    );
    line(&format!(
        "access tokens that it signed are refused as soon as a verifier reads the key set again: by {by} ({}) \
         no verifier that reaches the issuer knows the key any more",
        format_duration(forgotten),
    ));
    line(if state == KeyState::Signing {
        "what functions sign with it until they read the ring again, within five minutes, is refused alike"
    } else {
        "access tokens that a forged refresh token got are under the key that signs, and good until they expire"
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

/// The remedy beside the refusal.
fn in_words(refused: ChangeRefused) -> Box<dyn std::error::Error + Send + Sync> {
    match refused {
        ChangeRefused::NotYetKnown { since, known } => format!(
            "the successor has been announced since {} only, and verifiers may not know it before {}: wait until \
             then, or, for a compromised key, withdraw it with --force and let verifiers fail until they read the \
             key set again",
            moment(since),
            moment(known),
        )
        .into(),
        ChangeRefused::NoSuccessor => "no successor is announced: `countersign key rotate` makes one, which every \
             verifier knows once it has been announced for the lead; or withdraw a compromised key with --force"
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
    // A withdrawn key left the key set at once, and may never have signed.
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
