//! Opening a connection: name, address, socket options, TLS.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::address::InstanceAddress;
use crate::error::{Detail, SendError, SendErrorKind};
use crate::lookup::{self, Lookups};
use crate::open_files;
use crate::socket::Stream;
use crate::tls::Tls;

/// How long an address is tried before the next one is tried beside it (RFC 8305 recommends 250 ms).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Opens a connection before the deadline; `limit` is the deadline's length, for the error's text.
pub(crate) async fn connect(
    address: &InstanceAddress,
    tls: Option<&Tls>,
    deadline: Instant,
    limit: Duration,
) -> Result<Stream, SendError> {
    match timeout_at(deadline, open(address, tls, &lookup::CONFIGURED)).await {
        Ok(result) => result,
        Err(_) => Err(address.error(SendErrorKind::ConnectTimeout, Detail::After(limit))),
    }
}

async fn open(
    address: &InstanceAddress,
    tls: Option<&Tls>,
    lookups: &Lookups,
) -> Result<Stream, SendError> {
    let fail = |kind, cause: io::Error| address.error(kind, Detail::Cause(cause.into()));
    let addresses: Vec<SocketAddr> = match address.pinned() {
        Some(pinned) => vec![pinned],
        None => {
            let found = lookups.addresses(address.host()).await;
            let kind = |cause: &_| match cause {
                cause if open_files::are_used_up(cause) => SendErrorKind::TooManyConnections,
                _ => SendErrorKind::Dns,
            };
            let found = found.map_err(|cause| fail(kind(&cause), cause))?;
            found.into_iter().map(|found| SocketAddr::new(found, address.port())).collect()
        }
    };
    let tcp = first_that_answers(interleaved(addresses)).await.map_err(|cause| {
        let kind = match cause.kind() {
            io::ErrorKind::ConnectionRefused => SendErrorKind::Refused,
            io::ErrorKind::TimedOut => SendErrorKind::ConnectTimeout,
            io::ErrorKind::NotFound => SendErrorKind::Dns,
            _ if open_files::are_used_up(&cause) => SendErrorKind::TooManyConnections,
            _ => SendErrorKind::Connect,
        };
        fail(kind, cause)
    })?;
    // A request is written in one go and an answer is awaited: waiting for more to send (Nagle) only
    // delays it. What the option cannot do on some socket is no reason to fail.
    let _ = tcp.set_nodelay(true);

    if !address.is_https() {
        return Ok(Stream::Plain(tcp));
    }
    let (Some(tls), Some(name)) = (tls, address.server_name()) else {
        return Err(address.error(SendErrorKind::Tls, Detail::Text("no TLS settings")));
    };
    let stream = tls
        .connector()
        .connect(name, tcp)
        .await
        .map_err(|cause| fail(SendErrorKind::Tls, cause))?;
    Ok(Stream::Tls(Box::new(stream)))
}

/// IPv6 and IPv4 in turn, starting with the family of the first address, so that a family without a
/// route costs one step and not one per address.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first() else { return addresses };
    let first_is_v6 = first.is_ipv6();
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for address in addresses {
        if address.is_ipv6() == first_is_v6 { one.push(address) } else { other.push(address) }
    }
    let mut out = Vec::with_capacity(one.len() + other.len());
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    loop {
        match (one.next(), other.next()) {
            (None, None) => return out,
            (a, b) => out.extend(a.into_iter().chain(b)),
        }
    }
}

/// Tries the addresses in order; the next begins when one fails or does not answer for a while. The
/// attempts that lost end with the set.
async fn first_that_answers(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    if let [only] = *addresses {
        return TcpStream::connect(only).await;
    }
    let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut waiting = addresses.into_iter();
    let mut running = JoinSet::new();
    let mut last = None;
    loop {
        match waiting.next() {
            Some(address) => {
                running.spawn(TcpStream::connect(address));
            }
            None if running.is_empty() => return Err(last.unwrap_or_else(none)),
            None => {}
        }
        tokio::select! {
            Some(done) = running.join_next() => match done {
                Ok(Ok(tcp)) => return Ok(tcp),
                Ok(Err(cause)) => last = Some(cause),
                Err(stopped) => last = Some(io::Error::other(stopped)),
            },
            () = sleep(NEXT_ADDRESS_AFTER), if waiting.len() > 0 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::tests::Hanging;

    #[tokio::test(start_paused = true)]
    async fn a_resolver_that_hangs_costs_its_deadline_and_one_thread() {
        let hanging = Hanging::default();
        let lookups = hanging.lookups(8);
        let address = InstanceAddress::parse("http://gpu.hangs:8000").unwrap();
        for _ in 0..50 {
            let opening = open(&address, None, &lookups);
            assert!(tokio::time::timeout(Duration::from_secs(5), opening).await.is_err());
        }
        // One thread, however many asked; another name's is free.
        assert_eq!(hanging.begun(), 1);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let well = InstanceAddress::parse(&format!("http://gpu.well:{port}")).unwrap();
        open(&well, None, &lookups).await.unwrap();
        hanging.let_go();
    }

    #[test]
    fn families_take_turns() {
        let order = |texts: &[&str]| -> Vec<String> {
            let addresses = texts.iter().map(|text| text.parse().unwrap()).collect();
            interleaved(addresses).iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            order(&["[::1]:1", "[::2]:1", "1.0.0.1:1", "1.0.0.2:1"]),
            ["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1"]
        );
        assert_eq!(order(&["1.0.0.1:1", "[::1]:1"]), ["1.0.0.1:1", "[::1]:1"]);
        assert!(order(&[]).is_empty());
    }

    #[tokio::test]
    async fn an_address_that_refuses_gives_way_to_the_next() {
        let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refusing = {
            let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            gone.local_addr().unwrap()
        };
        let good = taken.local_addr().unwrap();
        let tcp = first_that_answers(vec![refusing, good]).await.unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), good);
        let error = first_that_answers(vec![refusing, refusing]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let error = first_that_answers(Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
