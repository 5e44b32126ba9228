//! The connections to DynamoDB: which are reused and which are closed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::operation::get_item::builders::GetItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use countersign_issuer::config::StoreConfig;
use countersign_issuer::store::dynamodb;
use countersign_tests::canaries;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const NO_ITEM: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: 2\r\n\r\n{}";
const BROKEN: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\n{}";

/// The server's reaction to a request.
#[derive(Clone, Copy)]
enum Reaction {
    Respond(&'static str),
    /// Closes the connection without a response.
    Close,
    /// Responds and closes the connection.
    RespondAndClose(&'static str),
    /// Never responds.
    Ignore,
}

/// Starts a server that reacts with `reactions` in turn. Also returns the number of the connection
/// on which each request came.
async fn server(reactions: Vec<Reaction>) -> (String, Arc<Mutex<Vec<usize>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let reactions = Arc::new(Mutex::new(reactions.into_iter()));
    let seen: Arc<Mutex<Vec<usize>>> = Arc::default();
    let requests = Arc::clone(&seen);
    tokio::spawn(async move {
        for connection in 1.. {
            let (stream, _) = listener.accept().await.unwrap();
            let (reactions, requests) = (Arc::clone(&reactions), Arc::clone(&requests));
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                while read_request(&mut stream).await.is_some() {
                    requests.lock().unwrap().push(connection);
                    let reaction = reactions.lock().unwrap().next().unwrap();
                    if let Reaction::Respond(text) | Reaction::RespondAndClose(text) = reaction {
                        stream.write_all(text.as_bytes()).await.unwrap();
                    }
                    if matches!(reaction, Reaction::Close | Reaction::RespondAndClose(_)) {
                        return;
                    }
                }
            });
        }
    });
    (endpoint, seen)
}

/// Reads one request with its body; `None` where the connection ends.
async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<()> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    stream.read_exact(&mut vec![0; length]).await.ok()?;
    Some(())
}

fn client(endpoint: &str) -> Client {
    canaries::watch();
    let config = StoreConfig::from_lookup(|name| match name {
        "AWS_REGION" => Some("eu-central-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test".to_owned()),
        "AWS_ENDPOINT_URL_DYNAMODB" => Some(endpoint.to_owned()),
        _ => None,
    });
    dynamodb(&config.unwrap().aws)
}

fn question(db: &Client) -> GetItemFluentBuilder {
    db.get_item().table_name("clients").key("client_id", AttributeValue::S("a".to_owned()))
}

/// Reads `times` times in a row with one client. All reads succeed.
async fn read(endpoint: &str, times: usize) {
    let db = client(endpoint);
    for _ in 0..times {
        assert!(question(&db).send().await.unwrap().item.is_none());
    }
}

#[tokio::test]
async fn a_connection_is_reused_for_the_next_request() {
    let (endpoint, seen) = server(vec![Reaction::Respond(NO_ITEM); 3]).await;
    read(&endpoint, 3).await;
    assert_eq!(*seen.lock().unwrap(), [1, 1, 1]);
}

#[tokio::test]
async fn after_an_internal_error_the_next_request_uses_another_connection() {
    let (endpoint, seen) =
        server(vec![Reaction::Respond(NO_ITEM), Reaction::Respond(BROKEN), Reaction::Respond(NO_ITEM)]).await;
    read(&endpoint, 2).await;
    assert_eq!(*seen.lock().unwrap(), [1, 1, 2]);
}

#[tokio::test]
async fn a_closed_connection_fails_no_request() {
    let reactions = vec![Reaction::RespondAndClose(NO_ITEM), Reaction::Close, Reaction::Respond(NO_ITEM)];
    let (endpoint, seen) = server(reactions).await;
    read(&endpoint, 2).await;
    assert_eq!(*seen.lock().unwrap(), [1, 2, 3]);
}

#[tokio::test]
async fn a_request_waits_no_longer_than_the_read_timeout() {
    let (endpoint, seen) = server(vec![Reaction::Ignore]).await;
    // The read timeout and no other.
    let timeouts = TimeoutConfig::builder()
        .disable_operation_timeout()
        .disable_operation_attempt_timeout()
        .read_timeout(Duration::from_millis(50))
        .build();
    let settings = client(&endpoint).config().to_builder();
    let settings = settings.timeout_config(timeouts).retry_config(RetryConfig::disabled());
    let asked = question(&Client::from_conf(settings.build())).send();
    let refused = tokio::time::timeout(Duration::from_secs(30), asked).await.unwrap().unwrap_err();
    assert!(refused.as_service_error().is_none(), "{refused:?}");
    assert_eq!(*seen.lock().unwrap(), [1]);
}
