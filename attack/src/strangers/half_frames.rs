use super::Kind;
use super::tools::crowd;
use crate::wire;

pub(super) const KIND: Kind = Kind {
    name: "half frames",
    about: "300 frames of 1 MB whose last byte does not come",
    flags: &[],
    work: |target| {
        Box::pin(crowd(target, 300, async |target, _| {
            let mut socket = target.open("/ws", "").await?;
            let size = 1_000_000;
            let mut frame = wire::frame_head(true, wire::BINARY, size);
            frame.resize(frame.len() + size - 1, b'x');
            socket.send(&frame).await?;
            socket.linger().await
        }))
    },
};
