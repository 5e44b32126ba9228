//! Signed tokens in compact serialisation (RFC 7515 section 7.1), in the one form that the issuer
//! writes: ES256 and exactly the headers `alg`, `typ` and `kid`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::json::{Object, Unambiguous};
use crate::{JwkSet, TokenError};

/// The maximum length of a token; a longer one is rejected unread. The issuer's limits on scopes
/// and roles keep its tokens below this.
pub const MAX_TOKEN_BYTES: usize = 12 * 1024;

/// The size of a signature: r‖s, 32 bytes each (RFC 7518 section 3.4).
const SIGNATURE_BYTES: usize = 64;

/// The protected header. Unknown members are rejected, not ignored. This rules out `crit`, `b64`,
/// `jwk`, `jku`, `x5u` and `x5c` before they can have an effect.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    kid: &'a str,
}

/// Verifies a token except for the meaning of its claims: the form, `alg`, `typ` (one of `types`),
/// `kid` and the signature. The payload must be JSON that every parser reads the same way. Returns
/// the claims and the `kid`.
pub fn verify<T: DeserializeOwned>(
    token: &str,
    keys: &JwkSet,
    types: &[&str],
) -> Result<(T, String), TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::Malformed("the token is too long"));
    }
    let (signing_input, signature) =
        token.rsplit_once('.').ok_or(TokenError::Malformed("not three segments"))?;
    let (header, payload) =
        signing_input.split_once('.').ok_or(TokenError::Malformed("not three segments"))?;

    let header = decode(header, "the header is not unpadded base64url")?;
    let Object(header): Object<Header<'_>> = serde_json::from_slice(&header)
        .map_err(|_| TokenError::Malformed("the header is not exactly alg, typ and kid"))?;
    if header.alg != "ES256" {
        return Err(TokenError::Malformed("alg is not ES256"));
    }
    if !types.contains(&header.typ) {
        return Err(TokenError::WrongType);
    }
    let payload = decode(payload, "the payload is not unpadded base64url")?;
    let signature = decode(signature, "the signature is not unpadded base64url")?;
    if signature.len() != SIGNATURE_BYTES {
        return Err(TokenError::Malformed("the signature is not 64 bytes"));
    }

    let key = keys.find(header.kid).ok_or(TokenError::UnknownKey)?;
    key.verify(signing_input.as_bytes(), &signature)?;

    serde_json::from_slice::<Object<Unambiguous>>(&payload)
        .map_err(|_| TokenError::Malformed("the payload is not a JSON object with unique member names"))?;
    let claims = serde_json::from_slice(&payload)
        .map_err(|_| TokenError::Malformed("a claim is missing or of the wrong type"))?;
    Ok((claims, header.kid.to_owned()))
}

/// Returns a token's header and payload as JSON without any check. Use it to display a token, never
/// to make a decision.
pub fn decode_unverified(token: &str) -> Result<(serde_json::Value, serde_json::Value), TokenError> {
    let mut segments = token.splitn(3, '.');
    let mut next = || {
        let segment = segments.next().ok_or(TokenError::Malformed("not three segments"))?;
        let bytes = decode(segment, "a segment is not unpadded base64url")?;
        serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed("a segment is not JSON"))
    };
    Ok((next()?, next()?))
}

fn decode(segment: &str, problem: &'static str) -> Result<Vec<u8>, TokenError> {
    // The engine rejects padding and non-zero trailing bits, so that a segment has only one
    // spelling.
    BASE64URL.decode(segment).map_err(|_| TokenError::Malformed(problem))
}
