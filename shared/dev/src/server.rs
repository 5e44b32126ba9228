//! The local server: the endpoints, the demo API, and the store below them.

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::http::header::CONNECTION;
use axum::response::IntoResponse;
use axum::routing::any;
use axum::{Extension, Router};
use countersign_issuer::audit::AuditLog;
use countersign_issuer::config::Config;
use countersign_issuer::context::SourceAddress;
use countersign_issuer::http::{self, MAX_BODY_BYTES};
use countersign_issuer::issuer::{Issuer, Publisher};
use countersign_issuer::keys::Rotator;
use countersign_issuer::random::Random;
use countersign_issuer::store::dynamodb;
use countersign_verify::Clock;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::api;
use super::environment::Environment;
use super::{DevError, EmbeddedDynamoDb, create_tables, demo};

/// Where `env` is written unless a data folder is named.
const DEFAULT_FOLDER: &str = ".countersign";

/// How long a caller may take over a request's head, and again over its body. On AWS API Gateway sees to that.
pub const TIMEOUT: Duration = Duration::from_secs(30);

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
    served: JoinHandle<()>,
    rotating: JoinHandle<()>,
    /// Held while this runs.
    lock: File,
}

/// Starts everything on 127.0.0.1 and returns once it answers.
pub async fn start(options: &Options, clock: Clock, random: Random) -> Result<DevServer, DevError> {
    start_on(None, options, clock, random).await
}

/// Starts everything like [`start`], with the endpoints on a socket that listens already. A caller who keeps a clone of it
/// can start again on the same port, which no other process can take in between.
pub async fn start_on(
    listener: impl Into<Option<std::net::TcpListener>>,
    options: &Options,
    clock: Clock,
    random: Random,
) -> Result<DevServer, DevError> {
    let folder = options.data_dir.clone().unwrap_or_else(|| DEFAULT_FOLDER.into());
    std::fs::create_dir_all(&folder)
        .map_err(|error| DevError::DataFolder { path: folder.clone(), error: error.to_string() })?;

    let lock = lock(&folder)?;

    let port = options.port;
    let taken = |error| DevError::Port { port, flag: "--port", error };
    let listener = match listener.into() {
        Some(listener) => listen_on(listener).map_err(taken)?,
        None => TcpListener::bind(("127.0.0.1", port)).await.map_err(taken)?,
    };
    let url = format!("http://{}", listener.local_addr().map_err(taken)?);

    let file = options.data_dir.as_ref().map(|folder| folder.join("dynamodb.sqlite3"));
    let dynamodb_server = EmbeddedDynamoDb::start(options.dynamodb_port, file.as_deref()).await?;
    let environment =
        Environment::new(&url, &dynamodb_server.endpoint(), options.rotate_every, &folder, &random)?;

    // The one place where the wrapping key is kept: written before anything is wrapped with it.
    let environment_file = environment.write(&folder)?;
    let lookup = |name: &str| environment.lookup(name);
    let (config, envelope) = Config::with_envelope_from_lookup(lookup).map_err(DevError::setup)?;
    let envelope = envelope.into_envelope(&config.store.aws);
    let db = dynamodb(&config.store.aws);
    create_tables(&db, &config.store.table_prefix).await?;
    let rotator = Rotator::new(
        &db,
        &config.store.table_prefix,
        config.store.schedule,
        envelope.clone(),
        clock.clone(),
        random.clone(),
        AuditLog::tracing(),
    );
    rotator.rotate().await.map_err(DevError::setup)?;
    let ring = rotator.ring().await.map_err(DevError::setup)?;
    let longest = ring.signing(clock.now()).map(|lifecycle| lifecycle.key.max_lifetimes);
    if longest.is_some_and(|longest| longest != config.store.schedule.settings().max_lifetimes) {
        let error = "its keys were made with another --rotate-every; choose another folder".to_owned();
        return Err(DevError::DataFolder { path: folder, error });
    }
    demo::create_records(&db, &clock, &random).await?;

    let issuer = Issuer::new(&config, &db, envelope, clock.clone(), random, AuditLog::tracing());
    issuer.ready().await.map_err(|error| DevError::DataFolder {
        path: folder.clone(),
        error: format!("{error} (its file env is the only home of the key that wraps signing keys; if that is lost, delete the folder)"),
    })?;
    let publisher = Publisher::new(&config, &db, clock.clone(), AuditLog::tracing());
    let app = router(issuer, publisher, TIMEOUT).merge(api::router(&url, clock)?);
    let period = config.store.schedule.settings().rotation_period;
    let rotating = tokio::spawn(rotate_on_schedule(rotator, period));

    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(serve(listener, app, TIMEOUT, async {
        // Ends too when the sender is dropped.
        let _ = stopped.await;
    }));
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

fn listen_on(listener: std::net::TcpListener) -> std::io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
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

/// Serves `app` until `stopped`, and finishes what is running by then. A head that is not complete after `patience` ends
/// its connection.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    patience: Duration,
    stopped: impl Future<Output = ()>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience);
    let running = GracefulShutdown::new();
    let mut stopped = pin!(stopped);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopped => break,
        };
        let Ok((stream, peer)) = accepted else {
            // Most likely too many files are open, until some connection ends.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let service = TowerToHyperService::new(app.clone().layer(Extension(ConnectInfo(peer))));
        let connection = running.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // Whoever went away is told nothing.
            let _ = connection.await;
        });
    }
    drop(listener);
    running.shutdown().await;
}

