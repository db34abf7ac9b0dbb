//! The values that labels can have.

/// A label's values: an enum, and each value as it is exported.
macro_rules! label {
    ($(#[$about:meta])* $name:ident { $( $(#[$meaning:meta])* $value:ident = $text:literal, )+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $( $(#[$meaning])* $value, )+
        }

        impl $name {
            /// In the order of their declarations, as they are found by number.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$value),+];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$value => $text, )+
                }
            }
        }
    };
}

label! {
    /// How a callback ended.
    CallbackResult {
        Ok = "ok",
        ErrorStatus = "error_status",
        /// What was answered is no HTTP.
        Unreadable = "unreadable",
        Timeout = "timeout",
        NotDelivered = "not_delivered",
        InDoubt = "in_doubt",
    }
}

label! {
    /// What an admin request asked for.
    AdminCall {
        Send = "send",
        Close = "close",
        List = "list",
        /// No call of that name.
        Unknown = "unknown",
        /// Whoever asked is not the app.
        Refused = "refused",
    }
}

label! {
    MessageType {
        Json = "json",
        Text = "text",
        Binary = "binary",
        Ping = "ping",
    }
}

label! {
    /// Why a request did not become a connection.
    RefusalReason {
        /// The auth hook said no.
        AuthDenied = "auth_denied",
        /// The auth hook did not answer.
        AuthUnavailable = "auth_unavailable",
        /// `callback.authConcurrency`
        AuthBusy = "auth_busy",
        /// `limits.buffered`, before an upgrade.
        Buffered = "buffered",
        /// `limits.connections`
        Connections = "connections",
        /// `limits.connectionsAnonymous`
        ConnectionsAnonymous = "connections_anonymous",
        /// `limits.connectionsPerUser`
        ConnectionsPerUser = "connections_per_user",
        /// `limits.connectRate`
        ConnectRate = "connect_rate",
        /// `limits.requests`, `limits.handshake`
        Crowded = "crowded",
        Draining = "draining",
        /// `limits.header`
        Header = "header",
        /// `identity.jwt.required`
        Jwt = "jwt",
        /// There are no keys yet.
        JwtKeys = "jwt_keys",
        /// `Sec-WebSocket-Key`
        Key = "key",
        Malformed = "malformed",
        NoUpgrade = "no_upgrade",
        Origin = "origin",
        /// `limits.buffered`, with a long head.
        Overloaded = "overloaded",
        Recovering = "recovering",
        /// There is no key that callbacks are signed with.
        Signing = "signing",
        /// `Sec-WebSocket-Version`
        Version = "version",
    }
}

label! {
    /// What the token of an upgrade request was.
    TokenResult {
        Valid = "valid",
        Invalid = "invalid",
        None = "none",
        /// There are no keys yet.
        NoKeys = "no_keys",
    }
}

impl AdminCall {
    /// By the last part of the path.
    pub fn of(call: &str) -> Self {
        match call {
            "send" => Self::Send,
            "close" => Self::Close,
            "list" => Self::List,
            _ => Self::Unknown,
        }
    }
}
