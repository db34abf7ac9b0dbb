//! Which address a client has.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// The peer's; where that is a trusted proxy, the last of `X-Forwarded-For` that is none. A proxy
/// that names nobody stands for all of its clients.
pub(crate) fn of<'a>(
    peer: SocketAddr,
    forwarded_for: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &[IpNet],
) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let peer = peer.ip().to_canonical();
    if !is_trusted(&peer) {
        return peer;
    }
    let mut named = forwarded_for
        .rev()
        .flat_map(|value| value.rsplit(|byte| *byte == b','))
        .map_while(|entry| parse(entry.trim_ascii()))
        .map(|address| address.to_canonical());
    named.find(|address| !is_trusted(address)).unwrap_or(peer)
}

/// Some proxies write the port too (Azure's Application Gateway), and brackets around IPv6.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(entry).ok()?;
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(with_port).or_else(in_brackets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(peer: &str, forwarded: &[&str], client_is: &str) {
        let trusted = ["10.0.0.0/8", "::1/128"].map(|net| net.parse().unwrap());
        let peer = SocketAddr::new(peer.parse().unwrap(), 1);
        let found = of(
            peer,
            forwarded.iter().map(|value| value.as_bytes()),
            &trusted,
        );
        assert_eq!(found.to_string(), client_is, "{peer} {forwarded:?}");
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        check("192.0.2.1", &["198.51.100.1"], "192.0.2.1");
        check("10.0.0.1", &["198.51.100.1"], "198.51.100.1");
        check("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1");
        check(
            "10.0.0.1",
            &["1.1.1.1, 198.51.100.1, 10.0.0.2"],
            "198.51.100.1",
        );
        check("10.0.0.1", &["1.1.1.1", "198.51.100.1"], "198.51.100.1");
        // What a client wrote before hides nobody.
        check("10.0.0.1", &["\u{fc}, 198.51.100.1"], "198.51.100.1");
        check("10.0.0.1", &["198.51.100.1:5678"], "198.51.100.1");
        check("10.0.0.1", &["[2001:db8::1]:5678"], "2001:db8::1");
        check("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["1.1.1.1, unknown"], "10.0.0.1");
    }
}
