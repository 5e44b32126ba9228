//! DynamoDB in this process: dynoxide behind a real socket, so that every call goes through the
//! SDK.

use std::net::SocketAddr;
use std::path::Path;

use dynoxide::Database;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::DevError;

/// A running embedded DynamoDB.
#[derive(Debug)]
pub struct EmbeddedDynamoDb {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), String>>,
}

impl EmbeddedDynamoDb {
    /// Serves the database in `file`, or one in memory, on a port of 127.0.0.1 (0: any free one).
    pub async fn start(port: u16, file: Option<&Path>) -> Result<Self, DevError> {
        let flag = "--dynamodb-port";
        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener.map_err(|error| DevError::Port { port, flag, error })?;
        let address = listener.local_addr().map_err(|error| DevError::Port { port, flag, error })?;
        let database = match file {
            None => Database::memory().map_err(DevError::setup)?,
            Some(path) => Database::new(&path.to_string_lossy())
                .map_err(|error| DevError::DataFolder { path: path.to_owned(), error: error.to_string() })?,
        };
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database, async {
            // Dropping the sender stops the server too.
            let _ = stopped.await;
        }));
        Ok(Self { address, stop, served })
    }

    /// The URL for `AWS_ENDPOINT_URL_DYNAMODB`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers the requests in progress and closes the database.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.served.await;
    }
}
