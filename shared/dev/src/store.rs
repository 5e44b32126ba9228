//! DynamoDB in this process: dynoxide behind a real socket, so that every call goes through the
//! SDK.

use std::path::Path;

use dynoxide::Database;
use dynoxide::server::serve_with_shutdown;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::DevError;
use super::listening::{self, listen};

/// A running embedded DynamoDB.
#[derive(Debug)]
pub struct EmbeddedDynamoDb {
    url: String,
    stop: watch::Sender<()>,
    served: JoinSet<Result<(), String>>,
}

impl EmbeddedDynamoDb {
    /// Serves the database in `file`, or one in memory, on a port of 127.0.0.1 (0: any free one).
    pub async fn start(port: u16, file: Option<&Path>) -> Result<Self, DevError> {
        Self::serve(listen(port, None, listening::STORE).await?, file)
    }

    /// Serves the database in `file`, or one in memory, on sockets of one port.
    pub(super) fn serve(listeners: Vec<TcpListener>, file: Option<&Path>) -> Result<Self, DevError> {
        let url = listening::url(&listeners).map_err(DevError::setup)?;
        let database = match file {
            None => Database::memory().map_err(DevError::setup)?,
            Some(path) => Database::new(&path.to_string_lossy())
                .map_err(|error| DevError::DataFolder { path: path.to_owned(), error: error.to_string() })?,
        };
        let (stop, stopped) = watch::channel(());
        let mut served = JoinSet::new();
        for listener in listeners {
            let mut stopped = stopped.clone();
            served.spawn(serve_with_shutdown(listener, database.clone(), async move {
                // Dropping the sender stops the server too.
                let _ = stopped.changed().await;
            }));
        }
        Ok(Self { url, stop, served })
    }

    /// The URL for `AWS_ENDPOINT_URL_DYNAMODB`.
    pub fn endpoint(&self) -> String {
        self.url.clone()
    }

    /// Answers the requests in progress and closes the database.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        self.served.join_all().await;
    }
}
