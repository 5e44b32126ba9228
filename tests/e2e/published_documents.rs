//! The key set and the metadata, which everyone may read and cache.

use countersign_tests::TestIssuer;
use reqwest::Method;
use serde_json::json;

const JWKS: &str = "/.well-known/jwks.json";

#[tokio::test]
async fn the_key_set_contains_public_members_only() {
    let issuer = TestIssuer::start().await;
    let answer = issuer.get(JWKS, &[]).await;
    assert_eq!(answer.header("content-type"), "application/jwk-set+json");
    let keys = answer.json()["keys"].clone();
    let key = keys[0].as_object().unwrap();
    let members: Vec<&str> = key.keys().map(String::as_str).collect();
    assert_eq!(members.len(), 7, "{members:?}");
    for member in ["kty", "crv", "x", "y", "kid", "use", "alg"] {
        assert!(members.contains(&member), "{member}");
    }
    assert_eq!(
        (&key["kty"], &key["crv"], &key["use"], &key["alg"]),
        (&json!("EC"), &json!("P-256"), &json!("sig"), &json!("ES256"))
    );
}

#[tokio::test]
async fn documents_may_be_cached_for_15_minutes_and_revalidated_by_etag() {
    let issuer = TestIssuer::start().await;
    for path in [JWKS, "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        let answer = issuer.get(path, &[]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("cache-control")),
            (200, "public, max-age=900"),
            "{path}"
        );
        let tag = answer.header("etag");
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 10, "{tag}");
        for known in [tag.to_owned(), format!("\"other\", W/{tag}"), "*".to_owned()] {
            let unchanged = issuer.get(path, &[("if-none-match", &known)]).await;
            assert_eq!((unchanged.status.as_u16(), unchanged.text.as_str()), (304, ""), "{known}");
            assert_eq!(unchanged.header("etag"), tag);
            assert_eq!(unchanged.header("cache-control"), "public, max-age=900");
        }
        assert_eq!(issuer.get(path, &[("if-none-match", "\"other\"")]).await.status, 200);
        let head = issuer.request(Method::HEAD, path, &[], Vec::new()).await;
        assert_eq!((head.status.as_u16(), head.header("etag"), head.text.as_str()), (200, tag, ""));
        assert_eq!(head.header("content-length"), answer.text.len().to_string(), "RFC 9110 section 8.6");
        let refused = issuer.request(Method::POST, path, &[], Vec::new()).await;
        refused.assert_error(405, "invalid_request");
        for answer in [&answer, &head, &refused] {
            assert_eq!(answer.header("access-control-allow-origin"), "*");
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert_eq!(answer.header("strict-transport-security"), "max-age=31536000");
        }
    }
}

#[tokio::test]
async fn the_metadata_lists_the_endpoints_below_the_issuer() {
    let issuer = TestIssuer::start().await;
    let url = &issuer.url;
    let metadata = issuer.get("/.well-known/oauth-authorization-server", &[]).await.json();
    let authentication = json!(["client_secret_basic", "client_secret_post"]);
    assert_eq!(
        metadata,
        json!({
            "issuer": url,
            "token_endpoint": format!("{url}/oauth/token"),
            "revocation_endpoint": format!("{url}/oauth/revoke"),
            "introspection_endpoint": format!("{url}/oauth/introspect"),
            "jwks_uri": format!("{url}{JWKS}"),
            "grant_types_supported": ["client_credentials", "password", "operator_password", "refresh_token"],
            "token_endpoint_auth_methods_supported": authentication,
            "revocation_endpoint_auth_methods_supported": authentication,
            "introspection_endpoint_auth_methods_supported": authentication,
            "response_types_supported": [],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    );
    let for_openid = issuer.get("/.well-known/openid-configuration", &[]).await.json();
    assert_eq!(for_openid, metadata);
}
