//! Why a connection ends: one table of codes, reasons and metric labels.

use std::borrow::Cow;

use ws_codec::Violation;

/// Everything that ends a connection. `code` is what the app hears and, where a close frame is
/// sent at all, what the client hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client sent a close frame; without a body it counts as 1005.
    Client { code: u16, reason: Box<str> },
    /// The stream ended without a close frame: reset, network gone, process killed.
    Abnormal,
    /// The app asked for it, by the admin API or in a callback's answer.
    App { code: u16, reason: Box<str> },
    /// SIGTERM.
    Shutdown { code: u16 },
    /// A frame that RFC 6455 forbids.
    Protocol(&'static str),
    /// Text that is not UTF-8.
    InvalidText,
    /// A message over `limits.message`.
    TooBig,
    /// A message or frame that was begun and not finished within `limits.unfinished`.
    Unfinished,
    /// More messages than `limits.messageRate` allows.
    RateLimit,
    /// The app answered the open callback with an error.
    OpenFailed,
    /// The app answered an event with an error status, and the client is to hear so.
    Refused { code: u16 },
    /// An event could not be delivered, or it is in doubt whether it was.
    AppUnreachable,
    /// The client reads slower than it is sent to.
    SlowReader,
    /// All that may be buffered is buffered.
    Overloaded,
    /// The client was silent, or took nothing that waited for it, for longer than
    /// `heartbeat.timeout`.
    PingTimeout,
    /// The client's token has expired.
    TokenExpired,
}

impl CloseReason {
    pub fn code(&self) -> u16 {
        match self {
            Self::Client { code, .. }
            | Self::App { code, .. }
            | Self::Shutdown { code }
            | Self::Refused { code } => *code,
            Self::Abnormal => 1006,
            Self::Protocol(_) => 1002,
            Self::InvalidText => 1007,
            Self::TooBig => 1009,
            Self::RateLimit | Self::Unfinished => 1008,
            Self::OpenFailed => 1011,
            Self::AppUnreachable | Self::SlowReader | Self::Overloaded => 1013,
            Self::PingTimeout => 4408,
            Self::TokenExpired => 4401,
        }
    }

    pub fn reason(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::Client { reason, .. } | Self::App { reason, .. } => reason,
            Self::Abnormal => "",
            Self::Shutdown { .. } => "shutting down",
            Self::Protocol(detail) => return Cow::Owned(format!("protocol error: {detail}")),
            Self::InvalidText => "text is not UTF-8",
            Self::TooBig => "message too big",
            Self::Unfinished => "message not finished in time",
            Self::RateLimit => "too many messages",
            Self::Refused { code: 4401 } => "the app asks for a login",
            Self::Refused { code: 4403 } => "forbidden by the app",
            Self::Refused { code: 1009 } => "message too big for the app",
            Self::OpenFailed | Self::Refused { .. } => "refused by the app",
            Self::AppUnreachable => "app unreachable, try again",
            Self::SlowReader => "reading too slowly, try again",
            Self::Overloaded => "overloaded, try again",
            Self::PingTimeout => "ping timeout",
            Self::TokenExpired => "token expired",
        })
    }

    /// The value of the label `reason` in `ws_gateway_connections_closed_total`.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Client { .. } => "client",
            Self::Abnormal => "vanished",
            Self::App { .. } => "app",
            Self::Shutdown { .. } => "shutdown",
            Self::Protocol(_) => "protocol_error",
            Self::InvalidText => "invalid_text",
            Self::TooBig => "too_big",
            Self::Unfinished => "unfinished",
            Self::RateLimit => "rate_limit",
            Self::OpenFailed => "open_failed",
            Self::Refused { .. } => "refused",
            Self::AppUnreachable => "app_unreachable",
            Self::SlowReader => "slow_reader",
            Self::Overloaded => "overloaded",
            Self::PingTimeout => "ping_timeout",
            Self::TokenExpired => "token_expired",
        }
    }

    /// Whether what waits for the client is thrown away before the close frame: it would not be
    /// read anyway, and the memory is wanted back.
    pub fn discards_outbox(&self) -> bool {
        matches!(
            self,
            Self::SlowReader | Self::Overloaded | Self::Abnormal | Self::PingTimeout
        )
    }
}

impl From<Violation> for CloseReason {
    fn from(violation: Violation) -> Self {
        match violation {
            Violation::Protocol(detail) => Self::Protocol(detail),
            Violation::InvalidText => Self::InvalidText,
            Violation::TooBig => Self::TooBig,
        }
    }
}
