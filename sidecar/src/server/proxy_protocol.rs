//! The PROXY protocol, versions 1 and 2: a load balancer that passes bytes on says before them
//! whose they are (HAProxy, proxy-protocol.txt). Parsing is ppp's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ppp::{v1, v2};

/// How what a connection begins with is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// No header of that kind.
    Other,
    /// Perhaps one, if more comes.
    Unfinished,
    /// A header of so many bytes, and who is behind it.
    Header {
        length: usize,
        client: SocketAddr,
    },
    Malformed(&'static str),
}

/// Of a header that names nobody (a probe of the balancer's own, `UNKNOWN`): what comes behind it is
/// not the balancer's word, so the balancer's address is not its own.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
const V1: &[u8] = b"PROXY ";
/// §2.1: with its line's end.
const V1_LONGEST: usize = 107;
/// Far above all addresses and values that there are.
const V2_LONGEST: usize = 4 << 10;
const V2_FIXED: usize = 16;

pub(super) fn read(bytes: &[u8]) -> Beginning {
    let may_be = |signature: &[u8]| {
        let length = bytes.len().min(signature.len());
        bytes[..length] == signature[..length]
    };
    if may_be(V1) {
        read_v1(bytes)
    } else if may_be(v2::PROTOCOL_PREFIX) {
        read_v2(bytes)
    } else {
        Beginning::Other
    }
}

/// A header comes from another machine: what it names is not this pod, whatever the address says.
fn named(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    let ip = ip.into().to_canonical();
    if ip.is_loopback() || ip.is_unspecified() {
        return NOBODY;
    }
    SocketAddr::new(ip, port)
}

fn read_v1(bytes: &[u8]) -> Beginning {
    let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else {
        if bytes.len() < V1_LONGEST {
            return Beginning::Unfinished;
        }
        return Beginning::Malformed("PROXY protocol: the line is longer than 107 bytes");
    };
    let length = end + 2;
    let client = match v1::Header::try_from(&bytes[..length]).map(|header| header.addresses) {
        Ok(v1::Addresses::Tcp4(it)) => named(it.source_address, it.source_port),
        Ok(v1::Addresses::Tcp6(it)) => named(it.source_address, it.source_port),
        Ok(v1::Addresses::Unknown) => NOBODY,
        Err(_) => {
            return Beginning::Malformed(
                "PROXY protocol: expected PROXY TCP4, TCP6 or UNKNOWN, two addresses and two ports",
            );
        }
    };
    Beginning::Header { length, client }
}

fn read_v2(bytes: &[u8]) -> Beginning {
    let Some([high, low]) = bytes.get(V2_FIXED - 2..V2_FIXED) else {
        return Beginning::Unfinished;
    };
    let length = V2_FIXED + usize::from(u16::from_be_bytes([*high, *low]));
    if length > V2_LONGEST {
        return Beginning::Malformed("PROXY protocol: the header is longer than 4096 bytes");
    }
    let Some(header) = bytes.get(..length) else {
        return Beginning::Unfinished;
    };
    let Ok(header) = v2::Header::try_from(header) else {
        return Beginning::Malformed("PROXY protocol: this header is none of version 2");
    };
    let client = match (header.command, header.addresses) {
        (v2::Command::Proxy, v2::Addresses::IPv4(it)) => named(it.source_address, it.source_port),
        (v2::Command::Proxy, v2::Addresses::IPv6(it)) => named(it.source_address, it.source_port),
        _ => NOBODY,
    };
    Beginning::Header { length, client }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &[u8], expected: &str) {
        let whole = [header, b"GET / HTTP/1.1\r\n\r\n\xFF"].concat();
        let length = header.len();
        let client = expected.parse().unwrap();
        assert_eq!(read(&whole), Beginning::Header { length, client });
        for part in 0..length {
            assert_eq!(read(&whole[..part]), Beginning::Unfinished, "{part}");
        }
    }

    #[test]
    fn headers_of_both_versions() {
        check(
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n",
            "192.0.2.1:56324",
        );
        check(
            b"PROXY TCP6 2001:db8::1 2001:db8::2 5 443\r\n",
            "[2001:db8::1]:5",
        );
        check(b"PROXY UNKNOWN\r\n", "0.0.0.0:0");
        // Who may call as the app does is the pod alone.
        for pod in ["127.0.0.1", "127.0.0.6", "0.0.0.0"] {
            let header = format!("PROXY TCP4 {pod} 198.51.100.1 1 443\r\n");
            check(header.as_bytes(), "0.0.0.0:0");
        }
        for pod in ["::1", "::ffff:127.0.0.1", "::"] {
            let header = format!("PROXY TCP6 {pod} 2001:db8::2 1 443\r\n");
            check(header.as_bytes(), "0.0.0.0:0");
        }
        let v2 = |head: [u8; 2], rest: &[u8]| {
            let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
            [v2::PROTOCOL_PREFIX, &head, &length, rest].concat()
        };
        let addresses = [192, 0, 2, 1, 198, 51, 100, 1, 1, 0, 1, 187];
        check(&v2([0x21, 0x11], &addresses), "192.0.2.1:256");
        // Behind them a value of AWS' (PP2_TYPE_AWS).
        let more = [&addresses[..], &[0xEA, 0, 3, 1, b'v', b'p']].concat();
        check(&v2([0x21, 0x11], &more), "192.0.2.1:256");
        check(&v2([0x20, 0x00], &[]), "0.0.0.0:0");
        let pod = [127, 0, 0, 1, 198, 51, 100, 1, 1, 0, 1, 187];
        check(&v2([0x21, 0x11], &pod), "0.0.0.0:0");
    }

    #[test]
    fn what_is_none() {
        for other in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"POST",
            b"PUT",
            b"\r\n\r\nGET",
            b"\x16\x03",
        ] {
            assert_eq!(read(other), Beginning::Other, "{other:?}");
        }
        let long = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
        let huge = [v2::PROTOCOL_PREFIX, &[0x21, 0x11, 0xFF, 0xFF]].concat();
        let odd = [v2::PROTOCOL_PREFIX, &[0x91, 0x11, 0, 0]].concat();
        for bad in [
            &b"PROXY TCP4 here there 1 2\r\n"[..],
            b"PROXY \r\n",
            &long,
            &huge,
            &odd,
        ] {
            assert!(matches!(read(bad), Beginning::Malformed(_)), "{bad:?}");
        }
    }
}
