use super::Kind;
use super::tools::crowd;

pub(super) const KIND: Kind = Kind {
    name: "slow hook",
    about: "1,500 who knock where the app takes 3 s to turn each of them away",
    flags: &["--auth=/ws/auth"],
    work: |target| {
        Box::pin(crowd(target, 1500, async |target, _| {
            let headers = format!("Cookie: {}\r\n", crate::app::KNOCK);
            target.open("/ws", &headers).await?.linger().await
        }))
    },
};
