use super::Kind;
use super::tools::crowd;

pub(super) const KIND: Kind = Kind {
    name: "names",
    about: "20,000 clients at once, each with a token, a namespace and a name of its own",
    // Behind a proxy that says who is who: else nobody has a name, and no place is kept for those.
    flags: &["--identity-trusted-proxies=192.0.2.2"],
    work: |target| {
        Box::pin(crowd(target, 20_000, async |target, index| {
            let headers =
                format!("Cookie: auth_token=token-{index}\r\nX-BFL-USER: user-{index}\r\n");
            let path = format!("/ws?namespace=space-{index}");
            target.open(&path, &headers).await?.linger_pinging().await
        }))
    },
};
