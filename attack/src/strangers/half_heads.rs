use std::time::Duration;

use super::Kind;
use super::tools::crowd;

pub(super) const KIND: Kind = Kind {
    name: "half heads",
    about: "5,000 requests that do not end, of 15 to 60 KB, a byte a second more",
    flags: &[],
    work: |target| {
        Box::pin(crowd(target, 5000, async |target, index| {
            let mut socket = target.dial(stanza::env::CLIENT_PORT).await?;
            let filling = "x".repeat(15_000 * (1 + index % 4));
            let head = format!("GET /ws HTTP/1.1\r\nHost: pod\r\nX-Filling: {filling}");
            socket.send(head.as_bytes()).await?;
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                socket.send(b"x").await?;
            }
        }))
    },
};
