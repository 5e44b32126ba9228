//! What the issuer publishes, fetched as its clients and verifiers fetch it, and the clock beside it.

use std::time::Duration;

use countersign_issuer::keys::Ring;
use countersign_verify::{Clock, JwkSet, Timestamp};
use serde_json::Value;
use ureq::Agent;

use super::{Finding, Lookup};

const CHECK: &str = "published";
/// What the keys' timers allow for, between any two clocks.
const CLOCK_ERROR: Duration = Duration::from_secs(60);
const METADATA: &str = "/.well-known/oauth-authorization-server";

/// A document, and what the server's clock said.
struct Fetched {
    text: String,
    date: Option<Timestamp>,
}

/// Fetches the metadata and the key set from `COUNTERSIGN_ISSUER`.
pub(super) fn check(lookup: &Lookup, ring: Option<&Ring>, clock: &Clock) -> Vec<Finding> {
    let Some(issuer) = lookup("COUNTERSIGN_ISSUER").filter(|issuer| !issuer.is_empty()) else {
        return vec![Finding::warning(
            CHECK,
            "not looked at: COUNTERSIGN_ISSUER is not set",
            "set it as the stack's output Environment has it",
        )];
    };
    let config =
        Agent::config_builder().timeout_global(Some(Duration::from_secs(15))).http_status_as_error(false);
    let agent = config.build().new_agent();
    let mut findings = Vec::new();
    match fetch(&agent, &format!("{issuer}{METADATA}")) {
        Ok(fetched) => {
            findings.extend(fetched.date.map(|date| check_clock(date, clock.now())));
            let jwks_uri = match read_metadata(&fetched.text, &issuer) {
                Ok(jwks_uri) => jwks_uri,
                Err(finding) => {
                    findings.push(*finding);
                    return findings;
                }
            };
            findings.push(Finding::ok(CHECK, format!("{issuer}{METADATA}")));
            match fetch(&agent, &jwks_uri) {
                Ok(fetched) => findings.push(check_key_set(&fetched.text, &jwks_uri, ring, clock.now())),
                Err(finding) => findings.push(*finding),
            }
        }
        Err(finding) => findings.push(*finding),
    }
    findings
}

fn fetch(agent: &Agent, url: &str) -> Result<Fetched, Box<Finding>> {
    let out_of_reach = |error: ureq::Error| {
        Box::new(Finding::broken(
            CHECK,
            format!("{url} is out of reach: {error}"),
            "no client gets a token and no verifier a key: check COUNTERSIGN_ISSUER against the stack's output Issuer, and \
             the domain's DNS record and certificate",
        ))
    };
    let mut response = agent.get(url).call().map_err(out_of_reach)?;
    let status = response.status();
    let date = response.headers().get("date").and_then(|date| date.to_str().ok()).and_then(http_date);
    let text = response.body_mut().read_to_string().map_err(out_of_reach)?;
    if status != 200 {
        return Err(Box::new(Finding::broken(
            CHECK,
            format!("{url} answers {status}"),
            "a 5xx is explained by the log of the jwks function; a 4xx means that something else is served there",
        )));
    }
    Ok(Fetched { text, date })
}

/// RFC 9110 section 5.6.7, which is RFC 2822's form with GMT for the zone.
fn http_date(text: &str) -> Option<Timestamp> {
    let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
    u64::try_from(zoned.timestamp().as_second()).ok().map(Timestamp::from_seconds)
}

fn check_clock(server: Timestamp, now: Timestamp) -> Finding {
    let off = now.since(server).max(server.since(now));
    // The header counts whole seconds.
    if off <= CLOCK_ERROR + Duration::from_secs(1) {
        Finding::ok("clock", format!("within {} s of the issuer's", off.as_secs() + 1))
    } else {
        Finding::broken(
            "clock",
            format!("this machine is {} s away from the issuer", off.as_secs()),
            "set this machine's clock (NTP) before keys are rotated or withdrawn from it: their times are its times",
        )
    }
}

/// The key set's address (RFC 8414 sections 2 and 3.3).
fn read_metadata(text: &str, issuer: &str) -> Result<String, Box<Finding>> {
    let broken = |found: String, remedy: &str| Err(Box::new(Finding::broken(CHECK, found, remedy)));
    let metadata: Value = serde_json::from_str(text).unwrap_or_default();
    let said = metadata["issuer"].as_str().unwrap_or("nothing");
    if said != issuer {
        return broken(
            format!(
                "the metadata at {issuer} says that the issuer is {said}: every strict client refuses it"
            ),
            "COUNTERSIGN_ISSUER of the functions and of this shell must be one: deploy the stack with the right \
             DomainName, or set the variable as its output Environment has it",
        );
    }
    match metadata["jwks_uri"].as_str() {
        Some(uri) if uri.starts_with(issuer) => Ok(uri.to_owned()),
        _ => broken(
            "the metadata names no key set of the issuer's own".into(),
            "something else is served there: look at the API's routes",
        ),
    }
}

fn check_key_set(text: &str, url: &str, ring: Option<&Ring>, now: Timestamp) -> Finding {
    let keys = match JwkSet::from_json(text) {
        Ok(keys) => keys,
        Err(error) => {
            return Finding::broken(
                CHECK,
                format!("{url} is no key set that a verifier can use: {error}"),
                "something else is served there: look at the API's routes and at what stands before it",
            );
        }
    };
    let Some(ring) = ring else {
        return Finding::ok(CHECK, url);
    };
    let missing: Vec<&str> = ring
        .states(now)
        .map(|(lifecycle, _)| lifecycle.key.jwk.kid())
        .filter(|kid| ring.published(now).find(kid).is_some() && keys.find(kid).is_none())
        .collect();
    if missing.is_empty() {
        Finding::ok(CHECK, format!("{url} has every key that it must"))
    } else {
        Finding::broken(
            CHECK,
            format!("{url} lacks {}", missing.join(", ")),
            "within five minutes of a rotation that is normal; later the jwks function cannot read the ring (its log), \
             reads another one (its COUNTERSIGN_TABLE_PREFIX), or a cache before it keeps the set for too long",
        )
    }
}
