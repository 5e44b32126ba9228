//! The metadata and the JWKS as the issuer publishes them, and this machine's clock compared
//! with the issuer's.

use std::time::Duration;

use countersign_issuer::keys::Ring;
use countersign_verify::{Clock, HttpClient, HttpLimits, JwkSet, Timestamp};
use serde_json::Value;

use super::Lookup;
use super::finding::Finding;

const CHECK: &str = "published";
const TIMEOUT: Duration = Duration::from_secs(15);
/// The most that two clocks may differ; the key rotation schedule allows for it.
const CLOCK_ERROR: Duration = Duration::from_secs(60);
const METADATA: &str = "/.well-known/oauth-authorization-server";

/// A document with the time of the server that sent it.
struct Document {
    text: String,
    date: Option<Timestamp>,
}

/// Fetches the metadata and the JWKS from `COUNTERSIGN_ISSUER`, as clients and verifiers do.
pub(super) async fn check(lookup: &Lookup, ring: Option<&Ring>, clock: &Clock) -> Vec<Finding> {
    let Some(issuer) = lookup("COUNTERSIGN_ISSUER").filter(|issuer| !issuer.is_empty()) else {
        return vec![Finding::warning(
            CHECK,
            "not checked: COUNTERSIGN_ISSUER is not set",
            "set it to its value in the stack output Environment",
        )];
    };
    let http = match http_client(lookup) {
        Ok(http) => http,
        Err(error) => {
            let remedy = "install the certificate authorities of this machine's operating system, and let \
                          AWS_CA_BUNDLE name a file of certificates, if anything";
            return vec![Finding::broken(CHECK, error, remedy)];
        }
    };
    let mut findings = Vec::new();
    if let Err(finding) = check_documents(&http, &issuer, ring, clock, &mut findings).await {
        findings.push(*finding);
    }
    findings
}

/// Trusts the roots in `AWS_CA_BUNDLE` too: an issuer that is reached through the same proxy as AWS
/// has a certificate of that proxy.
fn http_client(lookup: &Lookup) -> Result<HttpClient, String> {
    let limits = HttpLimits { timeout: TIMEOUT, connect_timeout: TIMEOUT, ..HttpLimits::default() };
    let bundle = lookup("AWS_CA_BUNDLE").filter(|path| !path.is_empty());
    let roots = match bundle {
        Some(path) => std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?,
        None => Vec::new(),
    };
    HttpClient::with_more_roots(limits, &roots).map_err(|error| error.to_string())
}

async fn check_documents(
    http: &HttpClient,
    issuer: &str,
    ring: Option<&Ring>,
    clock: &Clock,
    findings: &mut Vec<Finding>,
) -> Result<(), Box<Finding>> {
    let metadata = fetch(http, &format!("{issuer}{METADATA}")).await?;
    findings.extend(metadata.date.map(|date| check_clock(date, clock.now())));
    let jwks_uri = read_metadata(&metadata.text, issuer)?;
    findings.push(Finding::ok(CHECK, format!("{issuer}{METADATA}")));
    let key_set = fetch(http, &jwks_uri).await?;
    findings.push(check_key_set(&key_set.text, &jwks_uri, ring, clock.now()));
    Ok(())
}

async fn fetch(http: &HttpClient, url: &str) -> Result<Document, Box<Finding>> {
    let response = http.get(url).await.map_err(|error| {
        Box::new(Finding::broken(
            CHECK,
            format!("{url} is out of reach: {error}"),
            "no client gets a token and no verifier gets a key: compare COUNTERSIGN_ISSUER with the stack output \
             Issuer, and check the domain's DNS record and certificate",
        ))
    })?;
    let status = response.status();
    if status != 200 {
        return Err(Box::new(Finding::broken(
            CHECK,
            format!("{url} answers {status}"),
            "for a 5xx read the log of the jwks function; a 4xx means that another service answers at this address",
        )));
    }
    let date = response.headers().get("date").and_then(|date| date.to_str().ok()).and_then(parse_http_date);
    Ok(Document { text: response.into_body(), date })
}

/// Parses a date of RFC 9110 section 5.6.7, which is RFC 2822's form with GMT as the zone.
fn parse_http_date(text: &str) -> Option<Timestamp> {
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
            format!("this machine's clock is {} s away from the issuer's", off.as_secs()),
            "set this machine's clock (NTP) before you rotate or withdraw keys: this machine's time goes into the keys",
        )
    }
}

/// Returns the address of the JWKS (RFC 8414 sections 2 and 3.3).
fn read_metadata(text: &str, issuer: &str) -> Result<String, Box<Finding>> {
    let metadata: Value = serde_json::from_str(text).unwrap_or_default();
    let named = metadata["issuer"].as_str();
    if named != Some(issuer) {
        let named = named.map_or_else(|| "no issuer".to_owned(), |named| format!("the issuer {named}"));
        return Err(Box::new(Finding::broken(
            CHECK,
            format!("the metadata at {issuer} names {named}: every strict client rejects it"),
            "COUNTERSIGN_ISSUER must be the same for the functions and in this shell: deploy the stack with the right \
             DomainName, or set the variable to its value in the stack output Environment",
        )));
    }
    match metadata["jwks_uri"].as_str() {
        Some(uri) if uri.starts_with(issuer) => Ok(uri.to_owned()),
        _ => Err(Box::new(Finding::broken(
            CHECK,
            "the metadata names no JWKS below the issuer's URL",
            "another service answers at this address: check the API's routes",
        ))),
    }
}

fn check_key_set(text: &str, url: &str, ring: Option<&Ring>, now: Timestamp) -> Finding {
    let keys = match JwkSet::from_json(text) {
        Ok(keys) => keys,
        Err(error) => {
            return Finding::broken(
                CHECK,
                format!("{url} is not a JWKS that a verifier can use: {error}"),
                "another service answers at this address: check the API's routes and any proxy before it",
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
        Finding::ok(CHECK, format!("{url} has every key that it must have"))
    } else {
        Finding::broken(
            CHECK,
            format!("{url} lacks {}", missing.join(", ")),
            "this is normal for five minutes after a rotation; later the jwks function cannot read the keys (see its \
             log), reads those of another stack (check its COUNTERSIGN_TABLE_PREFIX), or a cache before it keeps the \
             JWKS too long",
        )
    }
}
