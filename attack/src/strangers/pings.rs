use super::Kind;
use super::tools::crowd;
use crate::wire;

pub(super) const KIND: Kind = Kind {
    name: "pings",
    about: "40 clients who ping without end, by frame or by JSON; half of them read the pongs",
    flags: &[],
    work: |target| {
        Box::pin(crowd(target, 40, async |target, index| {
            let mut socket = target.open("/ws", "").await?;
            let ping = if index % 4 < 2 {
                wire::frame(true, wire::PING, &[b'p'; 125])
            } else {
                wire::frame(true, wire::TEXT, br#"{"event":"ping","data":{}}"#)
            };
            let pings = ping.repeat(500);
            if index.is_multiple_of(2) {
                return socket.flood(&pings).await;
            }
            socket.flood_reading(&pings).await
        }))
    },
};
