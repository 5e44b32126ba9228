//! The demo records, and the commands that try them.

use aws_sdk_dynamodb::Client as DynamoDb;
use countersign_issuer::credentials::{ClientSecret, Secret};
use countersign_issuer::random::Random;
use countersign_issuer::records::{Client, GrantType, Principal, PrincipalKey};
use countersign_issuer::store::{Table, WriteError};
use countersign_verify::{Clock, Timestamp};

use super::DevError;

/// The audience of the demo clients' tokens.
pub(super) const AUDIENCE: &str = "https://api.example.com";

/// Writes the demo records that do not exist yet.
pub(super) async fn create_records(
    db: &DynamoDb,
    prefix: &str,
    clock: &Clock,
    random: &Random,
) -> Result<(), DevError> {
    let now = clock.now();
    let clients = Table::<Client>::new(db.clone(), prefix);
    for client in clients_at(now, random)? {
        keep_existing(clients.create(&client).await)?;
    }
    let principals = Table::<Principal>::new(db.clone(), prefix);
    for principal in principals_at(now, random)? {
        keep_existing(principals.create(&principal).await)?;
    }
    Ok(())
}

fn keep_existing(written: Result<(), WriteError>) -> Result<(), DevError> {
    match written {
        Ok(()) | Err(WriteError::Exists) => Ok(()),
        Err(error) => Err(DevError::setup(error)),
    }
}

fn clients_at(now: Timestamp, random: &Random) -> Result<[Client; 3], DevError> {
    let strings = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect::<Vec<_>>();
    let client =
        |id: &str, name: &str, grant_types: &[GrantType], scopes: &[&str]| -> Result<Client, DevError> {
            let secret = Secret::from_string(format!("{id}-secret"));
            Ok(Client {
                name: name.to_owned(),
                secrets: vec![ClientSecret::new(&secret, now, None, random).map_err(DevError::setup)?],
                grant_types: grant_types.to_vec(),
                scopes: strings(scopes),
                audiences: strings(&[AUDIENCE]),
                ..Client::new(id, now)
            })
        };
    Ok([
        Client {
            roles: strings(&["reporting"]),
            brands: strings(&["acme", "globex"]),
            operators: strings(&["alice.ops"]),
            ..client(
                "demo-service",
                "Demo reporting service",
                &[GrantType::ClientCredentials],
                &["reports:read", "reports:write"],
            )?
        },
        Client {
            roles: strings(&["voice-admin"]),
            ..client(
                "demo-voice",
                "Demo voice platform",
                &[GrantType::ClientCredentials],
                &["calls:read", "calls:write"],
            )?
        },
        Client {
            brands: strings(&["acme"]),
            ..client(
                "demo-app",
                "Demo app",
                &[GrantType::Password, GrantType::OperatorPassword, GrantType::RefreshToken],
                &["profile:read", "profile:write"],
            )?
        },
    ])
}

fn principals_at(now: Timestamp, random: &Random) -> Result<[Principal; 2], DevError> {
    let user = PrincipalKey::User { brand: "acme".into(), username: "jane@example.com".into() };
    let operator = PrincipalKey::Operator { username: "alice.ops".into() };
    Ok([
        Principal::new(&user, "correct horse battery staple", vec!["subscriber".into()], vec![], now, random)
            .map_err(DevError::setup)?,
        Principal::new(
            &operator,
            "operator-passphrase",
            vec!["care-agent".into(), "billing".into()],
            vec!["acme".into(), "globex".into()],
            now,
            random,
        )
        .map_err(DevError::setup)?,
    ])
}

/// Returns curl commands to paste, in an order in which each one works.
pub fn curl_commands(url: &str) -> String {
    format!(
        r#"B={url}

# A user of a brand, an operator of several, a client on behalf of an operator, a client by itself:
curl -X POST -u demo-app:demo-app-secret $B/oauth/token -H "Accept: application/json" -d "grant_type=password&username=jane@example.com&password=correct+horse+battery+staple&brandKey=acme"
curl -X POST -u demo-app:demo-app-secret $B/oauth/token -H "Accept: application/json" -d "grant_type=operator_password&username=alice.ops&password=operator-passphrase&brandKey=acme"
curl -X POST -u demo-service:demo-service-secret $B/oauth/token -H "Accept: application/json" -d "grant_type=client_credentials&operator=alice.ops&brandKey=acme"
curl -X POST $B/oauth/token -H "Accept: application/json" -d "client_id=demo-voice&client_secret=demo-voice-secret&grant_type=client_credentials"

# Refresh: R is the refresh token of a login.
R=$(curl -s -X POST -u demo-app:demo-app-secret $B/oauth/token -d "grant_type=password&username=jane@example.com&password=correct+horse+battery+staple&brandKey=acme" | sed 's/.*"refresh_token":"\([^"]*\)".*/\1/')
curl -X POST -u demo-app:demo-app-secret $B/oauth/token -H "Accept: application/json" -d "grant_type=refresh_token&refresh_token=$R&brandKey=acme"

# The protected demo API: T is an access token, which opens the first two and lacks the scope for the third (403).
T=$(curl -s -X POST -u demo-service:demo-service-secret $B/oauth/token -d "grant_type=client_credentials&operator=alice.ops&brandKey=acme" | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
curl -i -H "Authorization: Bearer $T" $B/api/whoami
curl -i -H "Authorization: Bearer $T" $B/api/reports
curl -i -H "Authorization: Bearer $T" $B/api/calls
"#
    )
}