/// The endpoints. A body that is not complete after `patience` is answered 408.
pub fn router(issuer: Issuer, publisher: Publisher, patience: Duration) -> Router {
    let (issuer, publisher) = (Arc::new(issuer), Arc::new(publisher));
    let token = {
        let issuer = Arc::clone(&issuer);
        any(async move |request| -> Answered {
            Ok(respond(http::token(&issuer, read(request, patience).await?).await))
        })
    };
    let refresh = any(async move |request| -> Answered {
        Ok(respond(http::refresh_function(&issuer, read(request, patience).await?).await))
    });
    let jwks = any(async move |request| -> Answered {
        Ok(respond(http::jwks_function(&publisher, read(request, patience).await?).await))
    });
    Router::new()
        .route("/oauth/token", token)
        .route("/oauth/refresh", refresh.clone())
        .route("/oauth/revoke", refresh.clone())
        .route("/oauth/introspect", refresh)
        .route("/.well-known/jwks.json", jwks.clone())
        .route("/.well-known/oauth-authorization-server", jwks.clone())
        .route("/.well-known/openid-configuration", jwks)
        .fallback(async || respond(http::not_found()))
}

type Answered = Result<axum::response::Response, TooSlow>;

/// Reads a body as far as it may be long, and one byte further, so that the endpoint sees that it is too long.
async fn read(request: Request, patience: Duration) -> Result<http::Request, TooSlow> {
    let (parts, body) = request.into_parts();
    let too_long = || vec![0; MAX_BODY_BYTES + 1];
    let read = tokio::time::timeout(patience, to_bytes(body, MAX_BODY_BYTES)).await.map_err(|_| TooSlow)?;
    let body = read.map_or_else(|_| too_long(), |bytes| bytes.to_vec());
    let mut request = http::Request::from_parts(parts, body);
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        let address = SourceAddress(peer.ip());
        request.extensions_mut().insert(address);
    }
    Ok(request)
}

/// A body that did not come in time (RFC 9110 section 15.5.9). What may still come of it is no request.
struct TooSlow;

impl IntoResponse for TooSlow {
    fn into_response(self) -> axum::response::Response {
        (StatusCode::REQUEST_TIMEOUT, [(CONNECTION, "close")]).into_response()
    }
}

fn respond(response: http::Response) -> axum::response::Response {
    response.map(Body::from)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    /// What comes back for `sent`, after which nothing more is sent.
    async fn answer_to(sent: &str) -> String {
        let patience = Duration::from_millis(50);
        let read = async move |request| match read(request, patience).await {
            Ok(request) => String::from_utf8(request.into_body()).unwrap().into_response(),
            Err(too_slow) => too_slow.into_response(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(read);
        let server = tokio::spawn(serve(listener, app, patience, std::future::pending()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // Ends with the connection; a server that waits for ever lets the test wait for ever.
        stream.read_to_string(&mut answer).await.unwrap();
        server.abort();
        answer
    }

    #[tokio::test]
    async fn a_head_or_a_body_that_does_not_come_ends_the_connection() {
        let begun = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n";
        assert_eq!(answer_to("").await, "");
        assert_eq!(answer_to(begun).await, "");
        let slow = answer_to(&format!("{begun}\r\nbo")).await;
        assert!(slow.starts_with("HTTP/1.1 408 ") && slow.contains("connection: close"), "{slow}");
        let whole = answer_to(&format!("{begun}\r\nbody")).await;
        assert!(whole.starts_with("HTTP/1.1 200 ") && whole.ends_with("body"), "{whole}");
    }
}
