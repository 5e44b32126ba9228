//! The local server: the endpoints, the demo API, and the store below them.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::routing::any;
use countersign_issuer::endpoints::{self, MAX_BODY_BYTES};
use countersign_issuer::keys::{KeyTable, ensure_first_key};
use countersign_issuer::{Config, Entropy, Issuer, Publisher, create_tables, dynamodb};
use countersign_verify::{Clock, JwkSet, Verifier};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::environment::Environment;
use super::{DevError, EmbeddedDynamoDb, api, demo};

/// Where `env` is written unless a data folder is named.
const DEFAULT_FOLDER: &str = ".countersign";

/// What a person may choose.
#[derive(Debug, Clone)]
pub struct Options {
    /// The port of the endpoints; 0 for any free one.
    pub port: u16,
    /// The port of the embedded DynamoDB; 0 for any free one.
    pub dynamodb_port: u16,
    /// Where data is kept; in memory where left out.
    pub data_dir: Option<PathBuf>,
}

/// A running local issuer.
#[derive(Debug)]
pub struct DevServer {
    /// `http://127.0.0.1:PORT`: the issuer's URL, without a slash at its end.
    pub url: String,
    /// The `env` file.
    pub environment: PathBuf,
    /// The embedded store.
    pub dynamodb: EmbeddedDynamoDb,
    stop: oneshot::Sender<()>,
    served: JoinHandle<std::io::Result<()>>,
}

/// Starts everything on 127.0.0.1 and returns once it answers.
pub async fn start(options: &Options, clock: Clock, entropy: Entropy) -> Result<DevServer, DevError> {
    let folder = options.data_dir.clone().unwrap_or_else(|| DEFAULT_FOLDER.into());
    std::fs::create_dir_all(&folder).map_err(|error| DevError::DataFolder {
        path: folder.clone(),
        error: error.to_string(),
    })?;

    let port = options.port;
    let taken = |error| DevError::Port {
        port,
        flag: "--port",
        error,
    };
    let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(taken)?;
    let url = format!("http://{}", listener.local_addr().map_err(taken)?);

    let file = options
        .data_dir
        .as_ref()
        .map(|folder| folder.join("dynamodb.sqlite3"));
    let dynamodb_server = EmbeddedDynamoDb::start(options.dynamodb_port, file.as_deref()).await?;
    let environment = Environment::new(&url, &dynamodb_server.endpoint(), &folder, &entropy)?;

    let (config, wrapper) =
        Config::with_wrapper_from_lookup(|name| environment.lookup(name)).map_err(DevError::setup)?;
    let db = dynamodb(&config.store.aws).map_err(DevError::setup)?;
    create_tables(&db, &config.store.table_prefix)
        .await
        .map_err(DevError::setup)?;
    let keys = KeyTable::new(db.clone(), &config.store.table_prefix);
    ensure_first_key(&keys, &wrapper, clock.now(), &entropy)
        .await
        .map_err(DevError::setup)?;
    demo::create_records(&db, &clock, &entropy).await?;

    let issuer = Issuer::new(&config, &db, wrapper, clock.clone(), entropy);
    let publisher = Publisher::new(&config, &db, clock.clone());
    let api = api::router(demo_verifier(&url, &publisher, clock).await?);
    let app = router(issuer, publisher).merge(api);

    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(
        axum::serve(listener, app)
            .with_graceful_shutdown(async {
                // Ends too when the sender is dropped.
                let _ = stopped.await;
            })
            .into_future(),
    );
    let environment = environment.write(&folder)?;
    Ok(DevServer {
        url,
        environment,
        dynamodb: dynamodb_server,
        stop,
        served,
    })
}

impl DevServer {
    /// Finishes what is running and stops.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.served.await;
        self.dynamodb.stop().await;
    }
}

/// The demo API knows the issuer as any API would: by its published key set.
async fn demo_verifier(url: &str, publisher: &Publisher, clock: Clock) -> Result<Verifier, DevError> {
    let request = endpoints::Request::default();
    let published = endpoints::jwks(publisher, request).await.into_body();
    let keys = JwkSet::from_json(&published).map_err(DevError::setup)?;
    Ok(Verifier::builder(url)
        .audience(demo::AUDIENCE)
        .keys(keys)
        .clock(clock)
        .build())
}

fn router(issuer: Issuer, publisher: Publisher) -> Router {
    let issuer = Arc::new(issuer);
    let publisher = Arc::new(publisher);
    let token = {
        let issuer = Arc::clone(&issuer);
        any(async move |request: Request| respond(endpoints::token(&issuer, read(request).await).await))
    };
    let refresh = any(async move |request: Request| {
        respond(endpoints::refresh_function(&issuer, read(request).await).await)
    });
    let jwks = any(async move |request: Request| {
        respond(endpoints::jwks_function(&publisher, read(request).await).await)
    });
    Router::new()
        .route("/oauth/token", token)
        .route("/oauth/refresh", refresh.clone())
        .route("/oauth/revoke", refresh.clone())
        .route("/oauth/introspect", refresh)
        .route("/.well-known/jwks.json", jwks.clone())
        .route("/.well-known/oauth-authorization-server", jwks.clone())
        .route("/.well-known/openid-configuration", jwks)
        .fallback(async || respond(endpoints::not_found()))
}

/// Reads a body as far as it may be long, and one byte further, so that the endpoint sees that it is too long.
async fn read(request: Request) -> endpoints::Request {
    let (parts, body) = request.into_parts();
    let too_long = || vec![0; MAX_BODY_BYTES + 1];
    let body = to_bytes(body, MAX_BODY_BYTES)
        .await
        .map_or_else(|_| too_long(), |bytes| bytes.to_vec());
    endpoints::Request::from_parts(parts, body)
}

fn respond(response: endpoints::Response) -> axum::response::Response {
    response.map(Body::from)
}
