//! The limit on failed HTTP Basic credentials at an API, per peer and per client.
//!
//! The issuer sees the API's address and not its callers'. It throttles guesses by client and
//! address, so without a limit here one stranger at the API would use up what all callers of a
//! client share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;

use crate::generated_secret::is_generated_secret;
use crate::{Timestamp, network_of, percent};

/// The failures at once that a network, and a client id, may have.
const BURST_PER_NETWORK: u32 = 5;
const BURST_PER_CLIENT: u32 = 15;
/// The time after which one more failure is allowed. Together with the burst, at most 18 failures at
/// a client reach the issuer in a quarter of an hour. Its own throttle for a client and an address
/// begins after 20.
const INTERVAL: Duration = Duration::from_secs(225);
/// The maximum number of allowances. Above it, all further ones are shared.
const MAX_ALLOWANCES: usize = 4096;

/// Credentials of HTTP Basic, as far as the limit needs to understand them.
#[derive(Debug)]
pub(crate) struct BasicCredentials {
    /// The client ids that the issuer may read: unencoded, and form-encoded (RFC 6749 section
    /// 2.3.1).
    client_ids: Vec<String>,
    /// A guess at a generated secret needs no limit, and the issuer does not count it.
    is_generated: bool,
}

impl BasicCredentials {
    /// Parses the part of the Authorization header after the scheme. Returns `None` if the issuer
    /// could not read it either.
    pub(crate) fn parse(credentials: &str) -> Option<Self> {
        let decoded = String::from_utf8(BASE64.decode(credentials.trim_matches(' ')).ok()?).ok()?;
        let (client_id, secret) = decoded.split_once(':')?;
        let mut client_ids = vec![client_id.to_owned()];
        let form_decoded = percent::decode_form(client_id.as_bytes()).ok();
        let form_decoded = form_decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        client_ids.extend(form_decoded.filter(|decoded| decoded != client_id));
        Some(Self { client_ids, is_generated: is_generated_secret(secret) })
    }
}

/// The failures that are still allowed.
#[derive(Debug)]
pub(crate) struct GuessLimit {
    /// The key of the digests of client ids: people type secrets into the field for the id.
    hmac_key: hmac::Key,
    /// For each allowance the moment at which it is whole again. A failure moves it by
    /// [`INTERVAL`].
    allowances: Mutex<HashMap<Allowance, Timestamp>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Allowance {
    /// An IPv4 address or an IPv6 /56.
    Network(IpAddr),
    Client([u8; 32]),
    /// All networks, or all clients, that came while there was no room.
    Others(u32),
}

/// A guess that is being checked. Unless it is released, it counts as a failure.
#[must_use]
#[derive(Debug, Default)]
pub(crate) struct Reservation(Vec<Allowance>);

impl GuessLimit {
    pub(crate) fn new(hmac_key: hmac::Key) -> Self {
        Self { hmac_key, allowances: Mutex::default() }
    }

