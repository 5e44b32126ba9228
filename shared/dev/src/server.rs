//! The local server: the endpoints and the demo API over the embedded store.

use std::fs::{File, Permissions, TryLockError};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
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
use countersign_issuer::context::SourceAddress;
use countersign_issuer::http::{self, BodyTooLarge, MAX_BODY_BYTES};
use countersign_issuer::issuer::{Issuer, Publisher};
use countersign_issuer::keys::Rotator;
use countersign_issuer::random::Random;
use countersign_issuer::store::dynamodb;
use countersign_issuer::tokens::IssuerUrl;
use countersign_verify::Clock;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::environment::Environment;
use super::listening::{self, listen};
use super::{DevError, EmbeddedDynamoDb, api, create_tables, demo, seed};

/// The folder of the files where no data folder is given.
const DEFAULT_FOLDER: &str = ".countersign";

/// The time limit for the head of a request, and again for its body. On AWS, API Gateway enforces
/// one.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// The options of `countersign dev`.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The port of the endpoints; 0 for any free one.
    pub port: u16,
    /// The address that the endpoints listen on, beside 127.0.0.1.
    pub listen: Option<IpAddr>,
    /// The issuer's URL; `None` for that of the port on 127.0.0.1.
    pub issuer: Option<IssuerUrl>,
    /// The port of the embedded DynamoDB; 0 for any free one.
    pub dynamodb_port: u16,
    /// The address that the embedded DynamoDB listens on, beside 127.0.0.1.
    pub dynamodb_listen: Option<IpAddr>,
    /// The folder for the data; `None` keeps it in memory.
    pub data_dir: Option<PathBuf>,
    /// The time for which a key signs. Every other timer is shortened in proportion; `None` keeps
    /// the timers of the environment.
    pub rotate_every: Option<Duration>,
    /// A text that signing keys are derived from; `None` makes random ones.
    pub key_seed: Option<String>,
}

/// The time, the randomness, the log and the process's environment, which are passed in.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The clock of the issuer and of the demo API.
    pub clock: Clock,
    /// The source of keys, salts and ids.
    pub random: Random,
    /// Receives the audit records.
    pub audit: AuditLog,
    /// Returns a variable's value by its name.
    pub variable: fn(&str) -> Option<String>,
}

/// A running local issuer.
#[derive(Debug)]
pub struct DevServer {
    /// `http://127.0.0.1:PORT`: where this machine reaches the endpoints, without a slash at its end.
    pub url: String,
    /// The issuer's URL, which is `iss` of the tokens.
    pub issuer: IssuerUrl,
    /// The `env` file.
    pub environment: PathBuf,
    /// The file for `sam local --env-vars`.
    pub sam_local: PathBuf,
    /// The embedded store.
    pub dynamodb: EmbeddedDynamoDb,
    stop: watch::Sender<()>,
    served: JoinSet<()>,
    rotating: JoinHandle<()>,
    /// Locked while the server runs.
    lock: File,
}

/// Starts everything and returns once it answers.
pub async fn start(options: &Options, surroundings: Surroundings) -> Result<DevServer, DevError> {
    start_on(None, options, surroundings).await
}

