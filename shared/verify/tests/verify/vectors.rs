//! Published test vectors for the public API. The vectors with signatures over other messages than
//! our tokens are next to the signature check, in `src/jwk/vectors.rs`.

use countersign_verify::{Clock, Jwk, JwkSet, Timestamp, TokenError, Verifier};

/// The example of RFC 7638 section 3.1 is an RSA key, which this crate does not support. RFC 9449
/// has the thumbprint of a P-256 key by the same rule: section 4.1 has the key, section 6.1 the
/// thumbprint.
#[test]
fn the_thumbprint_matches_the_vector_of_rfc_9449() {
    let key = r#"{"kty":"EC","crv":"P-256","kid":"any","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"}"#;
    let thumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    let jwk: Jwk = serde_json::from_str(key).unwrap();
    assert_eq!(jwk.thumbprint(), thumbprint);
    assert_eq!(Jwk::from_uncompressed_point(jwk.uncompressed_point()).unwrap().kid(), thumbprint);
}

/// The JWS of RFC 7515 appendix A.3 has a valid signature but is not an access token: it has
/// neither `typ` nor `kid`.
#[test]
fn a_valid_jws_is_not_an_access_token() {
    let key = r#"{"kty":"EC","crv":"P-256","kid":"A.3","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    let keys = JwkSet::from_json(&format!(r#"{{"keys":[{key}]}}"#)).unwrap();
    let verifier = Verifier::builder("joe")
        .dangerously_accept_any_audience()
        .keys(keys.clone())
        .clock(Clock::new(|| Timestamp::from_seconds(1_300_819_379)))
        .build()
        .unwrap();
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19y\
                 b290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let error = verifier.verify_with(token, &keys).unwrap_err();
    assert_eq!(error, TokenError::Malformed("the header is not exactly alg, typ and kid"));
}
