//! Ports for processes that this machine starts for itself.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// First port that is tried.
const LOWEST: u16 = 10_000;
/// Where outgoing connections begin on a Linux that was not told otherwise.
const EPHEMERAL: u16 = 32_768;

/// A port on loopback, free now together with the one after it, outside the range that outgoing
/// connections get.
///
/// A port of that range does not stay free: a client that connects again and again while its server
/// starts may be given the very port as its own end, is connected with itself, and the server finds its
/// port taken.
///
/// # Errors
/// If no port can be bound.
pub fn free_port() -> std::io::Result<u16> {
    /// Ports asked of this process so far, so that two calls answer two ports.
    static ASKED: AtomicU16 = AtomicU16::new(0);
    let highest = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .filter(|low: &u16| *low > LOWEST + 1000)
        .unwrap_or(EPHEMERAL);
    let pairs = (highest - LOWEST) / 2;
    // Processes that run side by side begin at different places.
    let begin = (std::process::id().wrapping_mul(2_654_435_761) >> 16) as u16;
    let mut refused = None;
    for _ in 0..pairs {
        let place = begin.wrapping_add(ASKED.fetch_add(1, Ordering::Relaxed)) % pairs;
        let port = LOWEST + 2 * place;
        let both = TcpListener::bind(("127.0.0.1", port)).and_then(|_| TcpListener::bind(("127.0.0.1", port + 1)));
        match both {
            Ok(_) => return Ok(port),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_are_not_those_of_outgoing_connections() {
        let ports = [free_port().unwrap(), free_port().unwrap()];
        assert_ne!(ports[0], ports[1]);
        let client = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        assert!(ports.iter().all(|port| *port < client), "{ports:?} {client}");
    }
}