/// Starts everything like [`start`], but with the endpoints on a socket that already listens. A
/// caller that keeps a clone of the socket can start again on the same port: no other process can
/// take the port in between.
pub async fn start_on(
    listener: impl Into<Option<std::net::TcpListener>>,
    options: &Options,
    surroundings: Surroundings,
) -> Result<DevServer, DevError> {
    let Surroundings { clock, random, audit, variable } = surroundings;
    let folder = options.data_dir.clone().unwrap_or_else(|| DEFAULT_FOLDER.into());
    std::fs::create_dir_all(&folder)
        .map_err(|error| DevError::DataFolder { path: folder.clone(), error: error.to_string() })?;

    let lock = lock(&folder)?;

    let listeners = match listener.into() {
        Some(listener) => vec![listen_on(listener).map_err(DevError::setup)?],
        None => listen(options.port, options.listen, listening::ENDPOINTS).await?,
    };
    let store_listeners = listen(options.dynamodb_port, options.dynamodb_listen, listening::STORE).await?;
    warn_beyond_loopback(options);
    let url = listening::url(&listeners).map_err(DevError::setup)?;
    let issuer = options.issuer.as_ref().map_or(url.as_str(), IssuerUrl::as_str);
    let store = listening::url(&store_listeners).map_err(DevError::setup)?;
    let mut environment = Environment::new(issuer, &store, options.rotate_every, &folder, &random)?;
    let (config, envelope) = environment.read_config(variable)?;

    // The file is the only place that stores the local key. Write it before a key is encrypted
    // under that one.
    let files = environment.write(&folder)?;
    let file = options.data_dir.as_ref().map(|folder| folder.join("dynamodb.sqlite3"));
    if let Some(path) = &file {
        make_private(path)
            .map_err(|error| DevError::DataFolder { path: path.clone(), error: error.to_string() })?;
    }
    let dynamodb_server = EmbeddedDynamoDb::serve(store_listeners, file.as_deref())?;
    let envelope = envelope.into_envelope(&config.store.aws);
    let db = dynamodb(&config.store.aws);
    let prefix = &config.store.table_prefix;
    create_tables(&db, prefix).await?;
    let rotator = Rotator::new(
        &db,
        prefix,
        config.store.schedule,
        envelope.clone(),
        clock.clone(),
        options.key_seed.as_deref().map_or_else(|| random.clone(), seed::random_from),
        audit.clone(),
    );
    rotator.rotate().await.map_err(DevError::setup)?;
    let ring = rotator.ring().await.map_err(DevError::setup)?;
    let longest = ring.signing(clock.now()).map(|lifecycle| lifecycle.key.max_lifetimes);
    if longest.is_some_and(|longest| longest != config.store.schedule.settings().max_lifetimes) {
        let error = "its keys were made for other lifetimes of tokens (--rotate-every, COUNTERSIGN_MAX_ACCESS_TTL, \
                     COUNTERSIGN_MAX_REFRESH_TTL); choose another folder";
        return Err(DevError::DataFolder { path: folder, error: error.to_owned() });
    }
    demo::create_records(&db, prefix, &clock, &random).await?;

    let issuer = Issuer::new(&config, &db, envelope, clock.clone(), random, audit.clone());
    issuer.ready().await.map_err(|error| DevError::DataFolder {
        path: folder.clone(),
        error: format!("{error} (the signing keys are encrypted under the key in its file env; if that file is lost, delete the folder)"),
    })?;
    let publisher = Publisher::new(&config, &db, clock.clone(), audit);
    let app = router(issuer, publisher, TIMEOUT).merge(api::router(config.issuer.as_str(), &url, clock)?);
    let period = config.store.schedule.settings().rotation_period;
    let rotating = tokio::spawn(rotate_on_schedule(rotator, period));

    let (stop, stopped) = watch::channel(());
    let mut served = JoinSet::new();
    for listener in listeners {
        let (app, mut stopped) = (app.clone(), stopped.clone());
        served.spawn(serve(listener, app, TIMEOUT, async move {
            // Dropping the sender stops the server too.
            let _ = stopped.changed().await;
        }));
    }
    Ok(DevServer {
        url,
        issuer: config.issuer,
        environment: files.environment,
        sam_local: files.sam_local,
        dynamodb: dynamodb_server,
        stop,
        served,
        rotating,
        lock,
    })
}

/// Logs a warning for each address that other machines may reach.
fn warn_beyond_loopback(options: &Options) {
    let beyond = |address: Option<IpAddr>| address.filter(|address| !address.is_loopback());
    if let Some(address) = beyond(options.listen) {
        tracing::warn!("the endpoints also listen on {address}, and the secrets of the demo are public");
    }
    if let Some(address) = beyond(options.dynamodb_listen) {
        tracing::warn!("the store also listens on {address}, and it checks no credentials");
    }
}

fn listen_on(listener: std::net::TcpListener) -> std::io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

impl DevServer {
    /// Answers the requests in progress and stops.
    pub async fn stop(self) {
        self.rotating.abort();
        let _ = self.stop.send(());
        self.served.join_all().await;
        self.dynamodb.stop().await;
        // Closing the file is not enough: a process that is just being spawned holds a copy of it,
        // and that copy would keep the lock.
        let _ = self.lock.unlock();
    }
}

