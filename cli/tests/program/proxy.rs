//! A proxy before the store that loses requests, or the answers to them.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The fate of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// It does not reach the store.
    Lost,
    /// The store executes it, and the connection breaks before the answer arrives.
    AnswerLost,
}

/// Starts a proxy before `endpoint` and returns its URL. `fate` decides by the operation and the
/// table, as in `PutItem countersign-clients`.
pub(crate) async fn start(endpoint: &str, fate: impl Fn(&str) -> Fate + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (endpoint, fate) = (endpoint.to_owned(), Arc::new(fate));
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let (endpoint, fate) = (endpoint.clone(), Arc::clone(&fate));
            tokio::spawn(async move { serve(connection, &endpoint, &*fate).await });
        }
    });
    url
}

/// Serves the requests of a connection, until the program closes it or an answer is lost.
async fn serve(connection: TcpStream, endpoint: &str, fate: &(dyn Fn(&str) -> Fate + Send + Sync)) {
    let http = reqwest::Client::new();
    let mut connection = BufReader::new(connection);
    loop {
        let mut forwarded = http.post(endpoint);
        let (mut operation, mut length) = (String::new(), 0);
        let mut line = String::new();
        while connection.read_line(&mut line).await.unwrap() > 2 {
            if let Some((name, value)) = line.trim_end().split_once(": ") {
                match name.to_ascii_lowercase().as_str() {
                    "x-amz-target" => value.rsplit('.').next().unwrap().clone_into(&mut operation),
                    "content-length" => length = value.parse().unwrap(),
                    _ => {}
                }
                if !["host", "content-length"].contains(&name.to_ascii_lowercase().as_str()) {
                    forwarded = forwarded.header(name, value);
                }
            }
            line.clear();
        }
        if operation.is_empty() {
            return;
        }
        let mut body = vec![0; length];
        connection.read_exact(&mut body).await.unwrap();
        let request: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let fate = fate(&format!("{operation} {}", request["TableName"].as_str().unwrap()));
        if fate == Fate::Lost {
            return;
        }
        let answer = forwarded.body(body).send().await.unwrap();
        let status = answer.status();
        let body = answer.bytes().await.unwrap();
        if fate == Fate::AnswerLost {
            return;
        }
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        connection.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    }
}
