//! Plain connections: resolves a name and connects to it, and tells the kinds of failure apart.
//!
//! Only a refused, reset or unanswered connection says something about the other side. A name that does not
//! resolve, a proxy or a broken route may be this host's own trouble.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;

use super::{Clients, Network};
use crate::clock::{Clock, within};
use crate::sandbox::NoWay;
use crate::span::Span;

/// Resolving must leave time to connect within a check's three seconds.
const RESOLVE_LIMIT: Duration = Duration::from_secs(2);

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// Refused, reset, or no answer in time
    #[error("{0}")]
    Unreachable(String),
    /// Trouble that may be this host's own: says nothing about the other side
    #[error("{0}")]
    Unclear(String),
}

impl Failure {
    /// Returns the failure of a wait that ran out.
    pub(crate) fn silent(limit: Duration) -> Self {
        Self::Unreachable(format!("no answer in {}", Span(limit)))
    }

    /// Returns what an error's source chain says about the other side, when an I/O error in it says anything.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(failure) = error.downcast_ref::<Self>() {
                return Some(failure.clone());
            }
            if let Some(failure) = error.downcast_ref::<io::Error>().and_then(Self::of_io) {
                return Some(failure);
            }
            next = error.source();
        }
        None
    }

    fn of_io(error: &io::Error) -> Option<Self> {
        // A custom error inside may be ours: its own kind decides, not `Other`.
        if let Some(inner) = error.get_ref()
            && let Some(failure) = Self::of(inner)
        {
            return Some(failure);
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                Some(Self::Unreachable("refused the connection".to_owned()))
            }
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
                Some(Self::Unreachable("reset the connection".to_owned()))
            }
            io::ErrorKind::TimedOut => Some(Self::Unreachable("no answer in time".to_owned())),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Some(Self::Unclear(format!("no route from this host: {error}")))
            }
            _ => None,
        }
    }
}

/// Splits `host:port`, `[v6]:port` or, with a default port, a bare host.
pub(crate) fn split(address: &str, default_port: Option<u16>) -> Result<(&str, u16), Failure> {
    let bad = || Failure::Unclear(format!("`{address}` is not host:port"));
    if let Some(rest) = address.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(bad)?;
        let port = match rest.strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| bad())?,
            None => default_port.ok_or_else(bad)?,
        };
        return Ok((host, port));
    }
    match address.rsplit_once(':') {
        // More than one colon without brackets is an IPv6 address without a port.
        Some((host, _)) if host.contains(':') => {
            Ok((address, default_port.filter(|_| is_ip(address)).ok_or_else(bad)?))
        }
        Some((host, port)) if !host.is_empty() => Ok((host, port.parse().map_err(|_| bad())?)),
        None if !address.is_empty() => Ok((address, default_port.ok_or_else(bad)?)),
        _ => Err(bad()),
    }
}

fn is_ip(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

/// Says whether a host is this machine itself.
pub(crate) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Returns the addresses of a host; a name that does not resolve is `Unclear`.
pub(crate) async fn resolve(
    clock: &dyn Clock,
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, Failure> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found = within(clock, RESOLVE_LIMIT, tokio::net::lookup_host((host, port))).await;
    match found {
        Ok(Ok(found)) => {
            let found: Vec<SocketAddr> = found.collect();
            if found.is_empty() {
                return Err(Failure::Unclear(format!("the name {host} has no address")));
            }
            Ok(found)
        }
        Ok(Err(error)) => {
            Err(Failure::Unclear(format!("the name {host} does not resolve: {error}")))
        }
        Err(_) => Err(Failure::Unclear(format!(
            "no resolver answered for {host} in {}",
            Span(RESOLVE_LIMIT)
        ))),
    }
}

/// Connects within `limit`. Resolving has a limit of its own: a slow resolver must not look like a silent host.
pub(crate) async fn connect(
    clock: &dyn Clock,
    address: &str,
    limit: Duration,
) -> Result<TcpStream, Failure> {
    let (host, port) = split(address, None)?;
    let addresses = resolve(clock, host, port).await?;
    let work = async {
        let mut last = Failure::Unclear(format!("the name {host} has no address"));
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    last = Failure::of(&error).unwrap_or_else(|| {
                        Failure::Unclear(format!("connect from this host: {error}"))
                    });
                }
            }
        }
        Err(last)
    };
    within(clock, limit, work).await.unwrap_or_else(|_| Err(Failure::silent(limit)))
}