/// Makes the store's file readable by this user only, as the local key beside it is. SQLite gives the files that it
/// puts beside a database the mode of the database; those of an earlier run may have another.
fn make_private(database: &Path) -> std::io::Result<()> {
    File::options().append(true).create(true).mode(0o600).open(database)?;
    for suffix in ["", "-wal", "-shm"] {
        let mut path = database.as_os_str().to_owned();
        path.push(suffix);
        match std::fs::set_permissions(&path, Permissions::from_mode(0o600)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Locks the folder, because a second local issuer would overwrite its files.
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

/// Runs the rotation ten times in a period; on AWS a schedule runs it every hour. A failed run is
/// followed by another.
async fn rotate_on_schedule(rotator: Rotator, period: Duration) {
    let mut ticks = tokio::time::interval(period / 10);
    // The first tick comes at once, and `start` has just rotated.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        if let Err(error) = rotator.rotate().await {
            tracing::error!(%error, "rotation failed");
        }
    }
}

/// Serves `app` until `stopped`, then answers the requests in progress. A request whose head is
/// incomplete after `timeout` loses its connection.
pub async fn serve(listener: TcpListener, app: Router, timeout: Duration, stopped: impl Future<Output = ()>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(timeout);
    let running = GracefulShutdown::new();
    let mut stopped = pin!(stopped);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopped => break,
        };
        let Ok((stream, peer)) = accepted else {
            // Most likely too many files are open. A connection that ends will free one.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let service = TowerToHyperService::new(app.clone().layer(Extension(ConnectInfo(peer))));
        let connection = running.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // The client has gone, so there is no one to report an error to.
            let _ = connection.await;
        });
    }
    drop(listener);
    running.shutdown().await;
}

/// Builds the routes of the endpoints. A body that is incomplete after `timeout` is answered 408.
pub fn router(issuer: Issuer, publisher: Publisher, timeout: Duration) -> Router {
    let (issuer, publisher) = (Arc::new(issuer), Arc::new(publisher));
    let token = {
        let issuer = Arc::clone(&issuer);
        any(async move |request| -> RouteResult {
            Ok(respond(http::token(&issuer, read(request, timeout).await?).await))
        })
    };
    let refresh = any(async move |request| -> RouteResult {
        Ok(respond(http::refresh_function(&issuer, read(request, timeout).await?).await))
    });
    let jwks = any(async move |request| -> RouteResult {
        Ok(respond(http::jwks_function(&publisher, read(request, timeout).await?).await))
    });
    let mut router = Router::new();
    for (path, function) in http::ROUTES {
        let handler = match function {
            http::Function::Token => &token,
            http::Function::Refresh => &refresh,
            http::Function::Jwks => &jwks,
        };
        router = router.route(path, handler.clone());
    }
    router.fallback(async || respond(http::not_found()))
}

type RouteResult = Result<axum::response::Response, TooSlow>;

/// Reads a body up to its maximum length. A longer one becomes a body of one byte too many, so that
/// the endpoint sees that it is too long.
async fn read(request: Request, timeout: Duration) -> Result<http::Request, TooSlow> {
    let (parts, body) = request.into_parts();
    let read = tokio::time::timeout(timeout, to_bytes(body, MAX_BODY_BYTES)).await.map_err(|_| TooSlow)?;
    let mut request = http::Request::from_parts(parts, Vec::new());
    match read {
        Ok(body) => *request.body_mut() = body.to_vec(),
        Err(_) => _ = request.extensions_mut().insert(BodyTooLarge),
    }
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        let address = SourceAddress(peer.ip());
        request.extensions_mut().insert(address);
    }
    Ok(request)
}

/// A body that did not arrive in time (RFC 9110 section 15.5.9). Closes the connection: the rest of
/// the body must not be read as the next request.
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

    /// Sends `sent` and nothing more, and returns all that comes back.
    async fn answer_to(sent: &str) -> String {
        let timeout = Duration::from_millis(50);
        let read = async move |request| match read(request, timeout).await {
            Ok(request) => String::from_utf8(request.into_body()).unwrap().into_response(),
            Err(too_slow) => too_slow.into_response(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(read);
        let server = tokio::spawn(serve(listener, app, timeout, std::future::pending()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // Reads until the server closes the connection. A server that never does so hangs the test.
        stream.read_to_string(&mut answer).await.unwrap();
        server.abort();
        answer
    }

    #[tokio::test]
    async fn an_incomplete_head_or_body_closes_the_connection() {
        let begun = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n";
        assert_eq!(answer_to("").await, "");
        assert_eq!(answer_to(begun).await, "");
        let slow = answer_to(&format!("{begun}\r\nbo")).await;
        assert!(slow.starts_with("HTTP/1.1 408 ") && slow.contains("connection: close"), "{slow}");
        let whole = answer_to(&format!("{begun}\r\nbody")).await;
        assert!(whole.starts_with("HTTP/1.1 200 ") && whole.ends_with("body"), "{whole}");
    }
}
