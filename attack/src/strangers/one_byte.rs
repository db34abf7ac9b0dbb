use super::Kind;
use super::tools::crowd;

/// `0x16` begins TLS, `P` may become `PRI`, HTTP/2's preface: both are told apart where the
/// gateway stands in front of the app's port.
const BYTES: [u8; 3] = [b'G', 0x16, b'P'];

pub(super) const KIND: Kind = Kind {
    name: "one byte",
    about: "6,000 connections that send one byte, G, 0x16 or P, and no more",
    flags: &[],
    work: |target| {
        Box::pin(crowd(target, 6000, async |target, index| {
            let mut socket = target.dial(stanza::env::CLIENT_PORT).await?;
            socket.send(&[BYTES[index % BYTES.len()]]).await?;
            socket.linger().await
        }))
    },
};