/// Connects to an address and no more, over the real network or the simulated one.
pub(crate) async fn reach(
    clients: &Clients,
    address: &str,
    limit: Duration,
) -> Result<(), Failure> {
    match &clients.network {
        Network::Real => connect(clients.clock.as_ref(), address, limit).await.map(drop),
        Network::Simulated(sandbox) => {
            let (host, port) = split(address, None)?;
            sandbox.reach(host, port, limit).await.map_err(|no_way| simulated(no_way, limit))
        }
    }
}

/// Returns what the simulated network said in the words of the real one.
pub(super) fn simulated(no_way: NoWay, limit: Duration) -> Failure {
    match no_way {
        NoWay::Silent => Failure::silent(limit),
        NoWay::Refused => Failure::Unreachable("refused the connection".to_owned()),
        NoWay::NoName(host) => Failure::Unclear(format!("the name {host} does not resolve")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::clock::RealClock;

    /// A listener whose backlog is full: packets that would open another connection are dropped.
    pub(crate) struct BlackHole {
        pub address: SocketAddr,
        _listener: tokio::net::TcpListener,
        _fill: Vec<std::net::TcpStream>,
    }

    impl BlackHole {
        pub(crate) fn dig() -> Self {
            let socket = tokio::net::TcpSocket::new_v4().expect("socket");
            socket.bind("127.0.0.1:0".parse().expect("address")).expect("bind");
            let listener = socket.listen(0).expect("listen");
            let address = listener.local_addr().expect("address");
            let mut fill = Vec::new();
            // The kernel takes connections until the backlog is full; then one goes unanswered.
            while let Ok(stream) =
                std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300))
            {
                fill.push(stream);
                assert!(fill.len() < 64, "the backlog never fills");
            }
            Self { address, _listener: listener, _fill: fill }
        }
    }

    /// Returns a loopback address nothing listens on, nor will until who asked does: the port is given to nobody else.
    ///
    /// It lies below the range from which the kernel takes ports by itself, as one from there, once let go, may be
    /// another test's in the next moment.
    pub(crate) fn closed() -> SocketAddr {
        use std::sync::atomic::{AtomicU32, Ordering};
        const PORTS: std::ops::Range<u32> = 12_000..32_000;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        for _ in PORTS {
            // Another process of these tests begins elsewhere.
            let turn = std::process::id().wrapping_mul(97) + NEXT.fetch_add(1, Ordering::Relaxed);
            let port = PORTS.start + turn % PORTS.len() as u32;
            let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).expect("a port")));
            if std::net::TcpListener::bind(address).is_ok() {
                return address;
            }
        }
        panic!("no port is free");
    }

    #[test]
    fn splits_addresses() {
        assert_eq!(split("db.example:5432", None), Ok(("db.example", 5432)));
        assert_eq!(split("[::1]:53", None), Ok(("::1", 53)));
        assert_eq!(split("[::1]", Some(53)), Ok(("::1", 53)));
        assert_eq!(split("::1", Some(53)), Ok(("::1", 53)));
        assert_eq!(split("10.0.0.2", Some(53)), Ok(("10.0.0.2", 53)));
        for bad in ["", ":5432", "db.example", "db.example:", "db:port", "[::1", "::1", "a:b:1"] {
            assert!(matches!(split(bad, None), Err(Failure::Unclear(_))), "{bad}");
        }
    }

    #[tokio::test]
    async fn tells_refusal_silence_and_own_trouble_apart() {
        let limit = Duration::from_millis(400);
        let refused = connect(&RealClock, &closed().to_string(), limit).await;
        assert_eq!(
            refused.expect_err("nothing listens"),
            Failure::Unreachable("refused the connection".to_owned())
        );
        let hole = BlackHole::dig();
        let silent = connect(&RealClock, &hole.address.to_string(), limit).await;
        assert_eq!(silent.expect_err("dropped"), Failure::silent(limit));
        let nameless = connect(&RealClock, "no-such-host.invalid:80", limit).await;
        assert!(matches!(nameless.expect_err("no name"), Failure::Unclear(_)));
    }
}