    /// Counts a failure in advance, so that parallel guesses cannot pass the limit together. The
    /// error is the time after which one more guess is allowed.
    pub(crate) fn reserve(
        &self,
        credentials: &BasicCredentials,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Reservation, Duration> {
        if credentials.is_generated {
            return Ok(Reservation::default());
        }
        let network = peer.map(|peer| (Allowance::Network(network_of(peer)), BURST_PER_NETWORK));
        let client =
            |id: &String| (Allowance::Client(keyed_digest(&self.hmac_key, id.as_bytes())), BURST_PER_CLIENT);
        let wanted: Vec<_> = network.into_iter().chain(credentials.client_ids.iter().map(client)).collect();

        let mut allowances = self.allowances.lock().unwrap_or_else(PoisonError::into_inner);
        if allowances.len() + wanted.len() > MAX_ALLOWANCES {
            allowances.retain(|_, whole_at| *whole_at > now);
        }
        let has_room = allowances.len() + wanted.len() <= MAX_ALLOWANCES;
        let mut reserved = Vec::with_capacity(wanted.len());
        for (allowance, burst) in wanted {
            let is_known = has_room || allowances.contains_key(&allowance);
            let allowance = if is_known { allowance } else { Allowance::Others(burst) };
            // A clock that was set back prolongs no wait beyond the longest one.
            let used = allowances.get(&allowance).map_or(Duration::ZERO, |whole_at| whole_at.since(now));
            let used = used.min(INTERVAL * burst);
            let wait = (used + INTERVAL).saturating_sub(INTERVAL * burst);
            if !wait.is_zero() {
                return Err(wait);
            }
            reserved.push((allowance, now.plus(used + INTERVAL)));
        }
        allowances.extend(reserved.iter().copied());
        Ok(Reservation(reserved.into_iter().map(|(allowance, _)| allowance).collect()))
    }

    /// Takes back a failure that was counted in advance: the guess was right, or was not checked.
    pub(crate) fn release(&self, reservation: Reservation) {
        let mut allowances = self.allowances.lock().unwrap_or_else(PoisonError::into_inner);
        for allowance in reservation.0 {
            if let Some(whole_at) = allowances.get_mut(&allowance) {
                *whole_at = whole_at.minus(INTERVAL);
            }
        }
    }
}

/// HMAC-SHA-256, under which client ids and credentials are remembered.
pub(crate) fn keyed_digest(key: &hmac::Key, bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(hmac::sign(key, bytes).as_ref());
    digest
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn limit() -> GuessLimit {
        GuessLimit::new(hmac::Key::new(hmac::HMAC_SHA256, &[0; 32]))
    }

    fn credentials(client_id: &str) -> BasicCredentials {
        BasicCredentials::parse(&BASE64.encode(format!("{client_id}:guess"))).unwrap()
    }

    fn peer(n: u8) -> IpAddr {
        IpAddr::from([203, 0, 113, n])
    }

    #[test]
    fn in_any_quarter_of_an_hour_fewer_failures_reach_the_issuer_than_it_allows() {
        let limit = limit();
        let mut passed = Vec::new();
        for second in 0..3600 {
            let now = Timestamp::from_seconds(1_000_000 + second);
            for n in 0..=255 {
                // The id in every spelling that the issuer reads as the same client.
                for id in ["svc", "%73vc", "s%76c"] {
                    passed.extend(limit.reserve(&credentials(id), Some(peer(n)), now).map(|_| second));
                }
            }
        }
        let in_a_window = |start: u64| passed.iter().filter(|at| (start..start + 900).contains(*at)).count();
        assert_eq!((0..2700).map(in_a_window).max(), Some(18));
        assert!(passed.len() > 18, "the limit delays, and never locks out for good");
    }

    #[test]
    fn a_clock_that_is_set_back_prolongs_no_wait_beyond_the_longest_one() {
        let limit = limit();
        let (late, early) = (Timestamp::from_seconds(1_000_000), Timestamp::from_seconds(1));
        for _ in 0..5 {
            let _ = limit.reserve(&credentials("svc"), Some(peer(1)), late).unwrap();
        }
        assert_eq!(limit.reserve(&credentials("svc"), Some(peer(1)), early).unwrap_err(), INTERVAL);
    }

    #[test]
    fn more_peers_than_there_is_room_for_share_one_allowance() {
        let limit = limit();
        let now = Timestamp::from_seconds(1_000_000);
        let mut passed = 0;
        for n in 0..10_000 {
            let id = credentials(&format!("client-{n}"));
            let peer = IpAddr::from(Ipv6Addr::from_bits(n << 72));
            passed += usize::from(limit.reserve(&id, Some(peer), now).is_ok());
        }
        assert_eq!(passed, MAX_ALLOWANCES / 2 + BURST_PER_NETWORK as usize);
        assert!(limit.allowances.lock().unwrap().len() <= MAX_ALLOWANCES + 2);
    }
}
