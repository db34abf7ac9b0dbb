use super::Kind;
use super::tools::crowd;
use crate::wire;

pub(super) const KIND: Kind = Kind {
    name: "fragments",
    about: "40 clients who send fragments of no byte, or of one, without end",
    flags: &[],
    work: |target| {
        Box::pin(crowd(target, 40, async |target, index| {
            let mut socket = target.open("/ws", "").await?;
            socket.send(&wire::frame(false, wire::BINARY, b"")).await?;
            let piece: &[u8] = if index.is_multiple_of(2) { b"" } else { b"x" };
            let fragments = wire::frame(false, wire::CONTINUATION, piece).repeat(5000);
            socket.flood_reading(&fragments).await
        }))
    },
};
