//! Runs the issuer as AWS Lambda functions: the event loop, the environment and the log.
//!
//! Only this crate knows Lambda and its events; the issuer knows HTTP requests.

mod guard;
mod invocation;
mod log;
mod metrics;

pub use guard::Guard;
pub use lambda_http::{Context, Error};
pub use log::Logging;

use std::process::ExitCode;
use std::time::Duration;

use countersign_issuer::audit::AuditLog;
use countersign_issuer::config::{Config, StoreConfig};
use countersign_issuer::http::{Request, Response};
use countersign_issuer::issuer::{Issuer, Publisher};
use countersign_issuer::keys::{Rotator, install_crypto_provider};
use countersign_issuer::random::Random;
use countersign_issuer::store::dynamodb;
use countersign_verify::Clock;
use lambda_http::lambda_runtime::Runtime;
use lambda_http::{LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use invocation::Invocations;

/// The process of a Lambda function: its environment, its audit log and its event loop.
#[derive(Debug)]
pub struct Process {
    clock: Clock,
    audit: AuditLog,
}

/// Starts logging to standard output, and runs `serve`. Every `main` is a call of it.
pub async fn run(serve: impl AsyncFnOnce(Process) -> Result<(), Error>) -> ExitCode {
    let clock = Clock::system();
    let audit = log::start(clock.clone());
    match serve(Process { clock, audit }).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // `TokenCrashes` in template.yaml, and its like, count these lines for an alarm.
            tracing::error!(%error, "the function stopped");
            ExitCode::FAILURE
        }
    }
}

impl Process {
    /// The issuer that the environment describes. Installs the crypto provider that it signs with.
    pub fn issuer(&self) -> Result<Issuer, Error> {
        install_crypto_provider()?;
        let (config, envelope) = Config::with_envelope_from_lookup(variable)?;
        let envelope = envelope.into_envelope(&config.store.aws);
        let db = dynamodb(&config.store.aws);
        let (clock, audit) = (self.clock.clone(), self.audit.clone());
        Ok(Issuer::new(&config, &db, envelope, clock, Random::system(), audit))
    }

    /// The publisher that the environment describes.
    pub fn publisher(&self) -> Result<Publisher, Error> {
        let config = Config::from_lookup(variable)?;
        let db = dynamodb(&config.store.aws);
        Ok(Publisher::new(&config, &db, self.clock.clone(), self.audit.clone()))
    }

    /// The rotator that the environment describes.
    pub fn rotator(&self) -> Result<Rotator, Error> {
        let (config, envelope) = StoreConfig::with_envelope_from_lookup(variable)?;
        let envelope = envelope.into_envelope(&config.aws);
        let StoreConfig { aws, table_prefix, schedule } = config;
        let (clock, audit) = (self.clock.clone(), self.audit.clone());
        Ok(Rotator::new(&dynamodb(&aws), &table_prefix, schedule, envelope, clock, Random::system(), audit))
    }

    /// The audit log. A line has the request id of the invocation in which it was written.
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }

    /// Serves `endpoint` behind API Gateway until the runtime ends the process. No invocation
    /// fails.
    pub async fn serve_http<E, F>(&self, endpoint: E) -> Result<(), Error>
    where
        E: Fn(Request) -> F + Send + Sync,
        F: Future<Output = Response> + Send,
    {
        let guard = &Guard::new(endpoint, self.clock.clone(), self.audit.clone());
        self.run(move |event: LambdaEvent<Box<RawValue>>| async move {
            Ok::<_, Error>(guard.respond(event.payload.get(), event.context).await)
        })
        .await
    }

    /// Handles every event with `handle` until the runtime ends the process. `handle` also gets the
    /// time that is left for its answer. An error fails the invocation.
    pub async fn serve<T, R, E, H, F>(&self, handle: H) -> Result<(), Error>
    where
        T: DeserializeOwned,
        R: Serialize,
        E: Into<Error>,
        H: Fn(T, Duration) -> F,
        F: Future<Output = Result<R, E>>,
    {
        let (handle, clock) = (&handle, &self.clock);
        self.run(move |event: LambdaEvent<T>| async move {
            let time_left = guard::time_left(event.context.deadline, clock.now());
            handle(event.payload, time_left).await.map_err(Into::into)
        })
        .await
    }

    async fn run<T, R, H, F>(&self, handle: H) -> Result<(), Error>
    where
        T: DeserializeOwned,
        R: Serialize,
        H: Fn(LambdaEvent<T>) -> F,
        F: Future<Output = Result<R, Error>>,
    {
        let invocations = &Invocations::new(self.clock.clone());
        let handle = &handle;
        // Not `lambda_runtime::run`: at `RUST_LOG=warn` its span, with the request id, is missing.
        Runtime::new(service_fn(move |event: LambdaEvent<T>| {
            let request_id = event.context.request_id.clone();
            // Boxed: the compiler's recursion limit is too low for the layout of the whole future.
            invocations.run(request_id, Box::pin(handle(event)))
        }))
        .run()
        .await
    }
}

/// Reads a variable of the process's environment.
pub fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "start-up is where the environment is read")]
    std::env::var(name).ok()
}
