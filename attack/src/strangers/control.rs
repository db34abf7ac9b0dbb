use super::Kind;
use super::tools::crowd;
use crate::wire;

pub(super) const KIND: Kind = Kind {
    name: "control characters",
    about: "60 clients whose messages are 1 MB of U+0001, six as JSON; the app stalls on each for 5 s",
    flags: &[],
    work: |target| {
        Box::pin(crowd(target, 60, async |target, _| {
            let mut socket = target.open("/ws", "").await?;
            let message = wire::frame(true, wire::TEXT, &[1; 1_000_000]);
            socket.flood(&message).await
        }))
    },
};
