//! The addresses that the local issuer and its store listen on.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};

use tokio::net::TcpListener;

use super::DevError;

/// The command line's options for one port.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flags {
    pub(super) port: &'static str,
    pub(super) listen: &'static str,
}

pub(super) const ENDPOINTS: Flags = Flags { port: "--port", listen: "--listen" };
pub(super) const STORE: Flags = Flags { port: "--dynamodb-port", listen: "--dynamodb-listen" };

/// Listens on 127.0.0.1 (0: any free port), and on `also` with the same port. Whatever `also` is,
/// this machine reaches the port on 127.0.0.1.
pub(super) async fn listen(
    port: u16,
    also: Option<IpAddr>,
    flags: Flags,
) -> Result<Vec<TcpListener>, DevError> {
    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
    // All addresses include 127.0.0.1, on which a second socket would be refused.
    let first = also.filter(IpAddr::is_unspecified).unwrap_or(loopback);
    let mut listeners = vec![bind(first, port, flags).await?];
    if let Some(address) = also.filter(|also| *also != first) {
        let port = listeners[0].local_addr().map_err(|error| not_bound(first, port, flags, error))?.port();
        listeners.push(bind(address, port, flags).await?);
    }
    Ok(listeners)
}

async fn bind(address: IpAddr, port: u16, flags: Flags) -> Result<TcpListener, DevError> {
    TcpListener::bind((address, port)).await.map_err(|error| not_bound(address, port, flags, error))
}

fn not_bound(address: IpAddr, port: u16, flags: Flags, error: std::io::Error) -> DevError {
    if error.kind() == ErrorKind::AddrNotAvailable {
        DevError::Address { address, flag: flags.listen, error }
    } else {
        DevError::Port { port, flag: flags.port, error }
    }
}

/// Returns the URL by which this machine reaches what listens there.
pub(super) fn url(listeners: &[TcpListener]) -> std::io::Result<String> {
    let port = listeners.first().map_or(Ok(0), |first| first.local_addr().map(|address| address.port()))?;
    Ok(format!("http://127.0.0.1:{port}"))
}
