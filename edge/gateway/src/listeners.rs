//! The sockets on which clients connect: bound here, or handed over by the process that was there before.

use futures_util::future::select_all;
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that wait to be accepted, per socket.
const BACKLOG: u32 = 1024;

/// One worker's sockets: one, or several where more were handed over than there are workers.
pub struct Listeners(Vec<TcpListener>);

impl Listeners {
    /// The sockets on the current runtime.
    ///
    /// # Errors
    /// The runtime cannot watch one of them.
    pub fn new(sockets: Vec<std::net::TcpListener>) -> io::Result<Self> {
        sockets.into_iter().map(TcpListener::from_std).collect::<io::Result<_>>().map(Self)
    }

    /// The next connection of any of them.
    ///
    /// # Errors
    /// One cannot be accepted.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match self.0.as_slice() {
            [one] => one.accept().await,
            several => select_all(several.iter().map(|l| Box::pin(l.accept()))).await.0,
        }
    }
}

/// Binds the public port once per worker. All but the first get the port that the first got. Sockets that
/// were handed over count, and none of them is left out: a connection may be waiting in its queue.
///
/// # Errors
/// The port is taken, also where its owner would share it.
pub fn bind(
    address: SocketAddr,
    workers: usize,
    handed: Vec<std::net::TcpListener>,
) -> io::Result<Vec<std::net::TcpListener>> {
    let mut listeners = handed;
    if listeners.is_empty() {
        // A socket that does not share finds out whether somebody is there.
        drop(socket(address, false)?.listen(1)?);
    }
    let mut at = address;
    while listeners.len() < workers {
        let listener = socket(at, true)?.listen(BACKLOG)?;
        at = listener.local_addr()?;
        listeners.push(listener.into_std()?);
    }
    Ok(listeners)
}

/// Deals the sockets out to so many workers.
pub fn deal(sockets: Vec<std::net::TcpListener>, workers: usize) -> Vec<Vec<std::net::TcpListener>> {
    let mut hands: Vec<Vec<std::net::TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    for (number, socket) in sockets.into_iter().enumerate() {
        hands[number % workers].push(socket);
    }
    hands
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(shared)?;
    socket.bind(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_socket_is_served_whatever_the_number_of_workers() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), 3, Vec::new()).unwrap();
        let address = sockets[0].local_addr().unwrap();
        let sockets = bind(address, 2, sockets).unwrap();
        assert_eq!(sockets.len(), 3, "none is left out");
        let sockets = bind(address, 5, sockets).unwrap();
        assert!(sockets.iter().all(|s| s.local_addr().unwrap() == address));
        let hands = deal(sockets, 2);
        assert_eq!(hands.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2]);
        let hands: Vec<Listeners> = hands.into_iter().map(|h| Listeners::new(h).unwrap()).collect();
        // The kernel spreads connections over all sockets.
        for _ in 0..50 {
            let client = TcpStream::connect(address);
            let (accepted, client) = tokio::join!(
                async {
                    tokio::select! { a = hands[0].accept() => a, a = hands[1].accept() => a }
                },
                client
            );
            assert_eq!(accepted.unwrap().1, client.unwrap().local_addr().unwrap());
        }
        assert!(bind(address, 1, Vec::new()).is_err(), "the port is taken");
    }
}
