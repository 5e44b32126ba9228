//! The measured subject: an issuer in this process, with a client whose record uses every feature.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use countersign_issuer::audit::AuditLog;
use countersign_issuer::http::Request;
use countersign_issuer::keys::SigningKey;
use countersign_issuer::records::{AccessTokenType, Client};
use countersign_lambda::Logging;
use countersign_tests::AUDIENCE;
use countersign_tests::in_process::{InProcess, Post, SERVICE_SECRET};
use countersign_verify::{Claims, Clock};
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::fmt::MakeWriter;

/// Client credentials with an operator, a brand and scopes, which are all checked.
const FORM: &[(&str, &str)] = &[
    ("grant_type", "client_credentials"),
    ("operator", "alice"),
    ("brandKey", "acme"),
    ("scope", "reports:read reports:write"),
];

pub(crate) struct Subject {
    pub(crate) runtime: Runtime,
    pub(crate) world: InProcess,
    key: Arc<SigningKey>,
}

impl Subject {
    pub(crate) fn new(clock: &Clock, audit: AuditLog) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (world, key) = runtime.block_on(async {
            let world = InProcess::start_with_audit(clock, &[], audit).await;
            let table = world.table::<Client>();
            let mut client = table.get("service").await.unwrap().unwrap();
            client.scopes = ["reports:read", "reports:write", "calls:read"].map(Into::into).into();
            client.roles = ["reporting", "billing"].map(Into::into).into();
            client.brands = ["acme", "globex"].map(Into::into).into();
            table.save(&mut client).await.unwrap();
            let key = world.signing_key(clock).await;
            (world, key)
        });
        Self { runtime, world, key }
    }

    /// A request of the client, in the form in which a function passes it on.
    pub(crate) fn token_request() -> Request {
        Post::new("/oauth/token", "service", SERVICE_SECRET, FORM).from("203.0.113.7").request()
    }

    /// Signs the claims of a token and does nothing else.
    pub(crate) fn mint(&self) -> impl FnMut() {
        let claims = claims();
        move || drop(black_box(self.key.sign(AccessTokenType::AtJwt.as_str(), black_box(&claims)).unwrap()))
    }
}

/// Starts the log of a function, with metrics, and returns its audit log. Both write to `writer`.
pub(crate) fn start_the_log<W>(clock: Clock, writer: W) -> AuditLog
where
    W: for<'writer> MakeWriter<'writer> + Clone + Send + Sync + 'static,
{
    let production = |name: &str| match name {
        "COUNTERSIGN_METRICS" => Some("on".to_owned()),
        "AWS_LAMBDA_FUNCTION_NAME" => Some("countersign-token".to_owned()),
        _ => None,
    };
    let logging = Logging::from_lookup(production);
    assert!(logging.problems().is_empty());
    // Fails if an earlier call has set it.
    let _ = tracing::subscriber::set_global_default(logging.diagnostics(writer.clone()));
    logging.audit_log(clock, writer)
}

/// The claims of the token that the request gets.
fn claims() -> Claims {
    Claims {
        iss: "https://issuer.example.com".into(),
        sub: "service".into(),
        aud: AUDIENCE.into(),
        exp: 1_800_003_600,
        iat: 1_800_000_000,
        jti: "oGUmhwEX7kVa9gir3FtqJw".into(),
        client_id: "service".into(),
        scope: Some("reports:read reports:write".into()),
        roles: vec!["reporting".into(), "billing".into()],
        operator: Some("alice".into()),
        brand_key: Some("acme".into()),
        other: BTreeMap::default(),
    }
}
