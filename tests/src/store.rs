//! DynamoDB and KMS in memory, behind the real SDK clients and a simulated network that fails on
//! demand. No sockets, so that tokio's clock can be paused.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::{RetryConfig, RetryPartition};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use countersign_issuer::config::DEFAULT_TABLE_PREFIX;
use countersign_issuer::keys::{KeyEnvelope, KmsEnvelope};
use countersign_issuer::store::AwsConfig;
use countersign_issuer::store::{dynamodb, table_shapes};
use dynoxide::{Database, DynoxideError};
use http_body::{Body, Frame};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::kms;

/// A fault that one call meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The call does not arrive, and no response comes.
    Hang,
    /// The connection breaks before the call arrives.
    Reset,
    /// The call is executed, and the connection breaks before the response arrives.
    LostAnswer,
    /// The call is executed, and no response comes.
    SilentAnswer,
    /// The call is executed, and the body of the response comes after 0.15 seconds.
    LateBody,
    /// The call is executed, and the body of the response comes after 1.2 seconds.
    SlowBody,
    /// The call is executed, and the body of the response never ends.
    EndlessBody,
    /// 400: throttled.
    Throttled,
    /// 500: an internal error.
    InternalError,
    /// 400: another transaction locks the item; from KMS, a dependency timed out.
    TransactionConflict,
}

impl Fault {
    /// All faults.
    pub const ALL: [Self; 10] = [
        Self::Hang,
        Self::Reset,
        Self::LostAnswer,
        Self::SilentAnswer,
        Self::LateBody,
        Self::SlowBody,
        Self::EndlessBody,
        Self::Throttled,
        Self::InternalError,
        Self::TransactionConflict,
    ];

    /// Returns true if the call is executed despite the fault.
    fn is_executed(self) -> bool {
        matches!(
            self,
            Self::LostAnswer | Self::SilentAnswer | Self::LateBody | Self::SlowBody | Self::EndlessBody
        )
    }
}

/// The name of a call: an operation and a table, such as `UpdateItem attempts`, or an operation of
/// KMS. A prefix names the caller where a test distinguishes callers, such as `rotate: Query
/// signing-keys`.
pub type Call = String;
type Plan = Box<dyn FnMut(&Call) -> Option<Fault> + Send>;

/// The store, KMS and the network in front of them.
#[derive(Clone)]
pub struct FaultyStore {
    db: Database,
    plan: Arc<Mutex<Plan>>,
    calls: Arc<Mutex<Vec<Call>>>,
    keys_made: Arc<AtomicU64>,
    caller: &'static str,
}

impl FaultyStore {
    /// An empty store without faults.
    pub fn new() -> Self {
        let db = Database::memory().unwrap();
        let plan: Plan = Box::new(|_| None);
        Self {
            db,
            plan: Arc::new(Mutex::new(plan)),
            calls: Arc::default(),
            keys_made: Arc::default(),
            caller: "",
        }
    }

    /// A handle to this store and network that names its calls after `caller`.
    #[must_use]
    pub fn as_caller(&self, caller: &'static str) -> Self {
        Self { caller, ..self.clone() }
    }

    /// A handle to the same records behind a network without faults.
    #[must_use]
    pub fn without_faults(&self) -> Self {
        Self { db: self.db.clone(), keys_made: Arc::clone(&self.keys_made), ..Self::new() }
    }

    /// Asks `plan` about every call from now on.
    pub fn set_faults(&self, plan: impl FnMut(&Call) -> Option<Fault> + Send + 'static) {
        *self.plan.lock().unwrap() = Box::new(plan);
    }

    /// Lets every call meet `fault` from now on.
    pub fn fail_with(&self, fault: Fault) {
        self.set_faults(move |_| Some(fault));
    }

    /// Lets every call succeed from now on.
    pub fn heal(&self) {
        self.set_faults(|_| None);
    }

