use super::Kind;
use super::tools::crowd;
use crate::wire;

pub(super) const KIND: Kind = Kind {
    name: "half messages",
    about: "300 messages of 1 MB in fragments, none of which is the last; pings keep them alive",
    flags: &[],
    work: |target| {
        Box::pin(crowd(target, 300, async |target, _| {
            let mut socket = target.open("/ws", "").await?;
            let piece = [b'x'; 50_000];
            socket
                .send(&wire::frame(false, wire::BINARY, &piece))
                .await?;
            for _ in 1..20 {
                let fragment = wire::frame(false, wire::CONTINUATION, &piece);
                socket.send(&fragment).await?;
            }
            socket.linger_pinging().await
        }))
    },
};
