use super::Kind;
use super::tools::crowd;

pub(super) const KIND: Kind = Kind {
    name: "idle",
    about: "4,000 idle clients with headers of 60 KB, or of 15 KB, half of it a token",
    flags: &[],
    work: |target| {
        Box::pin(crowd(target, 4000, async |target, index| {
            // Where the larger one is refused, the other is not.
            let size = if index.is_multiple_of(2) {
                30_000
            } else {
                7_500
            };
            let filling = "x".repeat(size);
            let headers = format!("Cookie: auth_token={filling}\r\nUser-Agent: {filling}\r\n");
            target.open("/ws", &headers).await?.linger_pinging().await
        }))
    },
};
