use super::Kind;

pub(super) const KIND: Kind = Kind {
    name: "everything",
    about: "all of the above at once, from the same address",
    flags: &[
        "--identity-trusted-proxies=192.0.2.2",
        "--auth=/ws/auth",
        crate::app::TOKEN_FLAG,
    ],
    work: |_| Box::pin(std::future::pending()),
};
