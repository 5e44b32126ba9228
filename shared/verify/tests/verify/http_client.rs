//! The HTTP client: its limits, and the URLs that it accepts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::get;
use countersign_verify::{HttpClient, HttpError, HttpLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::closed_port;

/// Starts a server and returns its URL.
async fn start_server() -> String {
    let router = Router::new()
        .route("/text", get(async || (StatusCode::IM_A_TEAPOT, [("date", "today")], "text")))
        .route("/redirect", get(async || Redirect::temporary("/text")))
        .route("/latin-1", get(async || b"\xe9".to_vec()))
        .route("/8-bytes", get(async || "8 bytes!"))
        .route("/9-bytes", get(async || "9 bytes!!"))
        .route("/never", get(std::future::pending::<()>));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    url
}

#[tokio::test]
async fn a_response_has_its_status_its_headers_and_its_body() {
    let url = start_server().await;
    let client = HttpClient::new(HttpLimits::default()).unwrap();
    let response = client.get(&format!("{url}/text")).await.unwrap();
    assert_eq!(response.status(), 418);
    assert_eq!(response.headers()["date"], "today");
    assert_eq!(response.body(), "text");
    assert_eq!(client.get(&format!("{url}/latin-1")).await.err(), Some(HttpError::NotUtf8));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let url = start_server().await;
    let client = HttpClient::new(HttpLimits::default()).unwrap();
    assert_eq!(client.get(&format!("{url}/redirect")).await.unwrap().status(), 307);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_an_error() {
    let url = start_server().await;
    let client = HttpClient::new(HttpLimits { max_body_bytes: 8, ..HttpLimits::default() }).unwrap();
    assert_eq!(client.get(&format!("{url}/8-bytes")).await.unwrap().body(), "8 bytes!");
    let error = client.get(&format!("{url}/9-bytes")).await.unwrap_err();
    assert!(matches!(error, HttpError::Failed(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_response_later_than_the_timeout_is_an_error() {
    let url = start_server().await;
    let timeout = Duration::from_secs(15);
    // The longer connect timeout cannot be the one that ends the request.
    let limits = HttpLimits { timeout, connect_timeout: 2 * timeout, ..HttpLimits::default() };
    let client = HttpClient::new(limits).unwrap();
    let started = tokio::time::Instant::now();
    assert_eq!(client.get(&format!("{url}/never")).await.err(), Some(HttpError::TimedOut(timeout)));
    assert!((timeout..=timeout + Duration::from_secs(1)).contains(&started.elapsed()));
}

#[tokio::test]
async fn a_connection_that_fails_is_an_error_with_its_causes() {
    let (_socket, address) = closed_port::bind();
    let client = HttpClient::new(HttpLimits::default()).unwrap();
    let error = client.get(&format!("http://{address}/")).await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}

/// Starts a server that answers the first `answered` requests of a connection and closes it when
/// the next one has come. Returns its URL and the number of requests that it dropped.
async fn start_forgetful_server(answered: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dropped);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut head = [0; 4096];
                for _ in 0..answered {
                    if stream.read(&mut head).await.unwrap() == 0 {
                        return;
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                }
                if stream.read(&mut head).await.unwrap() > 0 {
                    count.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    (url, dropped)
}

#[tokio::test]
async fn a_request_over_a_connection_that_died_is_repeated_over_a_new_one() {
    let (url, dropped) = start_forgetful_server(1).await;
    let client = HttpClient::new(HttpLimits::default()).unwrap();
    for _ in 0..20 {
        assert_eq!(client.get(&url).await.map(|response| response.status().as_u16()), Ok(200));
        // Lets the client keep its connection.
        tokio::task::yield_now().await;
    }
    assert!(dropped.load(Ordering::SeqCst) > 0, "no connection was used twice");
}

#[tokio::test]
async fn a_request_is_repeated_once_and_no_more() {
    let (url, dropped) = start_forgetful_server(0).await;
    let client = HttpClient::new(HttpLimits::default()).unwrap();
    let error = client.get(&url).await.unwrap_err();
    assert!(matches!(error, HttpError::Failed(_)), "{error:?}");
    assert_eq!(dropped.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_url_that_is_neither_https_nor_on_loopback_is_not_requested() {
    let client = HttpClient::new(HttpLimits::default()).unwrap();
    for url in ["http://192.0.2.1/", "ftp://127.0.0.1/", "/jwks", ""] {
        let error = client.get(url).await.unwrap_err();
        assert!(matches!(error, HttpError::UntrustedUrl(_)), "{url}: {error:?}");
    }
}

#[test]
fn a_broken_certificate_among_the_roots_is_reported() {
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let Err(error) = HttpClient::with_more_roots(HttpLimits::default(), broken) else {
        panic!("accepted a broken certificate");
    };
    assert!(error.to_string().contains("ertificate"), "{error}");
}
