use std::time::Duration;

use super::Kind;
use super::tools::crowd;
use crate::wire;

pub(super) const KIND: Kind = Kind {
    name: "never reading",
    about: "1,000 clients who have the app send them 60 KB again and again, and read nothing",
    flags: &[],
    work: |target| {
        Box::pin(crowd(target, 1000, async |target, _| {
            let port = stanza::env::CLIENT_PORT;
            let mut socket = target.dial_with(port, Some(2048)).await?;
            socket.open("/ws", "").await?;
            let please = wire::frame(true, wire::TEXT, br#"{"want": 60000}"#);
            loop {
                socket.send(&please).await?;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }))
    },
};
