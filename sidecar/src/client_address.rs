//! Which address a client has.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;

use ipnet::IpNet;

/// Addresses that share their places: as few as a byte can tell apart, as each connection
/// remembers its own. Nobody can know whom it shares with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AddressGroup(u8);

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

/// Whom an address stands for: with IPv6 one host has all of a /64 (RFC 7421).
pub(crate) fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = v6.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl AddressGroup {
    pub(crate) const COUNT: usize = 1 << u8::BITS;

    pub(crate) fn of(address: IpAddr) -> Self {
        static HASHES: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let [group, ..] = HASHES.hash_one(neighbourhood(address)).to_le_bytes();
        Self(group)
    }

    pub(crate) fn index(self) -> usize {
        self.0.into()
    }
}

#[cfg(test)]
impl From<u8> for AddressGroup {
    fn from(group: u8) -> Self {
        Self(group)
    }
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

    #[test]
    fn one_host_is_one_address() {
        let same = |a: &str, b: &str| {
            let parse = |text: &str| neighbourhood(text.parse().unwrap());
            parse(a) == parse(b)
        };
        assert!(same("2001:db8::1", "2001:db8::ffff"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
    }
}
