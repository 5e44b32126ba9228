//! The local server: the endpoints, the demo API, and the store below them.

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request};
use axum::routing::any;
use countersign_issuer::endpoints::{self, MAX_BODY_BYTES};
use countersign_issuer::keys::Rotator;
use countersign_issuer::{Config, Entropy, Issuer, Publisher, SourceAddress, create_tables, dynamodb};
use countersign_verify::Clock;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::api;
use super::environment::Environment;
use super::{DevError, EmbeddedDynamoDb, demo};

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
    /// How long a key signs, with every other timer shrunk alike; the real timers where left out.
    pub rotate_every: Option<Duration>,
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
    rotating: JoinHandle<()>,
    /// Held while this runs.
    lock: File,
}

/// Starts everything on 127.0.0.1 and returns once it answers.
pub async fn start(options: &Options, clock: Clock, entropy: Entropy) -> Result<DevServer, DevError> {
    let folder = options.data_dir.clone().unwrap_or_else(|| DEFAULT_FOLDER.into());
    std::fs::create_dir_all(&folder)
        .map_err(|error| DevError::DataFolder { path: folder.clone(), error: error.to_string() })?;

    let lock = lock(&folder)?;

    let port = options.port;
    let taken = |error| DevError::Port { port, flag: "--port", error };
    let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(taken)?;
    let url = format!("http://{}", listener.local_addr().map_err(taken)?);

    let file = options.data_dir.as_ref().map(|folder| folder.join("dynamodb.sqlite3"));
    let dynamodb_server = EmbeddedDynamoDb::start(options.dynamodb_port, file.as_deref()).await?;
    let environment =
        Environment::new(&url, &dynamodb_server.endpoint(), options.rotate_every, &folder, &entropy)?;

    // The one place where the wrapping key is kept: written before anything is wrapped with it.
    let environment_file = environment.write(&folder)?;
    let lookup = |name: &str| environment.lookup(name);
    let (config, wrapping) = Config::with_wrapping_from_lookup(lookup).map_err(DevError::setup)?;
    let wrapping = wrapping.into_wrapping(&config.store.aws);
    let db = dynamodb(&config.store.aws);
    create_tables(&db, &config.store.table_prefix).await.map_err(DevError::setup)?;
    let rotator = Rotator::new(&config.store, &db, wrapping.clone(), clock.clone(), entropy.clone());
    rotator.rotate().await.map_err(DevError::setup)?;
    let ring = rotator.ring().await.map_err(DevError::setup)?;
    let longest = ring.signing(clock.now()).map(|tenure| tenure.key.longest);
    if longest.is_some_and(|longest| longest != config.store.timers.settings().longest) {
        let error = "its keys were made with another --rotate-every; choose another folder".to_owned();
        return Err(DevError::DataFolder { path: folder, error });
    }
    demo::create_records(&db, &clock, &entropy).await?;

    let issuer = Issuer::new(&config, &db, wrapping, clock.clone(), entropy);
    issuer.ready().await.map_err(|error| DevError::DataFolder {
        path: folder.clone(),
        error: format!("{error} (its file env is the only home of the key that wraps signing keys; if that is lost, delete the folder)"),
    })?;
    let publisher = Publisher::new(&config, &db, clock.clone());
    let app = router(issuer, publisher).merge(api::router(&url, clock)?);
    let period = config.store.timers.settings().rotation_period;
    let rotating = tokio::spawn(rotate_on_schedule(rotator, period));

    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(
        axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
            .with_graceful_shutdown(async {
                // Ends too when the sender is dropped.
                let _ = stopped.await;
            })
            .into_future(),
    );
    Ok(DevServer {
        url,
        environment: environment_file,
        dynamodb: dynamodb_server,
        stop,
        served,
        rotating,
        lock,
    })
}

impl DevServer {
    /// Finishes what is running and stops.
    pub async fn stop(self) {
        self.rotating.abort();
        let _ = self.stop.send(());
        let _ = self.served.await;
        self.dynamodb.stop().await;
        // Closing the file would leave it locked for as long as a process that is just being started has a copy of it.
        let _ = self.lock.unlock();
    }
}

/// Keeps a second local issuer out of the folder, whose `env` it would overwrite.
fn lock(folder: &Path) -> Result<File, DevError> {
    let path = folder.join("lock");
    let in_use = |error: String| DevError::DataFolder { path: path.clone(), error };
    let file = File::create(&path).map_err(|error| in_use(error.to_string()))?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            in_use("another `countersign dev` uses this folder; choose one with --data-dir".into())
        }
        TryLockError::Error(error) => in_use(error.to_string()),
    })?;
    Ok(file)
}

/// Runs rotation ten times in a period, as a schedule on AWS does every hour. A run that fails is followed by another.
async fn rotate_on_schedule(rotator: Rotator, period: Duration) {
    let mut ticks = tokio::time::interval(period / 10);
    // The first one is at once, and the start has just rotated.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        if let Err(error) = rotator.rotate().await {
            tracing::error!(%error, "rotation failed");
        }
    }
}

fn router(issuer: Issuer, publisher: Publisher) -> Router {
    let (issuer, publisher) = (Arc::new(issuer), Arc::new(publisher));
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
    let body = to_bytes(body, MAX_BODY_BYTES).await.map_or_else(|_| too_long(), |bytes| bytes.to_vec());
    let mut request = endpoints::Request::from_parts(parts, body);
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        let address = SourceAddress(peer.ip());
        request.extensions_mut().insert(address);
    }
    request
}

fn respond(response: endpoints::Response) -> axum::response::Response {
    response.map(Body::from)
}