    /// Writes an item without the network and the SDK.
    pub fn put(&self, table: &str, item: &Value) {
        let request = json!({ "TableName": table, "Item": item });
        dispatch(&self.db, "PutItem", request).unwrap();
    }

    /// Reads an item without the network and the SDK.
    pub fn item(&self, table: &str, key: &Value) -> Value {
        let request = json!({ "TableName": table, "Key": key });
        let answer = dispatch(&self.db, "GetItem", request).unwrap();
        serde_json::from_str::<Value>(&answer).unwrap()["Item"].take()
    }

    /// Reads all items of a table without the network and the SDK.
    pub fn scan(&self, table: &str) -> Vec<Value> {
        let answer = dispatch(&self.db, "Scan", json!({ "TableName": table })).unwrap();
        let mut answer: Value = serde_json::from_str(&answer).unwrap();
        serde_json::from_value(answer["Items"].take()).unwrap()
    }

    /// Returns every item with its table, for [`restore`](Self::restore).
    pub fn items(&self) -> Vec<(String, Value)> {
        let of_table = |table: String| self.scan(&table).into_iter().map(move |item| (table.clone(), item));
        tables().flat_map(|(table, _)| of_table(table)).collect()
    }

    /// Replaces the content of the store with `items`.
    pub fn restore(&self, items: &[(String, Value)]) {
        for (table, keys) in tables() {
            for item in self.scan(&table) {
                let key: Value = keys.iter().map(|key| ((*key).to_owned(), item[key].clone())).collect();
                dispatch(&self.db, "DeleteItem", json!({ "TableName": table, "Key": key })).unwrap();
            }
        }
        for (table, item) in items {
            self.put(table, item);
        }
    }

    /// Returns the calls since the last time, including those that failed.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    /// A client with the timeouts and the retries of the functions, over this network. It shares
    /// its retry quota with no other, and its back-off has no jitter.
    pub fn client(&self, config: &AwsConfig) -> Client {
        let real = dynamodb(config);
        let retries: RetryConfig = real.config().retry_config().unwrap().clone();
        let builder = real.config().to_builder().http_client(self.clone());
        let partition = RetryPartition::custom("test").build();
        let retries = retries.with_use_static_exponential_base(true);
        Client::from_conf(builder.retry_config(retries).retry_partition(partition).build())
    }

    /// A key envelope over the same network, with the timeouts and the retries of the functions.
    pub fn envelope(&self, config: &AwsConfig) -> KeyEnvelope {
        let functions = self.client(config);
        let functions = functions.config();
        let kms = aws_sdk_kms::Config::builder()
            .behavior_version(aws_sdk_kms::config::BehaviorVersion::latest())
            .region(aws_sdk_kms::config::Region::new(config.region.clone()))
            .credentials_provider(aws_sdk_kms::config::Credentials::new("test", "test", None, None, "test"))
            .timeout_config(functions.timeout_config().unwrap().clone())
            .retry_config(functions.retry_config().unwrap().clone())
            .retry_partition(RetryPartition::custom("test, KMS").build())
            .http_client(self.clone())
            .build();
        KeyEnvelope::Kms(KmsEnvelope::new(aws_sdk_kms::Client::from_conf(kms), "test".into()))
    }

    async fn answer(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let (service, operation) = target.rsplit_once('.').unwrap();
        let is_kms = service == "TrentService";
        let operation = operation.to_owned();
        let body: Value = serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap();
        let call = match body["TableName"].as_str() {
            Some(table) => format!("{operation} {}", table.trim_start_matches("countersign-")),
            None => operation.clone(),
        };
        let call = if self.caller.is_empty() { call } else { format!("{}: {call}", self.caller) };
        let fault = (self.plan.lock().unwrap())(&call);
        self.calls.lock().unwrap().push(call);
        let is_executed = fault.is_none_or(Fault::is_executed);
        let (status, text) = match is_executed {
            true if is_kms => kms::answer(&operation, &body, &self.keys_made)
                .map_or_else(|code| (400, exception(code)), |text| (200, text)),
            true => dispatch(&self.db, &operation, body)
                .map_or_else(|error| (error.status_code(), error.to_json()), |text| (200, text)),
            false => (200, String::new()),
        };
        let broken = || ConnectorError::io("connection reset by the test".into());
        match fault {
            None => Ok(response(status, text.into())),
            Some(Fault::LateBody) => Ok(response(status, late(text, Duration::from_millis(150)))),
            Some(Fault::SlowBody) => Ok(response(status, late(text, Duration::from_millis(1200)))),
            Some(Fault::EndlessBody) => Ok(response(status, late(text, Duration::from_secs(1 << 20)))),
            Some(Fault::Reset | Fault::LostAnswer) => Err(broken()),
            Some(Fault::Hang | Fault::SilentAnswer) => {
                std::future::pending::<()>().await;
                Err(broken())
            }
            Some(Fault::Throttled) => Ok(refusal(400, "ThrottlingException")),
            Some(Fault::InternalError) => Ok(refusal(500, "InternalServerError")),
            Some(Fault::TransactionConflict) if is_kms => Ok(refusal(400, "DependencyTimeoutException")),
            Some(Fault::TransactionConflict) => Ok(refusal(400, "TransactionConflictException")),
        }
    }
}

impl Default for FaultyStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

impl HttpClient for FaultyStore {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for FaultyStore {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().answer(request))
    }
}

/// The name of every table and the attributes of its key.
fn tables() -> impl Iterator<Item = (String, Vec<&'static str>)> {
    table_shapes().iter().map(|shape| (format!("{DEFAULT_TABLE_PREFIX}{}", shape.name), shape.keys()))
}

/// Executes a request like the embedded store's HTTP server, for the operations that the issuer
/// uses.
fn dispatch(db: &Database, operation: &str, body: Value) -> Result<String, DynoxideError> {
    fn run<Q: DeserializeOwned, A: Serialize>(
        body: Value,
        operation: impl FnOnce(Q) -> Result<A, DynoxideError>,
    ) -> Result<String, DynoxideError> {
        let answer = operation(serde_json::from_value(body).unwrap())?;
        Ok(serde_json::to_string(&answer).unwrap())
    }
    match operation {
        "CreateTable" => run(body, |request| db.create_table(request)),
        "DescribeTable" => run(body, |request| db.describe_table(request)),
        "UpdateTimeToLive" => run(body, |request| db.update_time_to_live(request)),
        "GetItem" => run(body, |request| db.get_item(request)),
        "PutItem" => run(body, |request| db.put_item(request)),
        "UpdateItem" => run(body, |request| db.update_item(request)),
        "DeleteItem" => run(body, |request| db.delete_item(request)),
        "Query" => run(body, |request| db.query(request)),
        "Scan" => run(body, |request| db.scan(request)),
        other => Err(DynoxideError::ValidationException(format!("{other} is not used by the issuer"))),
    }
}

fn refusal(status: u16, code: &str) -> HttpResponse {
    response(status, exception(code).into())
}

fn exception(code: &str) -> String {
    format!(r#"{{"__type":"com.amazonaws#{code}","message":"injected"}}"#)
}

fn response(status: u16, body: SdkBody) -> HttpResponse {
    let mut response = HttpResponse::new(status.try_into().unwrap(), body);
    response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
    response
}

/// A body that arrives late.
struct Late {
    wait: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    text: Option<String>,
}

fn late(text: String, after: Duration) -> SdkBody {
    SdkBody::from_body_1_x(Late { wait: Box::pin(tokio::time::sleep(after)), text: Some(text) })
}

impl Body for Late {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.text.take() {
            None => Poll::Ready(None),
            Some(text) if self.wait.as_mut().poll(context).is_ready() => {
                Poll::Ready(Some(Ok(Frame::data(text.into()))))
            }
            text => {
                self.text = text;
                Poll::Pending
            }
        }
    }
}
